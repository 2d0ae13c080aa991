"""Trouble with the file system while agents work: told with a remedy, bounded, gone on from when it ends."""

import asyncio
import errno
import os
import random
import threading
from contextlib import asynccontextmanager
from unittest import mock

import anyio
import pytest
from crash_kit_fs import repeatable

from kernelckpt import CheckpointHook, FileStorage, LogOptions, Scheduler, load
from kernelckpt.errors import CheckpointFailedError, FencedError, SchedulerStopped, StorageUnavailableError
from kernelckpt.storage.file.ops import FileOps
from kernelckpt.testing import FaultyFileOps, ManualClock, SimFileSystem

CHANGES = ("create", "pwritev", "fdatasync", "fsync", "fsync_folder", "link", "unlink", "mkdir", "rename")
NEEDS_DESCRIPTORS = ("create", "open", "listdir", "fsync_folder")
TROUBLE = {
    errno.EROFS: CHANGES,
    errno.EACCES: ("create", "link", "unlink", "fsync_folder"),
    errno.EIO: CHANGES,
    errno.ENOSPC: ("create", "pwritev", "link"),
    errno.EDQUOT: ("create", "pwritev", "link"),
    errno.EMFILE: NEEDS_DESCRIPTORS,
    errno.ENFILE: NEEDS_DESCRIPTORS,
}
"""Which calls fail, and how."""

REMEDIES = {
    errno.EROFS: "remount it",
    errno.EACCES: "give this user the right",
    errno.EIO: "look for messages about",
    errno.ENOSPC: "free space",
    errno.EDQUOT: "raise the disk quota",
    errno.EMFILE: "ulimit -n",
    errno.ENFILE: "fs.file-max",
}


async def clerk(turn):
    """Keep what is sent."""
    for message in turn.inbox:
        turn.append(message)
    return turn.wait_for_message()


class Machine:
    """A simulated machine whose file system can be made to fail, with one clock."""

    def __init__(self):
        self.fs = SimFileSystem()
        self.ops = FaultyFileOps(self.fs)
        self.clock = ManualClock()
        self.told = []

    def fail(self, number):
        """Let every call fail that this trouble meets; each save needs a new file first."""
        if "pwritev" not in TROUBLE[number]:
            self.ops.fail("fdatasync", errno.EIO, path="seg.")
        for call in TROUBLE[number]:
            self.ops.fail(call, number, times=1 << 30)

    @asynccontextmanager
    async def kernel(self, ops=None, **settings):
        """A running kernel with a clerk; events about failed saves are noted."""
        storage = FileStorage("/state", ops=ops or self.ops)
        hook = CheckpointHook(storage, every=None, owner_wait=0, max_consecutive_failures=3, **settings)
        try:
            async with Scheduler({"clerk": clerk}, run_id="run", hooks=[hook], clock=self.clock) as kernel:
                listening = asyncio.create_task(self._listen(kernel))
                await asyncio.sleep(0)
                await kernel.submit("clerk", task_id="clerk")
                try:
                    yield kernel
                finally:
                    listening.cancel()
        finally:
            await storage.aclose()

    async def _listen(self, kernel):
        async for event in kernel.events():
            if event.kind in ("checkpoint_failed", "base_failed"):
                self.told.append(event.data)

    async def texts(self):
        """What a restart finds."""
        storage = FileStorage("/state", ops=self.fs.killed(self.fs.point))
        snapshot = await load(storage, "run")
        return [message.text for message in snapshot.context.history_messages]


@pytest.fixture
async def machine():
    with repeatable(1 << 20):
        yield Machine()


async def quiet():
    """Let everything happen that needs no time."""
    for _ in range(50):
        await asyncio.sleep(0)


@pytest.mark.parametrize("number", TROUBLE, ids=errno.errorcode.get)
async def test_what_was_held_back_is_written_once_the_trouble_ends(machine, number):
    async with machine.kernel() as kernel:
        await kernel.send("clerk", "before")
        await kernel.idle()
        machine.fail(number)
        sending = asyncio.create_task(kernel.send("clerk", "meanwhile"))
        await machine.clock.advance(0.06)
        assert not sending.done(), "nothing is acknowledged that was not written"
        machine.ops.heal()
        await machine.clock.advance(10)
        await sending
        await kernel.idle()
        await kernel.send("clerk", "after")
    assert await machine.texts() == ["before", "meanwhile", "after"]
    assert len(machine.told) == 2, "the first try, and the next after 50 ms"
    assert "/state/run-" in machine.told[-1]["error"], "which file"
    assert REMEDIES[number] in machine.told[-1]["error"]


@pytest.mark.parametrize("number", TROUBLE, ids=errno.errorcode.get)
async def test_trouble_that_lasts_halts_the_kernel_and_a_restart_has_all_that_was_acknowledged(
    machine, number
):
    with pytest.raises(CheckpointFailedError) as caught:
        async with machine.kernel() as kernel:
            await kernel.send("clerk", "before")
            await kernel.idle()
            machine.fail(number)
            sending = asyncio.create_task(kernel.send("clerk", "meanwhile"))
            await machine.clock.advance(60)
            with pytest.raises(SchedulerStopped):
                await sending
            await anyio.sleep_forever()
    assert "4 checkpoints failed in a row" in str(caught.value)
    assert "/state/run-" in str(caught.value)
    assert REMEDIES[number] in str(caught.value)
    machine.ops.heal()
    async with machine.kernel() as kernel:
        await kernel.send("clerk", "after")
    assert await machine.texts() in (["before", "after"], ["before", "meanwhile", "after"])


async def test_a_run_folder_that_vanishes_is_told_and_gone_on_with_when_it_is_back(machine):
    async with machine.kernel() as kernel:
        await kernel.send("clerk", "before")
        await kernel.idle()
        machine.fs.rename("/state", "/elsewhere")
        sending = asyncio.create_task(kernel.send("clerk", "meanwhile"))
        await quiet()
        assert not sending.done()
        assert "put it back" in machine.told[0]["error"]
        machine.fs.rename("/elsewhere", "/state")
        await machine.clock.advance(10)
        await sending
    assert await machine.texts() == ["before", "meanwhile"]


async def test_a_kernel_whose_owner_file_is_deleted_halts_before_another_acknowledgement(machine):
    with pytest.raises(FencedError, match=r"owner\.1 was removed"):
        async with machine.kernel() as kernel:
            await kernel.send("clerk", "before")
            await kernel.idle()
            (owner,) = [path for path in paths(machine.fs) if path.endswith("owner.1")]
            machine.fs.unlink(owner)
            with pytest.raises(SchedulerStopped):
                await kernel.send("clerk", "meanwhile")
            await anyio.sleep_forever()


def paths(fs):
    (run,) = [name for name in fs.listdir("/state") if name.startswith("run-")]
    return [f"/state/{run}/{name}" for name in fs.listdir(f"/state/{run}")]


class JumpingOps(FileOps):
    """A wall clock that shows anything, for everything that is asked of the file system."""

    def __init__(self, fs, chance):
        self._fs, self._chance = fs, chance

    def __getattribute__(self, call):
        if call in ("_fs", "_chance", "wall_ns"):
            return object.__getattribute__(self, call)
        return getattr(self._fs, call)

    def wall_ns(self):
        return self._chance.randrange(2**62)


async def lives(clocks, seed):
    """Three lives of a run with posted messages; returns what is left of them, but for times."""
    machine, chance = Machine(), random.Random(seed)
    posts = random.Random(7)
    ops = JumpingOps(machine.fs, chance) if clocks else machine.fs
    for _life in range(3):
        async with machine.kernel(ops) as kernel:
            for _ in range(4):
                if clocks:
                    machine.clock.jump(chance.choice((-3_600_000, -1, 0, 86_400_000, 315_360_000_000)))
                await kernel.send("clerk", f"{posts.random()}")
                await kernel.idle()
        other = FileStorage("/state", ops=ops)
        for number in range(3):
            await other.post("run", f"{posts.random()}", b"%d" % number)
        assert [message.data for message in await other.posted("run")][-3:] == [b"0", b"1", b"2"]
        await other.aclose()
    storage = FileStorage("/state", ops=machine.fs)
    entries = [(entry.epoch, entry.sequence) for entry in await storage.list_entries("run")]
    return await machine.texts(), entries, machine.fs.listdir("/state")


async def test_a_wall_clock_that_jumps_changes_nothing_that_is_restored():
    """Back an hour, forward ten years, at every step and between lives; also that of the file system."""
    with repeatable(1 << 20):
        still = await lives(clocks=False, seed=0)
        for seed in range(30):
            assert await lives(clocks=True, seed=seed) == still


def test_no_process_id_decides_anything():
    """It is told to people only: as a part of what the holder says of itself."""
    import kernelckpt

    package = os.path.dirname(kernelckpt.__file__)
    found = {}
    for folder, _, names in os.walk(package):
        for name in filter(lambda name: name.endswith(".py"), names):
            with open(os.path.join(folder, name)) as file:
                lines = [line.strip() for line in file if "getpid" in line or "getppid" in line]
            if lines:
                found[name] = lines
    assert set(found) == {"holder.py"}
    assert all("process {os.getpid()} on " in line for lines in found.values() for line in lines)


async def test_a_disk_that_hangs_holds_outputs_back_and_nothing_else(tmp_path):
    go_on, inside = threading.Event(), threading.Event()
    ops = FaultyFileOps(FileOps())
    async with FileStorage(tmp_path / "state", ops=ops) as storage:
        hook = CheckpointHook(storage, every=None, owner_wait=0)
        async with Scheduler({"clerk": clerk}, run_id="run", hooks=[hook]) as kernel:
            await kernel.submit("clerk", task_id="clerk")
            await kernel.idle()
            await hook.checkpoint()
            ops.before("fdatasync", lambda: (inside.set(), go_on.wait()))
            sending = asyncio.create_task(kernel.send("clerk", "one"))
            await asyncio.to_thread(inside.wait)
            await quiet()
            assert not sending.done()
            assert [message.text for message in kernel.context("clerk").history] == ["one"], "agents go on"
            go_on.set()
            await sending
        assert [m.text for m in (await load(storage, "run")).context.history_messages] == ["one"]


async def test_a_disk_that_hangs_for_good_halts_the_kernel_and_lets_it_leave(tmp_path):
    """Also when the hook has to close the storage whose call never returned."""
    go_on = threading.Event()
    ops = FaultyFileOps(FileOps())
    storage = FileStorage(tmp_path / "state", ops=ops)
    impatient = LogOptions(append_seconds=0.02, retry_first=0.0)
    hook = CheckpointHook(
        "file:never-opened", every=None, owner_wait=0, max_consecutive_failures=1, log=impatient
    )
    try:
        with (
            mock.patch("kernelckpt.checkpoint.hook.open_storage", mock.AsyncMock(return_value=storage)),
            mock.patch("kernelckpt.storage.file.storage._CLOSE_SECONDS", 0.02),
            mock.patch("kernelckpt.log.run_log._RELEASE_SECONDS", 0.02),
            anyio.fail_after(30),
            pytest.raises(CheckpointFailedError, match="gave no answer"),
        ):
            async with Scheduler({"clerk": clerk}, run_id="run", hooks=[hook]) as kernel:
                ops.before("fdatasync", go_on.wait)
                with pytest.raises(SchedulerStopped):
                    await kernel.submit("clerk", task_id="clerk")
                await anyio.sleep_forever()
    finally:
        go_on.set()


async def test_a_folder_on_a_medium_that_is_read_only_from_the_start_is_refused_with_a_remedy(machine):
    machine.fail(errno.EROFS)
    with pytest.raises(StorageUnavailableError, match="remount it"):
        async with machine.kernel():
            pass
    machine.ops.heal()
    async with machine.kernel() as kernel:
        await kernel.send("clerk", "one")
    assert await machine.texts() == ["one"]
