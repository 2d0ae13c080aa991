"""Saves that fail: told, tried again, and in the end the kernel's end; nothing acknowledged meanwhile."""

import asyncio

import anyio
import pytest
from hook_kit import GatedStorage, count, listen, make, pass_time, settled

from kernelckpt import LogOptions, MemoryStorage, load
from kernelckpt.errors import (
    CheckpointFailedError,
    FencedError,
    SchedulerStopped,
    StorageFullError,
    SyncFailedError,
)
from kernelckpt.log import list_checkpoints
from kernelckpt.testing import ManualClock


def full():
    return StorageFullError("no space is left", hint="make room")


async def heard(kernel, kind, found):
    async for event in kernel.events():
        if event.kind == kind:
            found.append(event.data)


async def test_a_failed_save_is_told_and_tried_again_and_nothing_is_lost(caplog):
    storage, clock, told = GatedStorage(), ManualClock(), []
    kernel, hook = make(storage, {"count": count}, clock=clock)
    async with kernel:
        listening = asyncio.create_task(heard(kernel, "checkpoint_failed", told))
        await settled()
        storage.errors += [full(), SyncFailedError("sync failed")]
        submitting = asyncio.create_task(kernel.submit("count", task_id="c"))
        await settled()
        assert not submitting.done()
        assert [fact["consecutive"] for fact in told] == [1]
        assert "make room" in told[0]["error"]
        assert caplog.messages == [
            f"run 'run': checkpoint failed (error: {told[0]['error']}, consecutive: 1)"
        ]
        await pass_time(clock, 60)
        assert [fact["consecutive"] for fact in told] == [1, 2]
        assert (await submitting) == "c"
        assert (await kernel.join("c")).text == "counted"
        assert hook.stats.failures == 2
        listening.cancel()
    snapshot = await load(storage, "run")
    assert [message.text for message in snapshot.context.history_messages] == [
        f"turn {number}" for number in range(1, 6)
    ]
    infos = await list_checkpoints(storage, "run")
    assert [info.sequence for info in infos] == list(range(1, len(infos) + 1)), "no number is used twice"


async def test_too_many_failures_in_a_row_halt_the_kernel():
    storage, clock, ran = GatedStorage(), ManualClock(), []

    async def act(turn):
        await turn.effect(effect, turn.number)
        return turn.complete("acted")

    async def effect(number):
        ran.append(number)

    kernel, _ = make(storage, {"act": act}, clock=clock, max_consecutive_failures=2)
    with pytest.raises(CheckpointFailedError) as caught:
        async with kernel:
            await settled()
            storage.errors += [full() for _ in range(10)]
            joining = asyncio.create_task(kernel.submit("act", task_id="a"))
            await settled()
            await pass_time(clock, 60)
            with pytest.raises(SchedulerStopped):
                await joining
            with pytest.raises(SchedulerStopped):
                await kernel.submit("act", task_id="b")
            with pytest.raises(SchedulerStopped):
                await kernel.join("a")
    assert "make room" in str(caught.value)
    assert isinstance(caught.value.__cause__, StorageFullError)
    assert ran == [], "no output before what it rests on is durable"
    assert len(storage.errors) == 7, "two failures are borne, the third is the last"


async def test_a_body_that_waits_for_something_else_is_ended_by_the_halt():
    storage, clock = GatedStorage(), ManualClock()
    kernel, _ = make(storage, {"listen": listen}, clock=clock, max_consecutive_failures=0)
    with pytest.raises(CheckpointFailedError):
        async with kernel:
            storage.errors.append(full())
            sending = asyncio.create_task(kernel.submit("listen", task_id="l"))
            await anyio.sleep_forever()
    with pytest.raises(SchedulerStopped):
        await sending


async def test_a_kernel_that_was_halted_can_be_started_again_and_goes_on():
    state = MemoryStorage()
    storage, clock = GatedStorage(state), ManualClock()
    kernel, _ = make(storage, {"listen": listen}, clock=clock, max_consecutive_failures=0)
    with pytest.raises(CheckpointFailedError):
        async with kernel:
            await kernel.submit("listen", task_id="l")
            await kernel.send("l", "kept")
            await settled()
            storage.errors.append(full())
            await kernel.send("l", "not acknowledged")
    kernel, _ = make(state, {"listen": listen})
    async with kernel:
        await settled()
        assert [message.text for message in kernel.context("l").history] == ["kept"]
        await kernel.send("l", "more")
        await settled()
        assert [message.text for message in kernel.context("l").history] == ["kept", "more"]


async def test_a_storage_that_fails_on_leaving_is_an_error_of_the_block():
    storage, clock = GatedStorage(), ManualClock()
    kernel, _ = make(storage, {"count": count}, clock=clock, durable=False, max_consecutive_failures=0)
    with pytest.raises(CheckpointFailedError):
        async with kernel:
            await kernel.submit("count", task_id="c")
            await kernel.join("c")
            storage.errors.append(full())


async def test_the_error_of_the_body_wins_over_that_of_the_storage():
    storage, clock = GatedStorage(), ManualClock()
    kernel, _ = make(storage, {"count": count}, clock=clock, durable=False, max_consecutive_failures=0)
    with pytest.raises(ZeroDivisionError):
        async with kernel:
            await kernel.submit("count", task_id="c")
            storage.errors.append(full())
            raise ZeroDivisionError


async def test_a_kernel_that_was_taken_over_halts_before_another_output():
    state, ran = MemoryStorage(), []

    async def act(turn):
        if turn.inbox:
            await turn.effect(effect)
        return turn.wait_for_message()

    async def effect():
        ran.append("acted")

    kernel, _ = make(state, {"act": act})
    with pytest.raises(FencedError):
        async with kernel:
            await kernel.submit("act", task_id="a")
            await settled()
            await state.acquire("run", "somebody else", takeover=True)
            with pytest.raises(SchedulerStopped):
                await kernel.send("a", "act")
            await settled()
            with pytest.raises(SchedulerStopped):
                await kernel.join("a")
    assert ran == []


async def test_a_kernel_that_has_lost_its_run_answers_nothing_any_more():
    """Not even what it knows: without `durable`, nobody may have written that down."""
    state = MemoryStorage()
    kernel, hook = make(state, {"count": count}, durable=False)
    with pytest.raises(FencedError):
        async with kernel:
            await kernel.submit("count", task_id="c")
            assert (await kernel.join("c")).text == "counted"
            await state.acquire("run", "somebody else", takeover=True)
            with pytest.raises(FencedError):
                await hook.checkpoint()
            with pytest.raises(SchedulerStopped):
                await kernel.join("c")


async def test_a_failed_base_is_told_and_the_deltas_go_on():
    class BadBlobs(GatedStorage):
        async def write_part(self, *_):
            raise full()

    storage, clock, told = BadBlobs(), ManualClock(), []
    options = LogOptions(base_min_bytes=0, base_factor=0)
    kernel, hook = make(storage, {"listen": listen}, clock=clock, log=options)
    async with kernel:
        listening = asyncio.create_task(heard(kernel, "base_failed", told))
        await kernel.submit("listen", task_id="l")
        await pass_time(clock, 1)
        assert len(told) == 1
        assert hook.stats.bases == 0
        await kernel.send("l", "on")
        await settled()
        assert [message.text for message in kernel.context("l").history] == ["on"]
        listening.cancel()
    assert (await load(storage, "run")).turn == 2
