"""The records a row is made of: states, waits, budgets, terminations."""

from __future__ import annotations

import pytest

from kernelckpt.model.budget import BudgetLedger, BudgetSlice, SchedulerBudget, termination_of
from kernelckpt.model.process import AgentRole, ProcessState, ProcInfo
from kernelckpt.model.task_state import StateKind, TaskState
from kernelckpt.model.tcb import Tcb
from kernelckpt.model.termination import TerminationReason
from kernelckpt.model.wait import WaitKind, WaitReason


def test_state_labels():
    labels = [TaskState(kind).label() for kind in StateKind if kind is not StateKind.DONE]
    assert labels == ["ready", "running", "blocked", "suspended"]
    done = TaskState.done(TerminationReason.ERROR)
    assert done.label() == "done"
    assert done.is_terminal()
    assert not TaskState.READY.is_terminal()


@pytest.mark.parametrize(
    ("kind", "reason"), [(StateKind.DONE, None), (StateKind.READY, TerminationReason.ERROR)]
)
def test_only_done_has_a_reason(kind, reason):
    with pytest.raises(ValueError, match="termination reason"):
        TaskState(kind, reason)


def test_done_completed_is_joined_and_all_else_failed():
    for reason in TerminationReason:
        joined = reason is TerminationReason.COMPLETED
        expected = ProcessState.JOINED if joined else ProcessState.FAILED
        assert ProcessState.of(TaskState.done(reason)) is expected
    assert ProcessState.of(TaskState.SUSPENDED) is ProcessState.RUNNING


def test_remove_child_removes_every_entry():
    wait = WaitReason.sub_agent_join(["a", "b", "a"])
    assert wait.has_child("a")
    left, empty = wait.remove_child("a")
    assert (left.children, empty) == (("b",), False)
    assert left.remove_child("x") == (left, False)
    assert left.remove_child("b") == (WaitReason.sub_agent_join(), True)
    assert WaitReason.sub_agent_join().remove_child("x")[1]


def test_other_waits_have_no_children():
    wait = WaitReason.approval()
    assert not wait.has_child("a")
    assert wait.remove_child("a") == (wait, False)
    with pytest.raises(ValueError, match="cannot name children"):
        WaitReason(WaitKind.TOOL, ("a",))


@pytest.mark.parametrize(
    ("limits", "used", "now", "label"),
    [
        ({}, (0, 0, None), None, None),
        ({"max_turns": 0}, (0, 0, None), None, "max_turns"),
        ({"max_turns": 2}, (2, 0, None), None, "max_turns"),
        ({"max_turns": 2, "max_total_tokens": 1}, (2, 1, None), None, "max_turns"),
        ({"max_total_tokens": 5}, (0, 5, None), None, "token_budget"),
        ({"max_total_tokens": 5}, (0, 4, None), None, None),
        ({"max_wall_ms": 10}, (0, 0, 10), 20, "wall_time"),
        ({"max_wall_ms": 10}, (0, 0, 10), 19, None),
        ({"max_wall_ms": 10}, (0, 0, 10), None, None),
        ({"max_wall_ms": 10}, (0, 0, None), 99, None),
        ({"max_wall_ms": 0}, (0, 0, 10), 5, "wall_time"),
    ],
)
def test_limits_are_inclusive_and_checked_in_order(limits, used, now, label):
    assert BudgetLedger(SchedulerBudget(**limits), *used).exceeded(now) == label


def test_defaults_and_slice():
    limits = SchedulerBudget()
    assert (limits.max_tokens, limits.max_turns, limits.max_total_tokens) == (128_000, 25, 1_000_000)
    assert BudgetSlice.of(limits) == BudgetSlice(25, 1_000_000, None)


def test_labels_of_limits_end_tasks_with_their_reason():
    labels = ("max_turns", "token_budget", "wall_time", "other")
    assert [termination_of(label).value for label in labels] == [
        "max_turns",
        "token_budget",
        "timeout",
        "token_budget",
    ]


def test_a_spawned_row_is_under_its_true_parent():
    row = Tcb.spawned_child("c", "p", ProcInfo("p", AgentRole.PLAN), SchedulerBudget(max_turns=3))
    assert (row.parent, row.state, row.budget.limits.max_turns) == ("p", TaskState.READY, 3)
