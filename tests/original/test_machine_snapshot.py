"""The original's snapshot tests of its state machine, restated: a scheduler, left and started again."""

import anyio
from original_kit import RUN, Memory, kernel_of, listen, row_record, signal_of, wait, written

from kernelckpt import (
    Context,
    KernelSnapshot,
    SchedulerBudget,
    StateKind,
    Tcb,
    WaitReason,
    load,
    restore_tcb,
)
from kernelckpt.checkpoint.restore_from import RestoreFrom


def spending(turns, tokens):
    """A program that spends in each turn, and waits for a message after every so many."""

    async def spend(turn):
        turn.spend(tokens=tokens)
        turn.say(f"turn {turn.number}, {len(turn.inbox)} messages")
        return turn.wait_for_message() if turn.number % turns == 0 else None

    return {"spend": spend}


async def parent(turn):
    return turn.join(turn.spawn("wait", task_id="child"))


FAMILY = {"parent": parent, "wait": wait}


def signals_of(kernel):
    """Signals at hand that no turn has read."""
    return [item.signal.summary for item in kernel.snapshot().queued_signals.values()]


async def test_snapshot_roundtrip_preserves_turn_and_tokens():
    memory, programs = Memory(), spending(5, 200)
    async with kernel_of(memory.storage, programs) as kernel:
        await kernel.submit("spend", task_id="root")
        await kernel.idle()
    async with kernel_of(memory.storage, programs) as kernel:
        snapshot, ledger = kernel.snapshot(), kernel.tasks.get("root").budget
    assert (snapshot.turn, snapshot.total_tokens) == (5, 1000)
    assert (ledger.turns, ledger.total_tokens) == (5, 1000)


async def test_snapshot_roundtrip_preserves_task_table():
    memory = Memory()
    async with kernel_of(memory.storage, FAMILY) as kernel:
        await kernel.submit("parent", task_id="root")
        await kernel.idle()
        before = kernel.snapshot().tasks
    assert len(before) == 2
    async with kernel_of(memory.storage, FAMILY) as kernel:
        assert [row.id for row in kernel.tasks] == ["root", "child"]
        assert kernel.snapshot().tasks == before


async def test_snapshot_roundtrip_preserves_context_messages():
    memory = Memory()
    async with kernel_of(memory.storage, {"listen": listen}) as kernel:
        await kernel.submit("listen", task_id="root")
        await kernel.send("root", "hello")
        await kernel.idle()
        (said,) = kernel.snapshot().context.history_messages
    async with kernel_of(memory.storage, {"listen": listen}) as kernel:
        assert list(kernel.context("root").history) == [said]
    assert said.text == "hello"


async def test_snapshot_roundtrip_preserves_signals():
    memory = Memory()
    async with kernel_of(memory.storage, {"wait": wait}) as kernel:
        await kernel.submit("wait", task_id="root")
        await kernel.idle()
        await kernel.signal(signal_of("look here"))
        assert signals_of(kernel) == ["look here"]
    async with kernel_of(memory.storage, {"wait": wait}) as kernel:
        assert signals_of(kernel) == ["look here"]


async def test_snapshot_roundtrip_preserves_task_state():
    async def work(turn):
        turn.progress("half done")
        return turn.wait_for_message()

    memory = Memory()
    async with kernel_of(memory.storage, {"work": work}) as kernel:
        await kernel.submit("work", task_id="root", goal="build it")
        await kernel.idle()
        context = kernel.snapshot().context
    assert (context.task_goal, context.task_progress) == ("build it", "half done")
    async with kernel_of(memory.storage, {"work": work}) as kernel:
        plan = kernel.context("root").plan
    assert (plan.goal, plan.progress) == ("build it", "half done")


async def test_snapshot_roundtrip_serialization():
    memory, programs = Memory(), spending(3, 200)
    async with kernel_of(memory.storage, programs) as kernel:
        await kernel.submit("spend", task_id="root")
        await kernel.idle()
        again = KernelSnapshot.from_json(kernel.snapshot().to_json())
    assert (again.turn, again.total_tokens) == (3, 600)
    assert again == await load(memory.storage, RUN)
    async with kernel_of(memory.storage, programs, hook=RestoreFrom(again)) as kernel:
        assert (kernel.turn, kernel.snapshot().total_tokens) == (3, 600)
        assert kernel.tasks.all() == [restore_tcb(row) for row in again.tasks]


async def test_snapshot_roundtrip_with_suspended_state():
    memory = Memory()
    async with kernel_of(memory.storage, FAMILY) as kernel:
        await kernel.submit("parent", task_id="root")
        await kernel.idle()
    async with kernel_of(memory.storage, FAMILY) as kernel:
        root = kernel.tasks.get("root")
        assert root.state.kind is StateKind.SUSPENDED
        assert root.wait == WaitReason.sub_agent_join(["child"])


async def test_snapshot_restore_independence():
    memory, programs = Memory(), spending(5, 200)
    async with kernel_of(memory.storage, programs) as kernel:
        await kernel.submit("spend", task_id="root")
        await kernel.idle()
        await kernel.signal(signal_of("first"))
        async with kernel_of(memory.crashed().storage, programs) as restored:
            await restored.signal(signal_of("second"))
            assert signals_of(restored) == ["first", "second"]
            await restored.send("root", "go on")
            with anyio.fail_after(5):
                await restored.idle()
            assert restored.turn == 10
        assert kernel.turn == 5
        assert signals_of(kernel) == ["first"]


async def test_snapshot_preserves_max_tokens_and_sprint():
    root = Tcb.root("root", SchedulerBudget(max_tokens=64_000))
    context = Context(max_tokens=64_000, sprint=2)
    memory = await written(row_record(root), (("context", "root", 0), context))
    snapshot = await load(memory.storage, RUN)
    assert (snapshot.context.max_tokens, snapshot.context.sprint) == (64_000, 2)
    assert snapshot.context.context() == context
