"""The original's tests of its scheduler, restated: rows, the table, and what runs next."""

import pytest
from original_kit import DONE, row

from kernelckpt import (
    BudgetLedger,
    ProcessState,
    SchedulerBudget,
    TaskState,
    TaskTable,
    Tcb,
    TerminationReason,
    WaitKind,
    WaitReason,
)
from kernelckpt.kernel.schedule import Idle, Run, Terminate, schedule, schedule_multi
from kernelckpt.model.suspend_reason import BlockReason, SuspendReason

HIGH, CRITICAL, NORMAL = 2, 3, 1


def chosen(*rows, now=None, urgency=None):
    decision = schedule_multi(TaskTable(rows), now, urgency)
    assert isinstance(decision, Run)
    return decision.task


def test_process_state_maps_to_task_state():
    assert ProcessState.RUNNING.task_state() == TaskState.RUNNING
    assert ProcessState.JOINED.task_state() == DONE
    assert ProcessState.FAILED.task_state() == TaskState.done(TerminationReason.ERROR)


def test_suspend_reason_maps_to_wait_reason():
    assert SuspendReason.ASK_USER.wait_reason() == WaitReason.approval()
    assert SuspendReason.EXTERNAL.wait_reason() == WaitReason.external()
    assert SuspendReason.SUB_AGENT_AWAIT.wait_reason().kind is WaitKind.SUB_AGENT_JOIN


def test_block_reason_maps_to_wait_reason():
    assert BlockReason.TOOL_SUSPEND.wait_reason() == WaitReason.tool()
    assert BlockReason.MILESTONE_AWAIT.wait_reason() == WaitReason.milestone()


def test_budget_ledger_delegates_to_scheduler_budget():
    limits = SchedulerBudget(max_turns=2)
    assert BudgetLedger(limits).exceeded() is None
    assert BudgetLedger(limits, turns=2).exceeded() == "max_turns"


def test_task_table_insert_and_lineage():
    table = TaskTable([row("root"), Tcb("child", "root")])
    assert [child.id for child in table.children_of("root")] == ["child"]
    assert table.get("root").is_runnable()
    assert len(table.runnable()) == 2


def test_schedule_runs_when_within_budget():
    assert isinstance(schedule(row("root", max_turns=5)), Run)


def test_schedule_terminates_and_matches_should_terminate_axis():
    spent = row("root", max_turns=2, turns=2)
    assert spent.budget.limits.should_terminate(2, 0) == "max_turns"
    assert schedule(spent) == Terminate("root", TerminationReason.MAX_TURNS)


def test_schedule_terminates_on_wall_time_as_timeout():
    late = row("root", max_wall_ms=1000, started=0)
    assert schedule(late, 2000) == Terminate("root", TerminationReason.TIMEOUT)


def test_task_table_insert_is_idempotent_by_id():
    table = TaskTable([row("root"), row("root", TaskState.RUNNING)])
    assert [found.state for found in table.all()] == [TaskState.RUNNING]


def test_schedule_multi_returns_idle_when_no_runnable():
    assert schedule_multi(TaskTable()) == Idle()


def test_baseline_idle_when_no_runnable():
    assert schedule_multi(TaskTable(), 0, CRITICAL) == Idle()


def test_schedule_multi_runs_single_ready_task():
    assert chosen(row("root")) == "root"


def test_schedule_multi_terminates_over_budget_tasks():
    table = TaskTable([row("root", max_turns=2, turns=3)])
    assert schedule_multi(table) == Terminate("root", TerminationReason.MAX_TURNS)


def test_baseline_terminates_over_budget():
    table = TaskTable([row("root", max_turns=1, turns=1)])
    assert schedule_multi(table) == Terminate("root", TerminationReason.MAX_TURNS)


def test_schedule_multi_skips_deferred_tasks():
    table = TaskTable([row("root", deferred=999_999)])
    assert len(table.runnable_at(None)) == 0
    assert len(table.runnable_at(1_000_000)) == 1


def test_schedule_multi_picks_first_runnable_fifo():
    assert chosen(row("task-a"), row("task-b"), row("task-c")) == "task-a"


@pytest.mark.parametrize(
    "state",
    [
        pytest.param(TaskState.BLOCKED, id="schedule_multi_ignores_blocked"),
        pytest.param(TaskState.SUSPENDED, id="schedule_multi_ignores_suspended"),
        pytest.param(DONE, id="schedule_multi_ignores_done"),
    ],
)
def test_schedule_multi_ignores(state):
    assert chosen(row("first", state), row("ready")) == "ready"


def test_deferred_task_becomes_runnable_after_time():
    deferred = row("root", deferred=1000)
    assert [deferred.is_runnable_at(now) for now in (999, 1000, 1001)] == [False, True, True]


def test_schedule_multi_skips_deferred_and_returns_next_ready():
    rows = [row("a", deferred=999_999), row("b"), row("c")]
    assert chosen(*rows) == "b"
    assert chosen(*rows, now=1_000_000) == "a"


WAITING = row("signal-task", wait=WaitReason.signal())


def test_signal_aware_prioritization_with_no_signal():
    assert chosen(row("plain"), WAITING) == "plain"


def test_signal_aware_prioritization_prefers_signal_waiting_task():
    assert chosen(row("plain"), WAITING, urgency=CRITICAL) == "signal-task"


def test_signal_aware_prioritization_normal_signal_no_prefer():
    assert chosen(row("plain"), WAITING, urgency=NORMAL) == "plain"


def test_signal_aware_prioritization_high_signal_prefer():
    assert chosen(row("plain"), WAITING, urgency=HIGH) == "signal-task"


def test_signal_aware_prioritization_critical_signal_strongly_prefer():
    assert chosen(row("plain-1"), row("plain-2"), WAITING, urgency=CRITICAL) == "signal-task"


def test_baseline_single_task_selection():
    decision = schedule_multi(TaskTable([row("root", max_turns=10, max_total_tokens=5000)]))
    assert isinstance(decision, Run)
    assert (decision.slice.max_turns, decision.slice.max_total_tokens) == (10, 5000)


def test_baseline_fifo_selection_order():
    table = TaskTable([row("task-1"), row("task-2")])
    assert schedule_multi(table).task == "task-1"
    table.remove("task-1")
    assert schedule_multi(table).task == "task-2"


def test_baseline_token_budget_terminates():
    table = TaskTable([row("root", max_total_tokens=100, tokens=200)])
    assert schedule_multi(table) == Terminate("root", TerminationReason.TOKEN_BUDGET)


def test_baseline_wall_time_timeout():
    table = TaskTable([row("root", max_wall_ms=1000, started=0)])
    assert schedule_multi(table, 2000) == Terminate("root", TerminationReason.TIMEOUT)


def test_monotonicity_termination_first_before_selection():
    table = TaskTable([row("healthy"), row("over-budget", max_turns=1, turns=1)])
    assert schedule_multi(table) == Terminate("over-budget", TerminationReason.MAX_TURNS)


def test_monotonicity_deferred_not_selected_before_time():
    assert chosen(row("deferred", deferred=1000), row("ready"), now=0) == "ready"


def test_monotonicity_blocked_suspended_not_selected():
    blocked = row("blocked", TaskState.BLOCKED, wait=WaitReason.tool())
    suspended = row("suspended", TaskState.SUSPENDED, wait=WaitReason.approval())
    assert schedule_multi(TaskTable([blocked, suspended])) == Idle()
    assert chosen(blocked, suspended, row("ready")) == "ready"


def test_baseline_signal_aware_selection():
    assert chosen(row("normal-task"), WAITING, urgency=CRITICAL) == "signal-task"
