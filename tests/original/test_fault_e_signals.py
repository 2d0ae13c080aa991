"""Faults of the original's signals, each shown not to be repeated."""

import pytest
from original_kit import TOTALS, Memory, kernel_of, signal_of, written

from kernelckpt import Disposition, Urgency
from kernelckpt.errors import RestoreError
from kernelckpt.model.kernel import KernelTotals


async def watch(turn):
    """Note every signal, and wait for more until told to stop."""
    seen = [*(turn.state or []), *(signal.summary for signal in turn.signals)]
    turn.set_state(seen)
    return turn.complete(output=seen) if "stop" in seen else turn.wait_for_signal()


async def deaf(turn):
    """Let signals lie until the third turn."""
    if turn.number < 3:
        return turn.wait_external("door")
    return turn.complete(output=[signal.summary for signal in turn.signals])


async def test_e1_queued_signals_survive_whole_and_in_order():
    memory = Memory()
    signals = [
        signal_of("later", at=9, payload={"n": [1]}),
        signal_of("earlier", at=1, key="k"),
        signal_of("first", Urgency.NORMAL, at=0),
    ]
    async with kernel_of(memory.storage, {"deaf": deaf}) as kernel:
        await kernel.submit("deaf", task_id="root")
        await kernel.idle()
        for signal in signals:
            assert await kernel.signal(signal) is Disposition.QUEUE
    async with kernel_of(memory.storage, {"deaf": deaf}) as kernel:
        assert [item.signal for item in kernel.snapshot().queued_signals.values()] == signals
        await kernel.resume("root")
        await kernel.idle()
        await kernel.resume("root")
        assert (await kernel.join("root")).output == ["first", "earlier", "later"]


async def test_e2_deduplication_is_cleared_by_a_restore_and_this_is_said():
    memory = Memory()
    async with kernel_of(memory.storage, {"watch": watch}) as kernel:
        await kernel.submit("watch", task_id="root")
        await kernel.idle()
        await kernel.signal(signal_of("tick", key="k"))
        await kernel.idle()
        assert await kernel.signal(signal_of("tick", key="k")) is Disposition.IGNORE
    async with kernel_of(memory.storage, {"watch": watch}) as kernel:
        assert kernel.restored.cleared == ("signal deduplication",)
        assert await kernel.signal(signal_of("tick", key="k")) is Disposition.QUEUE
        await kernel.signal(signal_of("stop"))
        assert (await kernel.join("root")).output == ["tick", "tick", "stop"]


async def test_e3_a_dropped_signal_may_be_sent_again():
    memory, late = await written((TOTALS, KernelTotals(queue_capacity=1))), signal_of("late", key="k")
    async with kernel_of(memory.storage, {"deaf": deaf}) as kernel:
        await kernel.submit("deaf", task_id="root")
        await kernel.idle()
        assert await kernel.signal(signal_of("first")) is Disposition.QUEUE
        assert [await kernel.signal(late) for _ in range(2)] == [Disposition.DROPPED] * 2
        await kernel.resume("root")
        await kernel.idle()
        assert await kernel.signal(late) is Disposition.QUEUE
        assert await kernel.signal(late) is Disposition.IGNORE
        await kernel.resume("root")
        assert (await kernel.join("root")).output == ["first"]


class Deaf:
    """An attention policy that lets everything wait."""

    def decide(self, signal, *, is_running):
        return Disposition.QUEUE


async def test_e4_capacity_and_policy_of_the_queue_survive():
    memory, closures = Memory(), {"deaf": Deaf()}
    urgent = signal_of("now", Urgency.CRITICAL)
    settings = {"closures": closures, "attention": "deaf", "signal_queue": 2}
    async with kernel_of(memory.storage, {}, **settings) as kernel:
        assert await kernel.signal(urgent) is Disposition.QUEUE
    async with kernel_of(memory.storage, {}, closures=closures) as kernel:
        assert await kernel.signal(urgent) is Disposition.QUEUE
        assert await kernel.signal(urgent) is Disposition.DROPPED
    with pytest.raises(RestoreError, match="deaf"):
        async with kernel_of(memory.storage, {}):
            pytest.fail("started without its policy")


async def test_e5_signals_and_their_lines_are_consumed_by_the_turn_that_read_them():
    memory, seen = Memory(), []

    async def watch_all(turn):
        seen.append(([signal.summary for signal in turn.signals], list(turn.notes)))
        return turn.wait_for_signal()

    for life in range(3):
        async with kernel_of(memory.storage, {"watch": watch_all}) as kernel:
            await kernel.submit("watch", task_id="root")
            await kernel.idle()
            await kernel.signal(signal_of(str(life), Urgency.CRITICAL))
            await kernel.idle()
            assert (kernel.snapshot().inbox, kernel.snapshot().context.signals) == ({}, ())
    assert seen == [([], []), *(([str(life)], [f"[INTERRUPT] {life}"]) for life in range(3))]
