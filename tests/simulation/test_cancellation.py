"""Cancelled at every await: no acknowledgement without durability, and the run can be opened and goes on."""

import asyncio
from contextlib import suppress

import pytest
from sim_history import repeatable
from sim_owner import RUN

from kernelckpt import CheckpointHook, Scheduler, verify
from kernelckpt.codec.record import decode_item
from kernelckpt.log import read_run
from kernelckpt.storage import FileStorage
from kernelckpt.testing import FileFaults, FlakyFileOps, SimClock, SimFileSystem, SimLoop

FOLDER = "/machine/state"
MOST_AWAITS = 500


class CancelledAt:
    """Awaits something, and cancels whoever does at its n-th await: as it begins to wait, or as that is over.

    Attributes:
        awaits: how often it has waited so far.
    """

    def __init__(self, awaitable, number, *, late):
        self._awaitable, self._number, self._late = awaitable, number, late
        self.awaits = 0

    def __await__(self):
        inner = self._awaitable.__await__()
        task = asyncio.current_task()
        value, error = None, None
        while True:
            try:
                waits_for = inner.send(value) if error is None else inner.throw(error)
            except StopIteration as stop:
                return stop.value
            self.awaits += 1
            if self.awaits == self._number:
                self._cancel(task, waits_for)
            value, error = None, None
            try:
                value = yield waits_for
            except BaseException as caught:
                error = caught

    def _cancel(self, task, waits_for):
        if self._late and waits_for is not None:
            waits_for.add_done_callback(lambda _: task.cancel())
        else:
            task.cancel()


async def count(turn):
    """Say and count until five, then wait to be told to go on."""
    turn.say(f"turn {turn.number}")
    if turn.number == 5:
        return turn.wait_for_message()
    return turn.complete("counted") if turn.number > 5 else None


class Life:
    """A kernel on a simulated disk, whose commits are followed."""

    def __init__(self, loop, fs, *, durable=True):
        self.process = loop.process("owner")
        ops = FlakyFileOps(fs, loop, self.process, FileFaults(pauses=0.3))
        self.storage = FileStorage(FOLDER, ops=ops)
        self.hook = CheckpointHook(
            self.storage, every=None, durable=durable, owner_wait=0.5, signals=(), stop_signals=()
        )
        self.kernel = Scheduler({"count": count}, run_id=RUN, hooks=[self.hook], clock=SimClock(loop))


async def said_on_disk(fs):
    """The history of the task as it survives a power cut that takes all that was not synced."""
    image = next(fs.images(fs.point, 2))
    storage = FileStorage(FOLDER, ops=SimFileSystem.from_image(image))
    try:
        streams = (await read_run(storage, RUN)).streams
    finally:
        await storage.aclose()
    return [decode_item("history", item, "history").text for item in streams["history", "t", 0]]


async def begin(loop, fs):
    """A run whose task waits for a message, all of it durable."""
    life = Life(loop, fs)
    async with life.kernel as kernel:
        await kernel.submit("count", task_id="t")
        await kernel.idle()
    await life.storage.aclose()


async def finish(loop, fs):
    """Whoever comes next finds the run and brings it to its end."""
    life = Life(loop, fs)
    async with life.kernel as kernel:
        await kernel.send("t", "go on", key="go on")
        assert (await kernel.join("t")).text == "counted"
        texts = [message.text for message in kernel.context("t").history]
    await life.storage.aclose()
    assert texts == [f"turn {number}" for number in range(1, 7)]
    async with FileStorage(FOLDER, ops=fs) as storage:
        assert (await verify(storage, RUN)).findings == ()


async def cancel_checkpoint(life, fs, number, late):
    """A checkpoint that is asked for while turns go on; the kernel goes on whatever becomes of it."""
    async with life.kernel as kernel:
        attempt = CancelledAt(life.hook.checkpoint(), number, late=late)
        await kernel.submit("count", task_id="other")
        committed = kernel.commit_number
        try:
            await asyncio.ensure_future(_wait(attempt))
        except asyncio.CancelledError:
            pass
        else:
            assert life.hook._log.durable_commit >= committed
        await life.hook.checkpoint()
        assert life.hook._log.durable_commit >= committed
    return attempt.awaits


async def cancel_leaving(life, fs, number, late):
    kernel = await life.kernel.__aenter__()
    await kernel.submit("count", task_id="other")
    attempt = CancelledAt(kernel.__aexit__(None, None, None), number, late=late)
    with suppress(asyncio.CancelledError):
        await _wait(attempt)
    return attempt.awaits


async def cancel_entering(life, fs, number, late):
    attempt = CancelledAt(life.kernel.__aenter__(), number, late=late)
    try:
        await _wait(attempt)
    except asyncio.CancelledError:
        return attempt.awaits
    await life.kernel.__aexit__(None, None, None)
    return attempt.awaits


async def _wait(attempt):
    return await attempt


@pytest.mark.parametrize("late", [False, True], ids=["as it waits", "as it goes on"])
@pytest.mark.parametrize("durable", [True, False], ids=["durable", "at triggers"])
@pytest.mark.parametrize("operation", [cancel_checkpoint, cancel_leaving, cancel_entering])
def test_every_await_can_be_cancelled(operation, durable, late):
    number, cancelled = 1, 0
    while True:
        with repeatable(), SimLoop(number) as loop:
            awaits = loop.run(life_of(loop, operation, number, durable=durable, late=late))
        if awaits < number:
            break
        cancelled += 1
        number += 1
        assert number < MOST_AWAITS
    assert cancelled >= {cancel_checkpoint: 1, cancel_leaving: 2, cancel_entering: 5}[operation]


async def life_of(loop, operation, number, *, durable, late):
    """One history in which an operation is cancelled at its n-th await; how many awaits it had."""
    fs = SimFileSystem()
    await begin(loop, fs)
    life = Life(loop, fs, durable=durable)
    task = asyncio.ensure_future(operation(life, fs, number, late))
    await asyncio.wait([task])
    awaits = task.result()
    assert await said_on_disk(fs) == [f"turn {number}" for number in range(1, 6)]
    await life.storage.aclose()
    await finish(loop, fs)
    return awaits
