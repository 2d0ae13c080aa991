"""Conformance of a storage: blobs, the inbox, runs and their ids, and closing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from kernelckpt.abc import PART_BYTES, BlobInfo
from kernelckpt.errors import NotFoundError, RunOwnedError, StorageUnavailableError, UsageError
from kernelckpt.testing.expect import StorageFactory, append_some, owned_run, refused, sequences

ODD_NAMES = (
    "plain",
    "Plain",
    "with space",
    "a/b",
    "a\\b",
    "a-b",
    "..",
    "../../etc/passwd",
    ".",
    "/",
    "-rf",
    "~",
    "*",
    "%2F",
    "'; drop table runs; --",
    "line\nbreak",
    "nul\0inside",
    "ünïcödé ✓ 語",
    "e\u0301",
    "\u00e9",
    "x" * 300,
    "x" * 299 + "y",
)
"""Ids that a careless backend mixes up, cuts off or follows out of its folder."""


class BlobConformance:
    """A blob is invisible until it is whole, and never changes after."""

    async def test_a_blob_is_invisible_until_finished(self, storage_factory: StorageFactory) -> None:
        """Parts alone are neither listed nor read."""
        async with owned_run(storage_factory) as (storage, claim):
            await storage.write_part("run", claim.epoch, "b", 0, [b"one ", b"two "])
            await storage.write_part("run", claim.epoch, "b", 1, [b"three"])
            assert not await storage.list_blobs("run")
            with refused(NotFoundError):
                await storage.read_blob("run", "b")
            assert await storage.finish_blob("run", claim.epoch, "b") == BlobInfo("b", 13)
            assert list(await storage.list_blobs("run")) == [BlobInfo("b", 13)]
            assert await storage.read_blob("run", "b") == b"one two three"

    async def test_ranged_reads_of_a_blob(self, storage_factory: StorageFactory) -> None:
        """A range is a slice, across parts too."""
        data = bytes(range(250))
        async with owned_run(storage_factory) as (storage, claim), await storage_factory() as other:
            for index in range(5):
                piece = data[index * 50 : index * 50 + 50]
                await storage.write_part("run", claim.epoch, "b", index, [piece])
            await storage.finish_blob("run", claim.epoch, "b")
            for offset, length in ((0, 10), (45, 10), (240, 50), (250, 1), (9, 0)):
                found = await other.read_blob("run", "b", offset=offset, length=length)
                assert found == data[offset : offset + length]
            assert await other.read_blob("run", "b", offset=99) == data[99:]

    async def test_a_large_blob(self, storage_factory: StorageFactory) -> None:
        """Twenty megabytes come back as they were."""
        parts = [bytes([index]) * PART_BYTES for index in range(2)] + [b"rest" * 1_000_000]
        async with owned_run(storage_factory) as (storage, claim):
            for index, part in enumerate(parts):
                await storage.write_part("run", claim.epoch, "large", index, [part])
            info = await storage.finish_blob("run", claim.epoch, "large")
            assert info.size == sum(map(len, parts))
            assert await storage.read_blob("run", "large") == b"".join(parts)

    async def test_parts_that_cannot_be(self, storage_factory: StorageFactory) -> None:
        """Too large, out of order, or under a name that is taken."""
        async with owned_run(storage_factory) as (storage, claim):
            with refused(UsageError):
                await storage.write_part("run", claim.epoch, "b", 0, [b"x" * PART_BYTES, b"x"])
            with refused(UsageError):
                await storage.write_part("run", claim.epoch, "b", 1, [b"x"])
            await storage.write_part("run", claim.epoch, "b", 0, [])
            assert (await storage.finish_blob("run", claim.epoch, "b")).size == 0
            with refused(UsageError):
                await storage.write_part("run", claim.epoch, "b", 0, [b"x"])
            assert await storage.read_blob("run", "b") == b""
            with refused(NotFoundError):
                await storage.finish_blob("run", claim.epoch, "never begun")

    async def test_an_unfinished_blob_dies_with_its_owner(self, storage_factory: StorageFactory) -> None:
        """Its name may be used by the next owner, who sees none of it."""
        async with owned_run(storage_factory) as (storage, claim):
            await storage.write_part("run", claim.epoch, "b", 0, [b"left over"])
        async with owned_run(storage_factory) as (storage, claim):
            assert not await storage.list_blobs("run")
            await storage.delete("run", claim.epoch)
            await storage.write_part("run", claim.epoch, "b", 0, [b"new"])
            await storage.finish_blob("run", claim.epoch, "b")
            assert await storage.read_blob("run", "b") == b"new"

    async def test_blobs_are_listed_by_name_and_deleted(self, storage_factory: StorageFactory) -> None:
        """Deleting one leaves the others."""
        async with owned_run(storage_factory) as (storage, claim):
            for name in ("c", "a/1", "b", "é.x"):
                await storage.write_part("run", claim.epoch, name, 0, [name.encode()])
                await storage.finish_blob("run", claim.epoch, name)
            await storage.delete("run", claim.epoch, blobs=["b", "none"])
            assert [blob.name for blob in await storage.list_blobs("run")] == ["a/1", "c", "é.x"]
            assert await storage.read_blob("run", "é.x") == "é.x".encode()
            with refused(NotFoundError):
                await storage.read_blob("run", "b")


class InboxConformance:
    """Anybody may post; a message is there once, in order, until it is deleted."""

    async def test_posting_is_idempotent_and_ordered(self, storage_factory: StorageFactory) -> None:
        """The first message of an id stays, whoever posts another."""
        async with owned_run(storage_factory) as (storage, _), await storage_factory() as other:
            for number in range(12):
                assert await other.post("run", f"m{number}", b"%d" % number) is True
            assert await storage.post("run", "m3", b"another") is False
            found = await storage.posted("run")
            assert [message.message_id for message in found] == [f"m{number}" for number in range(12)]
            assert [message.data for message in found] == [b"%d" % number for number in range(12)]
            orders = [message.order for message in found]
            assert orders == sorted(set(orders))

    async def test_of_equal_posts_one_counts(self, storage_factory: StorageFactory) -> None:
        """Also when they come at once from several clients."""
        async with owned_run(storage_factory) as (storage, _), await storage_factory() as other:
            tries = [client.post("run", "same", b"x") for client in (storage, other) * 5]
            assert sorted(await asyncio.gather(*tries)) == [False] * 9 + [True]
            assert len(await storage.posted("run")) == 1

    async def test_deleting_posted_messages(self, storage_factory: StorageFactory) -> None:
        """Missing ones are no error; a deleted id may be posted again."""
        async with owned_run(storage_factory) as (storage, claim):
            for message_id in ("a", "b", "c"):
                await storage.post("run", message_id, b"")
            await storage.delete_posted("run", ["b", "none"])
            assert [message.message_id for message in await storage.posted("run")] == ["a", "c"]
            assert await storage.post("run", "b", b"again") is True
            await append_some(storage, claim, 1)
            assert [message.message_id for message in await storage.posted("run")] == ["a", "c", "b"]

    async def test_odd_message_ids(self, storage_factory: StorageFactory) -> None:
        """Every id is its own."""
        async with owned_run(storage_factory) as (storage, _):
            for name in ODD_NAMES:
                assert await storage.post("run", name, name.encode()) is True
            found = {message.message_id: message.data for message in await storage.posted("run")}
            assert found == {name: name.encode() for name in ODD_NAMES}

    async def test_posting_needs_a_run(self, storage_factory: StorageFactory) -> None:
        """Nothing is kept for a run that does not exist."""
        async with await storage_factory() as storage:
            with refused(NotFoundError):
                await storage.post("no such run", "m", b"")
            with refused(NotFoundError):
                await storage.posted("no such run")


class RunConformance:
    """Runs are told apart by their whole ids, and leave nothing behind."""

    async def test_odd_run_ids(self, storage_factory: StorageFactory) -> None:
        """Every id is its own run."""
        async with await storage_factory() as storage:
            for name in ODD_NAMES:
                claim = await storage.acquire(name, "the test")
                assert claim.head == 0
                await storage.append(name, claim.epoch, 1, [name.encode()], b"")
            assert list(await storage.list_runs()) == sorted(ODD_NAMES)
        async with await storage_factory() as other:
            for name in ODD_NAMES:
                (entry,) = await other.list_entries(name)
                assert await other.read(name, entry.epoch, 1) == name.encode()
            with refused(UsageError):
                await other.acquire("", "the test")

    async def test_many_runs(self, storage_factory: StorageFactory) -> None:
        """They are listed sorted, by anybody."""
        names = [f"run {number}" for number in range(60)]
        async with await storage_factory() as storage, await storage_factory() as other:
            assert not await storage.list_runs()
            for name in reversed(names):
                await storage.acquire(name, "the test")
            assert list(await other.list_runs()) == sorted(names)

    async def test_deleting_a_run(self, storage_factory: StorageFactory) -> None:
        """Refused while its owner lives; then everything is gone, and the id may begin anew."""
        async with await storage_factory() as storage, await storage_factory() as other:
            for name in ("kept", "gone"):
                claim = await storage.acquire(name, "the test")
                await append_some(storage, claim, 2, name)
                await storage.post(name, "m", b"")
            with refused(RunOwnedError):
                await other.delete_run("gone")
            await storage.release("gone", claim.epoch)
            await other.delete_run("gone")
            assert list(await storage.list_runs()) == ["kept"]
            for client in (storage, other):
                with refused(NotFoundError):
                    await client.list_entries("gone")
                with refused(NotFoundError):
                    await client.delete_run("gone")
            anew = await storage.acquire("gone", "the test")
            assert anew.head == 0
            await append_some(storage, anew, 1, "gone")
            assert not await other.posted("gone")
            assert (await sequences(other, "gone"), await sequences(other, "kept")) == ([1], [1, 2])

    async def test_a_closed_backend(self, storage_factory: StorageFactory) -> None:
        """Every call is refused; closing again does nothing."""
        storage = await storage_factory()
        await storage.aclose()
        await storage.aclose()
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: storage.acquire("run", "the test"),
            lambda: storage.release("run", 1),
            lambda: storage.append("run", 1, 1, [b""], b""),
            lambda: storage.list_entries("run"),
            lambda: storage.read("run", 1, 1),
            lambda: storage.write_part("run", 1, "b", 0, [b""]),
            lambda: storage.finish_blob("run", 1, "b"),
            lambda: storage.read_blob("run", "b"),
            lambda: storage.list_blobs("run"),
            lambda: storage.delete("run", 1),
            lambda: storage.post("run", "m", b""),
            lambda: storage.posted("run"),
            lambda: storage.delete_posted("run", ["m"]),
            storage.list_runs,
            lambda: storage.delete_run("run"),
        ]
        for call in calls:
            with refused(StorageUnavailableError):
                await call()
