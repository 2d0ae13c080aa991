"""Conformance of a storage: entries, their order, their bytes, and their deletion."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from kernelckpt.abc import META_BYTES, EntryInfo, StorageBackend
from kernelckpt.errors import FencedError, NotFoundError, UsageError
from kernelckpt.testing.expect import (
    StorageFactory,
    append_some,
    list_all,
    owned_run,
    refused,
    sequences,
    write_blob,
)

_ROUNDS = 10
_BLOB = bytes(range(256)) * 10


class EntryConformance:
    """Entries are numbered without a gap, are read back byte for byte, and vanish only by deletion."""

    async def test_an_entry_is_listed_and_read_back(self, storage_factory: StorageFactory) -> None:
        """What was appended is what is listed and read."""
        async with owned_run(storage_factory) as (storage, claim):
            assert claim.head == 0
            await storage.append("run", claim.epoch, 1, [b"one"], b"meta")
            (entry,) = await storage.list_entries("run")
            assert (entry.epoch, entry.sequence, entry.size) == (claim.epoch, 1, 3)
            assert (entry.meta, entry.damage) == (b"meta", "")
            assert await storage.read("run", claim.epoch, 1) == b"one"

    async def test_another_client_sees_what_was_acknowledged(self, storage_factory: StorageFactory) -> None:
        """Listing and reading need no ownership."""
        async with owned_run(storage_factory) as (storage, claim), await storage_factory() as other:
            for sequence in (1, 2, 3):
                await storage.append("run", claim.epoch, sequence, [b"%d" % sequence], b"")
                assert (await sequences(other))[-1] == sequence
                assert await other.read("run", claim.epoch, sequence) == b"%d" % sequence

    async def test_only_the_next_number_is_taken(self, storage_factory: StorageFactory) -> None:
        """A gap, a repetition and zero are refused and change nothing."""
        async with owned_run(storage_factory) as (storage, claim):
            await append_some(storage, claim, 2)
            for sequence in (0, 1, 2, 4, 100):
                with refused(FencedError):
                    await storage.append("run", claim.epoch, sequence, [b"wrong"], b"")
            await storage.append("run", claim.epoch, 3, [b"right"], b"")
            assert await sequences(storage) == [1, 2, 3]
            assert await storage.read("run", claim.epoch, 2) == b"entry 2"

    async def test_the_metadata_limit(self, storage_factory: StorageFactory) -> None:
        """512 bytes come back from listing, one more is refused."""
        async with owned_run(storage_factory) as (storage, claim):
            with refused(UsageError):
                await storage.append("run", claim.epoch, 1, [b"x"], b"m" * (META_BYTES + 1))
            await storage.append("run", claim.epoch, 1, [b"x"], b"m" * META_BYTES)
            (entry,) = await storage.list_entries("run")
            assert entry.meta == b"m" * META_BYTES

    async def test_entries_of_every_shape(self, storage_factory: StorageFactory) -> None:
        """Empty ones, empty pieces, many pieces, large pieces, every byte."""
        shapes: list[list[bytes]] = [
            [],
            [b""],
            [b"", b"a", b"", b"b", b""],
            [bytes(range(256))] * 3,
            [b"%d," % number for number in range(3000)],
            [b"L" * 3_000_000, b"tail"],
        ]
        async with owned_run(storage_factory) as (storage, claim):
            for number, pieces in enumerate(shapes, 1):
                await storage.append("run", claim.epoch, number, pieces, b"")
        async with await storage_factory() as other:
            sizes = [entry.size for entry in await list_all(other)]
            assert sizes == [sum(map(len, pieces)) for pieces in shapes]
            for number, pieces in enumerate(shapes, 1):
                assert await other.read("run", claim.epoch, number) == b"".join(pieces)

    async def test_listing_in_pages(self, storage_factory: StorageFactory) -> None:
        """Pages are full, in order, and do not overlap."""
        async with owned_run(storage_factory) as (storage, claim):
            await append_some(storage, claim, 57)
            pages = [await storage.list_entries("run", after=after, limit=25) for after in (0, 25, 50, 57)]
            assert [len(page) for page in pages] == [25, 25, 7, 0]
            found = [entry for page in pages for entry in page]
            assert [entry.sequence for entry in found] == list(range(1, 58))
            assert [entry.meta for entry in found] == [b"%d" % number for number in range(1, 58)]
            with refused(UsageError):
                await storage.list_entries("run", limit=0)

    async def test_listing_from_the_end(self, storage_factory: StorageFactory) -> None:
        """The newest ones are the end of the listing, whatever was deleted before them."""
        async with owned_run(storage_factory) as (storage, claim):
            assert await storage.list_newest("run") in ([], ())
            await append_some(storage, claim, 40)
            again = await storage.acquire("run", "the test, again")
            await append_some(storage, again, 17)
            for _ in range(2):
                listed = await list_all(storage)
                for limit in (1, 2, 25, 57, 100):
                    found = await storage.list_newest("run", limit=limit)
                    assert 0 < len(found) <= limit
                    assert list(found) == list(listed[-len(found) :])
                await storage.delete("run", again.epoch, entries=listed[:40])
            assert len(listed) == 17
            with refused(UsageError):
                await storage.list_newest("run", limit=0)

    async def test_ranged_reads(self, storage_factory: StorageFactory) -> None:
        """A range is a slice; less only comes at the end."""
        data = bytes(range(200))
        async with owned_run(storage_factory) as (storage, claim):
            await storage.append("run", claim.epoch, 1, [data[:77], data[77:]], b"")
            for offset, length in ((0, 10), (70, 20), (190, 50), (200, 1), (500, 1), (3, 0)):
                found = await storage.read("run", claim.epoch, 1, offset=offset, length=length)
                assert found == data[offset : offset + length]
            assert await storage.read("run", claim.epoch, 1, offset=150) == data[150:]
            with refused(UsageError):
                await storage.read("run", claim.epoch, 1, offset=-1)

    async def test_what_is_not_there(self, storage_factory: StorageFactory) -> None:
        """Missing runs, entries and epochs are `NotFoundError`."""
        async with owned_run(storage_factory) as (storage, claim):
            await append_some(storage, claim, 1)
            assert await storage.list_entries("run", after=1) in ([], ())
            for epoch, sequence in ((claim.epoch, 2), (claim.epoch + 1, 1), (claim.epoch, 0)):
                with refused(NotFoundError):
                    await storage.read("run", epoch, sequence)
            with refused(NotFoundError):
                await storage.list_entries("no such run")
            with refused(NotFoundError):
                await storage.list_newest("no such run")
            with refused(NotFoundError):
                await storage.read("no such run", 1, 1)

    async def test_deleting_keeps_head_and_epoch(self, storage_factory: StorageFactory) -> None:
        """After everything was removed the next entry is still head + 1, in this epoch and the next."""
        async with owned_run(storage_factory) as (storage, claim):
            await append_some(storage, claim, 5)
            everything = await list_all(storage)
            await storage.delete("run", claim.epoch, entries=everything)
            await storage.delete("run", claim.epoch, entries=everything, blobs=["none"])
            assert await list_all(storage) == []
            with refused(NotFoundError):
                await storage.read("run", claim.epoch, 5)
            again = await storage.acquire("run", "the test")
            assert (again.epoch > claim.epoch, again.head) == (True, 5)
            await storage.append("run", again.epoch, 6, [b"six"], b"")
            assert await sequences(storage) == [6]

    async def test_deleting_goes_on_with_appending(self, storage_factory: StorageFactory) -> None:
        """Deleting old entries again and again does not disturb the writer, nor what is kept."""
        async with owned_run(storage_factory) as (storage, claim):
            kept: list[int] = []
            for sequence in range(1, 13):
                await storage.append("run", claim.epoch, sequence, [b"%d" % sequence], b"")
                kept.append(sequence)
                if sequence % 4 == 0:
                    await storage.delete("run", claim.epoch, entries=await list_all(storage))
                    kept.clear()
                assert await sequences(storage) == kept

    async def test_reading_while_deleting(self, storage_factory: StorageFactory) -> None:
        """A reader gets the right bytes or `NotFoundError`, and nothing else."""
        async with owned_run(storage_factory) as (storage, claim), await storage_factory() as reader:
            await append_some(storage, claim, 40)
            await write_blob(storage, claim, "b", [_BLOB[:1000], _BLOB[1000:]])
            entries = await list_all(reader)
            await asyncio.gather(
                storage.delete("run", claim.epoch, entries=entries, blobs=["b"]),
                *(_read_or_miss(reader, entry) for entry in entries),
                *(_read_blob_or_miss(reader) for _ in range(5)),
            )
            assert await list_all(reader) == []

    async def test_reading_while_pruning(self, storage_factory: StorageFactory) -> None:
        """While entries come and old ones go, a listing has no hole: it begins later and ends later."""
        async with await storage_factory() as storage, await storage_factory() as reader:
            await storage.acquire("run", "the pruner")
            pruner = asyncio.create_task(_write_and_prune(storage))
            last = 0
            while not pruner.done():
                for page in (await reader.list_entries("run"), await reader.list_newest("run", limit=4)):
                    found = [entry.sequence for entry in page]
                    assert found == list(range(found[0], found[-1] + 1)) if found else not last
                    last = max([last, *found])
                    assert found[-1:] in ([last], [])
                    for entry in page:
                        await _read_or_miss(reader, entry)
            await pruner
            assert await sequences(reader) == list(range(_ROUNDS * 8 - 7, _ROUNDS * 8 + 1))


async def _read_or_miss(storage: StorageBackend, entry: EntryInfo) -> None:
    with suppress(NotFoundError):
        expected = b"entry %d" % entry.sequence
        assert await storage.read("run", entry.epoch, entry.sequence) == expected


async def _read_blob_or_miss(storage: StorageBackend) -> None:
    with suppress(NotFoundError):
        assert await storage.read_blob("run", "b") == _BLOB


async def _write_and_prune(storage: StorageBackend) -> None:
    """Add eight entries, in segments of their own, and drop the eight before them, again and again."""
    for _ in range(_ROUNDS):
        old = await list_all(storage)
        claim = await storage.acquire("run", "the pruner")
        await append_some(storage, claim, 8)
        await storage.delete("run", claim.epoch, entries=old)
