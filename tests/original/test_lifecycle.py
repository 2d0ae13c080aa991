"""The original's tests of a run's life, restated: where its row stands, and what the log says of it."""

import anyio
import pytest
from original_kit import DONE, Memory, ask, kernel_of, lead, once, signal_of, wait

from kernelckpt import (
    AgentIsolation,
    AgentRole,
    ContextInheritance,
    Message,
    ProcessState,
    SchedulerBudget,
    TaskState,
    TerminationReason,
    Urgency,
    WaitKind,
    WaitReason,
)
from kernelckpt.model.process_view import AgentProcess
from kernelckpt.testing import ManualClock


async def boss(turn):
    """Look at the own row, and have one child do the work."""
    if turn.number == 1:
        return turn.join(turn.spawn("worker", task_id="child", role="implement"))
    return turn.complete(turn.results["child"].text)


async def worker(turn):
    """Spend, wait once, and report."""
    turn.spend(tokens=21)
    if turn.number == 1:
        return turn.wait_external("door")
    return turn.complete("built")


FAMILY = {"boss": boss, "worker": worker}


def standing(kernel, task_id="root"):
    row = kernel.tasks.get(task_id)
    return row.state.label(), row.wait.kind if row.wait else None


async def test_lifecycle_idle_before_start_is_ready():
    go_on = anyio.Event()

    async def busy(turn):
        await go_on.wait()
        return turn.complete()

    async with kernel_of(Memory().storage, {"busy": busy, "once": once}, max_concurrency=1) as kernel:
        await kernel.submit("busy", task_id="first")
        await kernel.submit("once", task_id="root")
        assert standing(kernel) == ("ready", None)
        go_on.set()


async def test_lifecycle_running_after_start():
    seen = []

    async def look(turn):
        seen.extend((row.id, row.parent, row.state, row.wait) for row in turn.deps[0].tasks)
        return turn.complete()

    deps = []
    async with kernel_of(Memory().storage, {"look": look}, deps=deps) as kernel:
        deps.append(kernel)
        await kernel.submit("look", task_id="root")
        await kernel.join("root")
    assert seen == [("root", None, TaskState.RUNNING, None)]


async def test_lifecycle_suspended_on_ask_user_with_approval_wait():
    async with kernel_of(Memory().storage, {"ask": ask}) as kernel:
        await kernel.submit("ask", task_id="root")
        await kernel.idle()
        assert standing(kernel) == ("suspended", WaitKind.APPROVAL)
        assert kernel.event_log.view().last_suspend.reason == "ask_user"


async def test_lifecycle_suspended_on_sub_agent_with_join_wait():
    async with kernel_of(Memory().storage, {"lead": lead, "wait": wait}) as kernel:
        await kernel.submit("lead", task_id="root")
        await kernel.idle()
        assert kernel.tasks.get("root").state == TaskState.SUSPENDED
        assert kernel.tasks.get("root").wait == WaitReason.sub_agent_join(["a", "b"])


async def test_lifecycle_terminal_is_done_with_no_wait():
    async with kernel_of(Memory().storage, {"once": once}) as kernel:
        await kernel.submit("once", task_id="root")
        await kernel.join("root")
        assert kernel.tasks.get("root").state == DONE
        assert kernel.tasks.get("root").wait is None


async def test_lifecycle_running_again_after_resume_from_suspend():
    seen = []

    async def look(turn):
        if not turn.approvals:
            return turn.ask_approval("sure", "Sure?")
        row = turn.deps[0].tasks.get("root")
        seen.append((row.state, row.wait))
        return turn.complete()

    deps = []
    async with kernel_of(Memory().storage, {"look": look}, deps=deps) as kernel:
        deps.append(kernel)
        await kernel.submit("look", task_id="root")
        await kernel.idle()
        await kernel.approve("root", "sure")
        await kernel.join("root")
    assert seen == [(TaskState.RUNNING, None)]


async def test_task_table_tracks_sub_agent_lifecycle():
    async with kernel_of(Memory().storage, FAMILY) as kernel:
        await kernel.submit("boss", task_id="root")
        await kernel.idle()
        assert [(row.id, row.parent) for row in kernel.tasks] == [("root", None), ("child", "root")]
        assert not kernel.tasks.get("child").state.is_terminal()
        await kernel.resume("child")
        await kernel.join("root")
        assert kernel.tasks.get("child").state == DONE


async def test_agent_process_view_shape_is_pinned_across_spawn_and_join():
    async with kernel_of(Memory().storage, FAMILY) as kernel:
        await kernel.submit("boss", task_id="parent-sess")
        await kernel.idle()
        running = AgentProcess.from_tcb(kernel.tasks.get("child"))
        await kernel.resume("child")
        await kernel.join("parent-sess")
        views = [AgentProcess.from_tcb(row) for row in kernel.tasks]
    joined = views[1]
    assert views[0] is None
    assert len(views) == 2
    assert (running.parent_session_id, running.role) == ("parent-sess", AgentRole.IMPLEMENT)
    assert (running.state, joined.state) == (ProcessState.RUNNING, ProcessState.JOINED)
    for view in (running, joined):
        assert view.isolation is AgentIsolation.SHARED
        assert view.context_inheritance is ContextInheritance.FULL
    assert (running.result, joined.result_termination) == (None, "completed")
    assert (joined.result.result.turns_used, joined.result.result.total_tokens_used) == (2, 42)


async def test_spawn_sub_agent_suspends_until_completed():
    async with kernel_of(Memory().storage, FAMILY) as kernel:
        await kernel.submit("boss", task_id="root")
        await kernel.idle()
        assert standing(kernel) == ("suspended", WaitKind.SUB_AGENT_JOIN)
        await kernel.resume("child")
        assert (await kernel.join("root")).text == "built"
        view = kernel.event_log.view()
    assert [record.state for record in view.process_by_agent] == ["joined"]
    assert view.last_resumed_turn is not None
    assert not view.suspended


@pytest.mark.parametrize(
    ("budget", "label", "reason"),
    [
        pytest.param(
            SchedulerBudget(max_turns=2), "max_turns", TerminationReason.MAX_TURNS, id="on_max_turns"
        ),
        pytest.param(
            SchedulerBudget(max_total_tokens=20),
            "token_budget",
            TerminationReason.TOKEN_BUDGET,
            id="on_token_budget",
        ),
        pytest.param(
            SchedulerBudget(max_wall_ms=2000), "wall_time", TerminationReason.TIMEOUT, id="on_wall_time"
        ),
    ],
)
async def test_budget_exceeded_observation(budget, label, reason):
    async def work(turn):
        turn.spend(tokens=10)
        turn.say(f"turn {turn.number}")
        await turn.deps.sleep(1)

    clock = ManualClock()
    async with kernel_of(Memory().storage, {"work": work}, clock=clock, deps=clock) as kernel:
        await kernel.submit("work", task_id="root", budget=budget)
        await clock.advance(5)
        result = await kernel.join("root")
        exceeded = kernel.event_log.view().budget_exceeded
        said = [message.text for message in kernel.context("root").history]
    assert (result.termination, result.turns_used) == (reason, 2)
    assert [record.budget for record in exceeded] == [label]
    assert said == ["turn 1", "turn 2"]


async def test_critical_signal_goes_to_signals_not_history():
    seen = []

    async def watch(turn):
        seen.append([signal.summary for signal in turn.signals])
        return turn.wait_for_signal() if turn.number == 1 else turn.complete()

    async with kernel_of(Memory().storage, {"watch": watch}) as kernel:
        await kernel.submit("watch", task_id="root", messages=[Message.user("go")])
        await kernel.idle()
        await kernel.signal(signal_of("fire", Urgency.CRITICAL))
        await kernel.join("root")
        assert [message.text for message in kernel.context("root").history] == ["go"]
    assert seen == [[], ["fire"]]


async def test_start_places_user_message_in_history_not_signals():
    async with kernel_of(Memory().storage, {"wait": wait}) as kernel:
        await kernel.submit("wait", task_id="root", goal="g", messages=[Message.user("begin")])
        await kernel.idle()
        context = kernel.snapshot().context
    assert [message.text for message in context.history_messages] == ["begin"]
    assert context.signals == ()


async def test_resume_after_preload_emits_call_llm_without_duplicate_user():
    memory, seen = Memory(), []

    async def look(turn):
        seen.append([message.text for message in turn.messages])
        return turn.wait_external("door")

    async with kernel_of(memory.storage, {"look": look}) as kernel:
        await kernel.submit("look", task_id="root", messages=[Message.user("begin")])
        await kernel.idle()
    async with kernel_of(memory.storage, {"look": look}) as kernel:
        await kernel.submit("look", task_id="root", messages=[Message.user("begin")])
        await kernel.resume("root")
        await kernel.idle()
    assert seen == [["begin"], ["begin"]]
