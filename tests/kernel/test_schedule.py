"""Decisions over a row and over a table."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from kernelckpt.errors import InvalidValueError
from kernelckpt.kernel.schedule import Idle, Run, Terminate, schedule, schedule_multi
from kernelckpt.kernel.table import TaskTable
from kernelckpt.model.budget import BudgetLedger, SchedulerBudget
from kernelckpt.model.signal import Urgency
from kernelckpt.model.task_state import TaskState
from kernelckpt.model.tcb import Tcb
from kernelckpt.model.termination import TerminationReason
from kernelckpt.model.wait import WaitReason

DONE = TaskState.done(TerminationReason.COMPLETED)


def row(name, state=TaskState.READY, *, turns=0, tokens=0, started=None, wait=None, deferred=None, **limits):
    ledger = BudgetLedger(SchedulerBudget(**limits), turns, tokens, started)
    return Tcb(name, state=state, budget=ledger, wait=wait, deferred_until=deferred)


def chosen(*rows, now=None, urgency=None):
    decision = schedule_multi(TaskTable(rows), now, urgency)
    assert isinstance(decision, Run)
    return decision.task


def test_schedule_runs_when_within_budget():
    assert isinstance(schedule(row("root", max_turns=5)), Run)


def test_schedule_terminates_and_matches_should_terminate_axis():
    spent = row("root", max_turns=2, turns=2)
    assert spent.budget.exceeded() == "max_turns"
    assert schedule(spent) == Terminate("root", TerminationReason.MAX_TURNS)


def test_schedule_terminates_on_wall_time_as_timeout():
    late = row("root", max_wall_ms=1000, started=0)
    assert schedule(late, 2000) == Terminate("root", TerminationReason.TIMEOUT)


@pytest.mark.parametrize(
    "name", ["schedule_multi_returns_idle_when_no_runnable", "baseline_idle_when_no_runnable"]
)
def test_idle_when_no_runnable(name):
    assert schedule_multi(TaskTable()) == Idle()


def test_schedule_multi_runs_single_ready_task():
    assert chosen(row("root")) == "root"


@pytest.mark.parametrize("urgency", [None, 3])
def test_schedule_multi_terminates_over_budget_tasks(urgency):
    table = TaskTable([row("root", max_turns=2, turns=3)])
    assert schedule_multi(table, None, urgency) == Terminate("root", TerminationReason.MAX_TURNS)


def test_schedule_multi_skips_deferred_tasks():
    table = TaskTable([row("root", deferred=999_999)])
    assert table.runnable() == []
    assert len(table.runnable_at(1_000_000)) == 1
    assert schedule_multi(table) == Idle()


def test_schedule_multi_picks_first_runnable_fifo():
    assert chosen(row("task-a"), row("task-b"), row("task-c")) == "task-a"


@pytest.mark.parametrize("state", [TaskState.BLOCKED, TaskState.SUSPENDED, DONE], ids=TaskState.label)
def test_schedule_multi_ignores(state):
    assert chosen(row("first", state), row("ready")) == "ready"


def test_schedule_multi_skips_deferred_and_returns_next_ready():
    rows = [row("a", deferred=999_999), row("b"), row("c")]
    assert chosen(*rows) == "b"
    assert chosen(*rows, now=1_000_000) == "a"


SIGNAL_ROWS = [row("plain-1"), row("plain-2"), row("signal", wait=WaitReason.signal())]


@pytest.mark.parametrize(
    ("urgency", "expected"),
    [
        pytest.param(None, "plain-1", id="signal_aware_prioritization_with_no_signal"),
        pytest.param(3, "signal", id="signal_aware_prioritization_prefers_signal_waiting_task"),
        pytest.param(1, "plain-1", id="signal_aware_prioritization_normal_signal_no_prefer"),
        pytest.param(2, "signal", id="signal_aware_prioritization_high_signal_prefer"),
        pytest.param(Urgency.CRITICAL, "signal", id="signal_aware_prioritization_critical_strongly_prefer"),
        pytest.param(Urgency.HIGH, "signal", id="baseline_signal_aware_selection"),
        pytest.param(Urgency.LOW, "plain-1", id="low"),
    ],
)
def test_signal_aware_prioritization(urgency, expected):
    assert chosen(*SIGNAL_ROWS, urgency=urgency) == expected


def test_a_suspended_row_waiting_for_a_signal_is_not_eligible():
    waiting = row("signal", TaskState.SUSPENDED, wait=WaitReason.signal())
    assert chosen(waiting, row("plain"), urgency=3) == "plain"


def test_baseline_single_task_selection():
    decision = schedule_multi(TaskTable([row("root", max_turns=10, max_total_tokens=5000)]))
    assert (decision.slice.max_turns, decision.slice.max_total_tokens) == (10, 5000)
    assert decision.slice.max_wall_ms is None


def test_baseline_fifo_selection_order():
    table = TaskTable([row("task-1"), row("task-2")])
    assert schedule_multi(table).task == "task-1"
    table.insert(replace(table.get("task-1"), state=DONE))
    assert schedule_multi(table).task == "task-2"


def test_baseline_token_budget_terminates():
    table = TaskTable([row("root", max_total_tokens=100, tokens=200)])
    assert schedule_multi(table) == Terminate("root", TerminationReason.TOKEN_BUDGET)


def test_baseline_wall_time_timeout():
    table = TaskTable([row("root", max_wall_ms=1000, started=0)])
    assert schedule_multi(table, 2000) == Terminate("root", TerminationReason.TIMEOUT)
    assert schedule_multi(table, 999).task == "root"


def test_monotonicity_termination_first_before_selection():
    table = TaskTable([row("healthy"), row("over-budget", max_turns=1, turns=1)])
    assert schedule_multi(table) == Terminate("over-budget", TerminationReason.MAX_TURNS)


def test_monotonicity_deferred_not_selected_before_time():
    assert chosen(row("deferred", deferred=1000), row("ready"), now=0) == "ready"


def test_monotonicity_blocked_suspended_not_selected():
    blocked = row("blocked", TaskState.BLOCKED, wait=WaitReason.tool())
    suspended = row("suspended", TaskState.SUSPENDED, wait=WaitReason.approval())
    assert schedule_multi(TaskTable([blocked, suspended]), 10**9, 3) == Idle()


def test_an_ended_row_over_its_budget_blocks_nobody():
    assert chosen(row("over", DONE, max_turns=1, turns=1), row("ready")) == "ready"


def test_the_first_over_budget_row_is_reported_whatever_its_axis():
    late = row("late", max_wall_ms=10, started=0)
    spent = row("spent", max_turns=0)
    assert schedule_multi(TaskTable([late, spent]), 10).task == "late"
    assert schedule_multi(TaskTable([late, spent]), 9).task == "spent"


def test_a_wall_budget_of_zero_ends_even_when_the_clock_ran_backwards():
    table = TaskTable([row("root", max_wall_ms=0, started=100)])
    assert schedule_multi(table, 5) == Terminate("root", TerminationReason.TIMEOUT)
    assert schedule_multi(table).task == "root"


@pytest.mark.parametrize("urgency", [4, -1, True, 2.0, "high "])
def test_an_urgency_that_is_none_is_refused(urgency):
    with pytest.raises(InvalidValueError, match="highest_signal_urgency"):
        schedule_multi(TaskTable(), None, urgency)
