"""Conformance of a storage: large blobs, long runs and many of them, held a piece at a time."""

from __future__ import annotations

import asyncio
from hashlib import sha256, shake_128

from kernelckpt.abc import PART_BYTES, EntryInfo, StorageBackend
from kernelckpt.testing.expect import StorageFactory, owned_run

_PAGE = 1000


class LargeConformance:
    """Size changes nothing; a subclass for a slow store may lower these openly.

    Attributes:
        many_entries: how many entries the long run has.
        many_runs: how many runs there are at once.
        large_blob_bytes: the length of the large blob.
        large_seconds: how long each of these tests may take before it counts as hanging.
    """

    many_entries: int = 100_000
    many_runs: int = 1_000
    large_blob_bytes: int = 100_000_000
    large_seconds: float = 200.0

    async def test_a_large_blob(self, storage_factory: StorageFactory) -> None:
        """A hundred megabytes come back as they were, in ranges that are not its parts."""
        async with asyncio.timeout(self.large_seconds), owned_run(storage_factory) as (storage, claim):
            written, left, index = sha256(), self.large_blob_bytes, 0
            while left:
                part = shake_128(b"part %d" % index).digest(min(left, PART_BYTES))
                written.update(part)
                await storage.write_part("run", claim.epoch, "large", index, [part])
                left, index = left - len(part), index + 1
            assert (await storage.finish_blob("run", claim.epoch, "large")).size == self.large_blob_bytes
            found, length = sha256(), 3_000_017
            async with await storage_factory() as other:
                for offset in range(0, self.large_blob_bytes + length, length):
                    found.update(await other.read_blob("run", "large", offset=offset, length=length))
                assert found.digest() == written.digest()
                await storage.delete("run", claim.epoch, blobs=["large"])
                assert not await other.list_blobs("run")

    async def test_a_long_run(self, storage_factory: StorageFactory) -> None:
        """It is listed in pages and from its end, read anywhere, and deleted a page at a time."""
        count = self.many_entries
        async with (
            asyncio.timeout(self.large_seconds),
            owned_run(storage_factory) as (storage, claim),
            await storage_factory() as other,
        ):
            for sequence in range(1, count + 1):
                await storage.append("run", claim.epoch, sequence, [b"%d" % sequence], b"m%d" % sequence)
            assert await _walk(other) == count
            newest = await other.list_newest("run", limit=10)
            assert [entry.sequence for entry in newest] == list(range(count + 1 - len(newest), count + 1))
            for sequence in (1, 2, count // 2, count - 1, count):
                (entry,) = await other.list_entries("run", after=sequence - 1, limit=1)
                assert (entry.sequence, entry.meta) == (sequence, b"m%d" % sequence)
                assert await other.read("run", entry.epoch, sequence) == b"%d" % sequence
            await _delete_all(storage, claim.epoch)
            assert not await other.list_newest("run")
            assert (await storage.acquire("run", "the test")).head == count

    async def test_a_thousand_runs(self, storage_factory: StorageFactory) -> None:
        """They are all listed, sorted."""
        names = [f"run {number * 7919 % self.many_runs}" for number in range(self.many_runs)]
        async with asyncio.timeout(self.large_seconds), await storage_factory() as storage:
            for name in names:
                claim = await storage.acquire(name, "the test")
                await storage.release(name, claim.epoch)
            async with await storage_factory() as other:
                assert list(await other.list_runs()) == sorted(set(names))


async def _walk(storage: StorageBackend) -> int:
    """The number of the last entry; the pages before it are full, in order, and say what was written."""
    last = 0
    while page := await storage.list_entries("run", after=last, limit=_PAGE):
        assert [entry.sequence for entry in page] == list(range(last + 1, last + 1 + len(page)))
        assert all(entry.meta == b"m%d" % entry.sequence for entry in page)
        last = page[-1].sequence
    return last


async def _delete_all(storage: StorageBackend, epoch: int) -> None:
    """Delete page by page; a segment that goes on in the next page goes with it."""
    page: list[EntryInfo] = []
    while found := await storage.list_entries("run", after=page[-1].sequence if page else 0, limit=_PAGE):
        page += found
        (following, *_) = (*await storage.list_entries("run", after=page[-1].sequence, limit=1), None)
        if following is None or not following.segment or following.segment != page[-1].segment:
            await storage.delete("run", epoch, entries=page)
            assert [entry.sequence for entry in await storage.list_entries("run", limit=1)] == (
                [following.sequence] if following else []
            )
            page = []
