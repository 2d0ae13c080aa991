"""Conformance of a storage: runs and their ids, and closing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from kernelckpt.abc import Claim
from kernelckpt.errors import NotFoundError, RunOwnedError, StorageUnavailableError, UsageError
from kernelckpt.testing.expect import (
    ODD_NAMES,
    StorageFactory,
    append_some,
    as_bytes,
    list_all,
    owned_run,
    refused,
    sequences,
    write_blob,
)


class RunConformance:
    """Runs are told apart by their whole ids, and leave nothing behind."""

    async def test_odd_run_ids(self, storage_factory: StorageFactory) -> None:
        """Every id is its own run."""
        async with await storage_factory() as storage:
            for name in ODD_NAMES:
                claim = await storage.acquire(name, "the test")
                assert claim.head == 0
                await storage.append(name, claim.epoch, 1, [as_bytes(name)], b"")
            assert list(await storage.list_runs()) == sorted(ODD_NAMES)
        async with await storage_factory() as other:
            for name in ODD_NAMES:
                (entry,) = await other.list_entries(name)
                assert await other.read(name, entry.epoch, 1) == as_bytes(name)
            with refused(UsageError):
                await other.acquire("", "the test")

    async def test_two_runs_of_one_client(self, storage_factory: StorageFactory) -> None:
        """It writes both at once, and giving up one leaves it the other."""
        async with await storage_factory() as storage, await storage_factory() as other:
            first, second = [await storage.acquire(name, "the test") for name in ("a", "b")]
            await asyncio.gather(
                append_some(storage, first, 20, "a"),
                append_some(storage, second, 20, "b"),
                write_blob(storage, first, "blob", [b"of a"], "a"),
                write_blob(storage, second, "blob", [b"of b"], "b"),
            )
            await storage.release("a", first.epoch)
            taken = await other.acquire("a", "somebody else")
            with refused(RunOwnedError):
                await other.acquire("b", "somebody else")
            await append_some(other, taken, 1, "a")
            await append_some(storage, Claim(second.epoch, 20), 1, "b")
            assert await sequences(other, "a") == await sequences(other, "b") == list(range(1, 22))
            assert [await other.read_blob(name, "blob") for name in ("a", "b")] == [b"of a", b"of b"]

    async def test_blobs_and_deletions_beside_entries(self, storage_factory: StorageFactory) -> None:
        """An owner adds entries while it writes blobs, deletes and lists, as a log and its bases do."""
        async with owned_run(storage_factory) as (storage, first):
            await append_some(storage, first, 10)
            oldest = await list_all(storage)
            claim = await storage.acquire("run", "the test, again")

            async def upkeep() -> None:
                for number in range(10):
                    await write_blob(storage, claim, f"blob {number}", [b"one", b"two"])
                    await storage.delete("run", claim.epoch, entries=oldest if number == 5 else ())
                    await storage.list_newest("run")

            await asyncio.gather(append_some(storage, claim, 60), upkeep())
            assert await sequences(storage) == list(range(11, 71))
            assert len(await storage.list_blobs("run")) == 10

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
