"""`RestoreFrom`: a kernel goes on from a snapshot, however it came to be."""

import pytest
from msgspec.structs import replace

from kernelckpt import (
    CheckpointHook,
    KernelSnapshot,
    Message,
    RestoreFrom,
    RuntimeSignal,
    Scheduler,
    SchedulerBudget,
    SignalSource,
    SignalType,
    Tcb,
    Urgency,
)
from kernelckpt.errors import DecodeError, RestoreError, UsageError
from kernelckpt.model.context_snapshot import ContextSnapshot
from kernelckpt.testing import ManualClock


async def lead(turn):
    if turn.number == 1:
        turn.plan(["ask"], current_step=0)
        return turn.join(turn.spawn("ask", task_id="asker"), turn.spawn("listen", task_id="listener"))
    return turn.complete(" and ".join(result.text for result in turn.results.values()))


async def ask(turn):
    turn.spend(tokens=7)
    if not turn.approvals:
        return turn.ask_approval("sure", "Are you sure?")
    return turn.complete("sure")


async def listen(turn):
    turn.set_state({"heard": len(turn.inbox)})
    return turn.complete(turn.inbox[0].text) if turn.inbox else turn.wait_for_message()


PROGRAMS = {"lead": lead, "ask": ask, "listen": listen}


def kernel_from(snapshot, programs=None, **settings):
    hooks = [RestoreFrom(snapshot)]
    return Scheduler(PROGRAMS if programs is None else programs, run_id="run", hooks=hooks, **settings)


async def half_way(clock):
    """A snapshot of a run in which a question, a message and signals are open."""
    async with Scheduler(PROGRAMS, run_id="run", clock=clock) as kernel:
        await kernel.submit("lead", task_id="lead", messages=[Message.user("go")])
        await kernel.idle()
        await kernel.send("asker", "later", key="once")
        signal = RuntimeSignal(SignalSource.CRON, SignalType.EVENT, Urgency.NORMAL, "tick")
        await kernel.signal(signal)
        await kernel.idle()
        return kernel.snapshot()


async def test_a_kernel_goes_on_where_the_snapshot_was_taken():
    clock = ManualClock()
    snapshot = KernelSnapshot.from_json((await half_way(clock)).to_json())
    async with kernel_from(snapshot, clock=clock) as kernel:
        assert kernel.snapshot() == snapshot
        assert kernel.restored.differences == ()
        await kernel.send("asker", "later", key="once")
        assert len(kernel.snapshot().inbox["asker"]) == 1, "the key of what was sent is known"
        await kernel.approve("asker", "sure")
        await kernel.send("listener", "heard")
        assert (await kernel.join("lead")).text == "sure and heard"


async def test_a_snapshot_can_be_gone_on_from_again():
    clock = ManualClock()
    snapshot = await half_way(clock)
    for answer in ("approve", "deny", "approve"):
        async with kernel_from(snapshot, clock=clock) as kernel:
            await getattr(kernel, answer)("asker", "sure")
            await kernel.idle()
            assert kernel.tasks.get("asker").state.label() == "done"


async def test_programs_that_are_missing_are_named():
    with pytest.raises(RestoreError) as caught:
        async with kernel_from(await half_way(ManualClock()), {"lead": lead}):
            pass
    assert list(caught.value.missing) == [
        "program 'ask' (tasks asker)",
        "program 'listen' (tasks listener)",
    ]


async def test_a_snapshot_of_the_original_names_no_programs():
    told = ContextSnapshot(history_messages=(Message.user("go"),), task_goal="build", max_tokens=64_000)
    original = KernelSnapshot.from_state(3, 40, [Tcb.root("root", SchedulerBudget())], told)
    original = KernelSnapshot.from_json(original.to_json())
    with pytest.raises(RestoreError, match="program ''"):
        async with kernel_from(original):
            pass
    ready = replace(original, tasks=tuple(replace(row, program="listen") for row in original.tasks))
    async with kernel_from(ready) as kernel:
        await kernel.idle()
        after = kernel.snapshot()
        assert (after.turn, after.total_tokens) == (4, 40)
        assert after.contexts["root"].history_messages == (Message.user("go"),)
        assert kernel.context("root").plan.goal == "build"


async def test_what_contradicts_itself_is_refused():
    snapshot = await half_way(ManualClock())
    with pytest.raises(DecodeError) as caught:
        async with kernel_from(replace(snapshot, tasks=snapshot.tasks[1:])):
            pass
    assert caught.value.path == "tasks[0].parent"


async def test_only_one_hook_restores():
    hooks = [RestoreFrom(await half_way(ManualClock())), CheckpointHook("memory:")]
    with pytest.raises(UsageError, match="only one"):
        Scheduler(PROGRAMS, run_id="run", hooks=hooks)
