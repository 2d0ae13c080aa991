"""Storages that fail at random: what fails is what was asked for, and a simulation of it repeats."""

import asyncio
from contextlib import suppress

import pytest

from kernelckpt.errors import StorageError, SyncFailedError, UnknownOutcomeError
from kernelckpt.storage import FileStorage, MemoryStorage
from kernelckpt.testing import FileFaults, FlakyFileOps, FlakyStorage, SimFileSystem, SimLoop, StorageFaults


def run(main, *, seed=0):
    with SimLoop(seed) as loop:
        return loop.run(main(loop))


@pytest.mark.parametrize(
    ("faults", "error"),
    [(FileFaults(syncs=0.3), "SyncFailedError"), (FileFaults(full=0.3), "StorageFullError")],
)
def test_files_fail_as_they_are_told(faults, error):
    async def main(loop):
        fs = SimFileSystem()
        ops = FlakyFileOps(fs, loop, loop.process("one"))
        storage = FileStorage("/state", ops=ops)
        claim = await storage.acquire("run", "test")
        ops.faults = faults
        told, number = [], 1
        while number < 20:
            try:
                await storage.append("run", claim.epoch, number, [b"%d" % number], b"")
                number += 1
            except StorageError as caught:
                told.append(type(caught).__name__)
        ops.faults = FileFaults()
        return told, ops.failed, [entry.sequence for entry in await storage.list_entries("run")]

    told, failed, listed = run(main)
    assert set(told) == {error}
    assert failed >= len(told) > 3
    assert listed == list(range(1, 20))
    assert run(main) == (told, failed, listed)
    assert run(main, seed=1)[0] != told


def test_a_killed_process_does_nothing_more_to_its_files():
    async def main(loop):
        fs = SimFileSystem()
        process = loop.process("victim")
        storage = FileStorage("/state", ops=FlakyFileOps(fs, loop, process, FileFaults(pauses=1.0)))

        async def append_for_ever():
            claim = await storage.acquire("run", "victim")
            for number in range(1, 10_000):
                await storage.append("run", claim.epoch, number, [b"x"], b"")

        process.start(append_for_ever())
        await asyncio.sleep(0.5)
        process.kill()
        point = fs.point
        await asyncio.sleep(1)
        assert fs.point == point > 20
        async with FileStorage("/state", ops=fs) as next_one:
            claim = await next_one.acquire("run", "next")
        assert claim.epoch == 2
        assert claim.head > 5

    run(main)


def test_a_server_loses_answers_but_nothing_it_was_sent():
    async def main(loop):
        storage = FlakyStorage(MemoryStorage(), loop)
        claim = await storage.acquire("run", "test")
        storage.faults = StorageFaults(unknown=0.5)
        unknown = 0
        for _ in range(40):
            (*_, newest) = [0, *(entry.sequence for entry in await storage.list_entries("run"))]
            try:
                await storage.append("run", claim.epoch, newest + 1, [b"x"], b"")
            except UnknownOutcomeError:
                unknown += 1
                await asyncio.sleep(100)  # it may arrive late
        listed = [entry.sequence for entry in await storage.list_entries("run")]
        return unknown, storage.failed, listed

    unknown, failed, listed = run(main)
    assert unknown == failed > 10
    assert listed == list(range(1, len(listed) + 1))
    assert 40 - unknown < len(listed) < 40, "some that were answered by nothing are there, others are not"


def test_a_call_that_was_sent_is_made_though_its_caller_is_gone():
    async def main(loop):
        storage = FlakyStorage(MemoryStorage(), loop, StorageFaults(seconds=1))
        claim = await storage.acquire("run", "test")
        cancelled = asyncio.create_task(storage.append("run", claim.epoch, 1, [b"x"], b""))
        await asyncio.sleep(0)
        cancelled.cancel()
        with suppress(asyncio.CancelledError):
            await cancelled
        await asyncio.sleep(100)
        killed = loop.process("killed")
        killed.start(storage.append("run", claim.epoch, 2, [b"x"], b""))
        await asyncio.sleep(0)
        killed.kill()
        await asyncio.sleep(100)
        return [entry.sequence for entry in await storage.list_entries("run")]

    assert run(main) == [1, 2]


def test_a_server_refuses_as_it_is_told():
    async def main(loop):
        storage = FlakyStorage(MemoryStorage(), loop)
        await storage.acquire("run", "test")
        storage.faults = StorageFaults(fails=1)
        for _ in range(10):
            with pytest.raises(StorageError) as caught:
                await storage.append("run", 1, 1, [b"x"], b"")
            found.add(caught.type)
        storage.faults = StorageFaults()
        assert not await storage.list_entries("run")

    found = set()
    run(main)
    assert {SyncFailedError} < found
