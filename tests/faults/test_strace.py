"""The shipped process makes the calls that the simulated file system assumes: looked at with strace."""

import os
from itertools import zip_longest

import pytest
from crash_kit_fs import repeatable
from strace_kit import Replay, normal, python, trace
from traced_process import LIVES, kernel_on, live

from kernelckpt import FileStorage, load
from kernelckpt.errors import KernelCkptError, NotFoundError
from kernelckpt.testing import ManualClock, SimFileSystem

pytestmark = pytest.mark.root
BIG = 1 << 30


@pytest.fixture(scope="module")
def traced(tmp_path_factory):
    """The root folder of the traced process, and its calls."""
    root = tmp_path_factory.mktemp("traced")
    calls, done = trace(python("traced_process.py", f"file:{root}/state"), tmp_path_factory.mktemp("out"))
    assert done.returncode == 0
    return str(root), calls


@pytest.fixture(scope="module")
def replay(traced):
    """What the process did, done again."""
    root, calls = traced
    found = Replay(root).all(calls)
    numbers = [f"acknowledged {number}" for numbers in LIVES for number in numbers]
    assert [line for _, line in found.acknowledged] == numbers
    return found


def test_nothing_is_written_outside_of_the_folder_and_nothing_inside_in_a_way_not_simulated(replay):
    assert replay.strange == []


async def test_the_process_makes_the_calls_that_the_simulation_logs(traced, replay, monkeypatch):
    process = int(traced[1][0].process)
    monkeypatch.setattr(os, "getpid", lambda: process)  # an owner writes it down: as long in both
    fs = SimFileSystem()
    for numbers in LIVES:
        storage = FileStorage("/state", ops=fs)
        await live(storage, numbers, lambda number: None)
        await storage.aclose()
    for place, (real, simulated) in enumerate(zip_longest(normal(replay.fs.log), normal(fs.log))):
        assert real == simulated, place
    assert len(fs.log) > 90


async def restored(fs):
    """What is found, and what is found after one more life: the messages of each."""
    storage = FileStorage("/state", ops=fs)
    try:
        before = texts(await load(storage, "run"))
    except NotFoundError:
        before = []
    kernel, _ = kernel_on(storage, ManualClock())
    async with kernel:
        await kernel.submit("clerk", task_id="clerk")
        await kernel.send("clerk", "more", key="more")
        await kernel.idle()
    after = texts(await load(storage, "run"))
    await storage.aclose()
    return before, after


def texts(snapshot):
    """The messages that were sent: those a turn has taken, then those that wait."""
    if "clerk" not in snapshot.contexts:
        return []
    waiting = snapshot.inbox.get("clerk", {}).values()
    taken = [message.text for message in snapshot.contexts["clerk"].history_messages]
    return taken + [entry.message.text for entry in waiting]


async def explore(replay, limit):
    """Crash at every point, restore, go on; fails where something acknowledged is missing."""
    images, known = 0, {}
    for point in range(replay.fs.point + 1):
        told = sum(at <= point for at, _ in replay.acknowledged)
        for image in replay.fs.images(point, limit):
            images += 1
            if image.key not in known:
                with repeatable(BIG, start=2):
                    known[image.key] = await restored(SimFileSystem.from_image(image))
            before, after = known[image.key]
            assert before == [str(number) for number in range(len(before))], point
            assert told <= len(before) <= told + 1, point
            assert after == [*before, "more"], point
    return images, len(known)


async def test_no_crash_of_the_traced_process_loses_what_it_acknowledged(replay):
    """Run with -s to see how much was explored."""
    images, distinct = await explore(replay, 16)
    print(f"\n{replay.fs.point} calls, {images} images, {distinct} distinct ones restored")
    assert distinct > 500


@pytest.mark.parametrize("call", ["fdatasync", "fsync"])
async def test_a_process_that_does_not_sync_would_be_found_out(traced, call):
    root, calls = traced
    with pytest.raises((AssertionError, KernelCkptError)):
        await explore(Replay(root).all(one for one in calls if one.call != call), 16)
