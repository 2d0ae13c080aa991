"""When checkpoints are written, and when outputs wait for them."""

import asyncio

import pytest
from hook_kit import GatedStorage, count, listen, make, pass_time, settled, triggers

from kernelckpt import (
    LogOptions,
    MemoryStorage,
    RuntimeSignal,
    SchedulerBudget,
    SignalSource,
    SignalType,
    Urgency,
    load,
)
from kernelckpt.log import list_checkpoints
from kernelckpt.testing import ManualClock


async def test_each_turn_is_written_as_it_commits():
    storage = MemoryStorage()
    kernel, _ = make(storage, {"listen": listen})
    async with kernel:
        await kernel.submit("listen", task_id="l")
        for number in range(1, 4):
            await settled()
            saved = await load(storage, "run")
            assert saved.turn == number
            assert saved == kernel.snapshot()
            await kernel.send("l", f"message {number}")
    assert (await triggers(storage)).count("turn") >= 3


async def test_periodic_checkpoints_come_every_so_many_seconds_and_only_when_something_changed():
    storage, clock = MemoryStorage(), ManualClock()
    kernel, _ = make(storage, {"listen": listen}, clock=clock, durable=False, waits=False, every=5.0)
    async with kernel:
        await kernel.submit("listen", task_id="l")
        await pass_time(clock, 4.9)
        assert await triggers(storage) == []
        await pass_time(clock, 0.1)
        assert await triggers(storage) == ["time"]
        await pass_time(clock, 60)
        assert await triggers(storage) == ["time"]
        await kernel.send("l", "hello")
        await pass_time(clock, 5)
        assert await triggers(storage) == ["time", "time"]


async def test_a_checkpoint_after_so_many_turns():
    storage = MemoryStorage()
    kernel, _ = make(storage, {"listen": listen}, durable=False, waits=False, turns=2)
    async with kernel:
        await kernel.submit("listen", task_id="l")
        for number in range(2, 6):
            await settled()
            await kernel.send("l", f"message {number}")
        await settled()
        assert await triggers(storage) == ["turns"] * 2
        assert (await load(storage, "run")).turn == 4


async def test_a_task_that_begins_to_wait_asks_for_a_checkpoint():
    storage = MemoryStorage()
    kernel, _ = make(storage, {"listen": listen}, durable=False)
    async with kernel:
        await kernel.submit("listen", task_id="l")
        await settled()
        assert await triggers(storage) == ["wait"]
        assert (await load(storage, "run")).tasks[0].wait_note == "message"


async def test_waits_ask_for_nothing_when_told_so():
    storage = MemoryStorage()
    kernel, _ = make(storage, {"listen": listen}, durable=False, waits=False)
    async with kernel:
        await kernel.submit("listen", task_id="l")
        await settled()
        assert await triggers(storage) == []
    assert await triggers(storage) == ["stop"]


def alarm(urgency):
    return RuntimeSignal(SignalSource.CUSTOM, SignalType.ALERT, urgency, "look", id=f"alarm-{urgency}")


@pytest.mark.parametrize(("urgency", "asked"), [(Urgency.NORMAL, []), (Urgency.HIGH, ["signal"])])
async def test_an_urgent_kernel_signal_asks_for_a_checkpoint(urgency, asked):
    storage = MemoryStorage()
    kernel, _ = make(storage, {"listen": listen}, durable=False, waits=False)
    async with kernel:
        await kernel.submit("listen", task_id="l")
        await kernel.signal(alarm(urgency))
        await settled()
        assert await triggers(storage) == asked


async def test_which_kernel_signals_ask_can_be_chosen():
    storage = MemoryStorage()
    kernel, _ = make(
        storage, {"listen": listen}, durable=False, waits=False, on_kernel_signal=lambda item: "1" in item.id
    )
    async with kernel:
        await kernel.signal(alarm(Urgency.CRITICAL))
        await settled()
        assert await triggers(storage) == []


async def test_the_last_checkpoint_is_written_on_leaving():
    storage = MemoryStorage()
    kernel, _ = make(storage, {"count": count}, durable=False)
    async with kernel:
        await kernel.submit("count", task_id="c")
        await kernel.join("c")
    assert await triggers(storage) == ["stop"]
    assert (await load(storage, "run")).turn == 5


async def test_it_is_written_too_when_the_body_raises():
    storage = MemoryStorage()
    kernel, _ = make(storage, {"count": count}, durable=False)
    with pytest.raises(ZeroDivisionError):
        async with kernel:
            await kernel.submit("count", task_id="c")
            await kernel.join("c")
            raise ZeroDivisionError
    assert (await load(storage, "run")).turn == 5


async def test_a_checkpoint_on_request_is_durable_on_return():
    storage = MemoryStorage()
    kernel, hook = make(storage, {"listen": listen}, durable=False, waits=False)
    async with kernel:
        await kernel.submit("listen", task_id="l")
        info = await hook.checkpoint()
        assert (info.trigger, info.kind) == ("request", "delta")
        assert (await list_checkpoints(storage, "run"))[-1].sequence == info.sequence
        assert (await load(storage, "run", info.sequence)).tasks[0].id == "l"
        await settled()
        assert (await hook.checkpoint()).sequence == info.sequence + 1
        assert (await hook.checkpoint()).sequence == info.sequence + 1, "nothing has changed"


async def test_a_cut_may_fall_into_any_turn_and_holds_nothing_of_it():
    storage, gate = MemoryStorage(), asyncio.Event()

    async def slow(turn):
        turn.say("said before the cut")
        turn.spend(tokens=7)
        await gate.wait()
        return turn.complete("done")

    kernel, hook = make(storage, {"slow": slow, "count": count})
    async with kernel:
        await kernel.submit("slow", task_id="s")
        await kernel.submit("count", task_id="c")
        await kernel.join("c")
        info = await hook.checkpoint()
        saved = await load(storage, "run", info.sequence)
        assert saved == kernel.snapshot()
        slow_row = next(row for row in saved.tasks if row.id == "s")
        assert (slow_row.state.label(), slow_row.turns, slow_row.total_tokens) == ("running", 0, 7)
        assert saved.contexts["s"].history_messages == ()
        gate.set()
        await kernel.join("s")
    assert (await load(storage, "run")).contexts["s"].history_messages[0].text == "said before the cut"


async def test_durable_outputs_wait_for_the_storage():
    storage = GatedStorage()
    kernel, _ = make(storage, {"count": count})
    async with kernel:
        await kernel.submit("count", task_id="c")
        with storage.blocked():
            joining = asyncio.create_task(kernel.join("c"))
            await settled()
            assert kernel.tasks.get("c").state.is_terminal()
            assert not joining.done()
        assert (await joining).text == "counted"


async def test_without_durable_outputs_do_not_wait():
    storage = GatedStorage()
    kernel, _ = make(storage, {"count": count}, durable=False)
    async with kernel:
        with storage.blocked():
            await kernel.submit("count", task_id="c")
            assert (await kernel.join("c")).text == "counted"
            assert storage.begun == 0
    assert (await load(storage, "run")).turn == 5


async def test_how_far_turns_run_ahead_of_a_slow_storage_is_bounded():
    storage = GatedStorage()

    async def busy(turn):
        turn.say("on")
        return turn.complete() if turn.number == 500 else None

    kernel, hook = make(storage, {"busy": busy}, max_ahead=20)
    async with kernel:
        with storage.blocked():
            submits = [
                asyncio.create_task(
                    kernel.submit("busy", task_id=name, budget=SchedulerBudget(max_turns=1000))
                )
                for name in "abc"
            ]
            await settled()
            ahead = kernel.commit_number
            assert 20 <= ahead <= 20 + 2 * 3 + 2
        await asyncio.gather(*submits)
        await kernel.join()
        assert kernel.turn == 1500
        assert hook.stats.commits >= 1500
    assert (await load(storage, "run")).turn == 1500


async def test_while_one_append_is_under_way_the_next_batch_gathers():
    storage = GatedStorage()
    kernel, hook = make(storage, {"count": count})
    async with kernel:
        before = hook.stats.checkpoints
        with storage.blocked():
            submits = [asyncio.create_task(kernel.submit("count", task_id=str(n))) for n in range(50)]
            await settled()
        await asyncio.gather(*submits)
        await kernel.join()
        assert hook.stats.checkpoints - before <= 12, "250 turns share a few appends"


async def test_bases_are_written_when_they_pay_and_a_restore_begins_with_one():
    storage, clock = MemoryStorage(), ManualClock()
    options = LogOptions(base_min_bytes=2000, base_max_entries=1000)
    kernel, hook = make(storage, {"listen": listen}, clock=clock, log=options)
    async with kernel:
        await kernel.submit("listen", task_id="l")
        await pass_time(clock, 1)
        assert hook.stats.bases == 0
        for number in range(40):
            await kernel.send("l", f"message {number}")
            await settled()
        await pass_time(clock, 1)
        assert hook.stats.bases == 1
        await kernel.send("l", "the last")
        await settled()
        before = kernel.snapshot()
    infos = await list_checkpoints(storage, "run")
    assert [info.trigger for info in infos if info.kind == "base"] == ["base"]
    kernel, _ = make(storage, {"listen": listen}, clock=clock)
    async with kernel:
        assert kernel.snapshot().contexts == before.contexts
