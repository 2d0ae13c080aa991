"""The task table, against a naive list of rows."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec.structs import replace

from kernelckpt.kernel.state import KernelState
from kernelckpt.kernel.table import TaskTable
from kernelckpt.model.budget import BudgetLedger, SchedulerBudget
from kernelckpt.model.process import ProcessState
from kernelckpt.model.suspend_reason import BlockReason, SuspendReason
from kernelckpt.model.task_state import TaskState
from kernelckpt.model.tcb import Tcb
from kernelckpt.model.termination import TerminationReason
from kernelckpt.model.wait import WaitKind, WaitReason

BUDGET = SchedulerBudget()
DONE = TaskState.done(TerminationReason.COMPLETED)
FAILED = TaskState.done(TerminationReason.ERROR)


def ids(rows):
    return [row.id for row in rows]


def test_process_state_maps_to_task_state():
    assert ProcessState.RUNNING.task_state() == TaskState.RUNNING
    assert ProcessState.JOINED.task_state() == DONE
    assert ProcessState.FAILED.task_state() == FAILED


def test_suspend_reason_maps_to_wait_reason():
    assert SuspendReason.ASK_USER.wait_reason() == WaitReason.approval()
    assert SuspendReason.EXTERNAL.wait_reason() == WaitReason.external()
    assert SuspendReason.SUB_AGENT_AWAIT.wait_reason().kind is WaitKind.SUB_AGENT_JOIN


def test_block_reason_maps_to_wait_reason():
    assert BlockReason.TOOL_SUSPEND.wait_reason() == WaitReason.tool()
    assert BlockReason.MILESTONE_AWAIT.wait_reason() == WaitReason.milestone()


def test_budget_ledger_delegates_to_scheduler_budget():
    ledger = BudgetLedger(SchedulerBudget(max_turns=2))
    assert ledger.exceeded() is None
    assert replace(ledger, turns=2).exceeded() == "max_turns"


def test_task_table_insert_and_lineage():
    table = TaskTable().insert(Tcb.root("root", BUDGET)).insert(Tcb("child", "root"))
    assert ids(table.children_of("root")) == ["child"]
    assert table.get("root").is_runnable()
    assert ids(table.runnable()) == ["root", "child"]


def test_task_table_insert_is_idempotent_by_id():
    table = TaskTable([Tcb.root("root", BUDGET), Tcb("root", state=TaskState.RUNNING)])
    assert len(table) == 1
    assert table.get("root").state == TaskState.RUNNING


def test_deferred_task_becomes_runnable_after_time():
    row = Tcb("a", deferred_until=1000)
    assert [row.is_runnable_at(now) for now in (999, 1000, 1001)] == [False, True, True]
    table = TaskTable([row])
    clock = (999, 1000, 999, None, 1001)
    assert [ids(table.runnable_at(now)) for now in clock] == [[], ["a"], [], [], ["a"]]
    assert [table.first_runnable(now) for now in clock] == [None, row, None, None, row]


def test_replacing_keeps_the_position_and_reinserting_comes_last():
    table = TaskTable(Tcb(name) for name in "abc")
    table.insert(Tcb("a", goal="changed"))
    assert ids(table) == ["a", "b", "c"]
    removed = table.remove("a")
    assert removed.goal == "changed"
    assert table.remove("a") is None
    assert "a" not in table
    assert ids(table.insert(removed)) == ["b", "c", "a"]


def test_a_parent_given_later_is_the_one_that_counts():
    table = TaskTable([Tcb("a"), Tcb("b"), Tcb("c", "a")])
    table.insert(Tcb("c", "b"))
    assert table.children_of("a") == []
    assert ids(table.children_of("b")) == ["c"]
    assert ids(table.children_of(None)) == ["a", "b"]


def test_timers_are_those_of_rows_that_have_not_ended():
    waiting = Tcb("w", state=TaskState.SUSPENDED, wait=WaitReason.external(), deferred_until=20)
    table = TaskTable([Tcb("late", deferred_until=30), waiting, Tcb("over", state=DONE, deferred_until=1)])
    assert table.next_timer() == 20
    assert ids(table.due(19)) == []
    assert ids(table.due(30)) == ["late", "w"]
    table.insert(replace(waiting, deferred_until=None))
    assert table.next_timer() == 30


def test_scan_gives_the_rows_of_its_beginning_as_they_are_when_reached():
    table = TaskTable(Tcb(name) for name in "abcd")
    scan = table.scan()
    table.insert(Tcb("new"))
    assert next(scan).id == "a"
    table.remove("b")
    table.insert(Tcb("c", goal="changed"))
    assert [(row.id, row.goal) for row in scan] == [("c", "changed"), ("d", "")]


def test_scan_survives_compaction():
    table = TaskTable(Tcb(str(number)) for number in range(1000))
    scan = table.scan()
    next(scan)
    for number in range(1, 999):
        table.remove(str(number))
    assert ids(scan) == ["999"]
    assert ids(table) == ["0", "999"]


def test_many_sleepers_wake_in_order_of_insertion():
    table = TaskTable(Tcb(str(number), deferred_until=1000 - number) for number in range(500))
    woken = []
    while (row := table.first_runnable(2000)) is not None:
        woken.append(row.id)
        table.insert(replace(row, state=TaskState.RUNNING))
    assert woken == [str(number) for number in range(500)]


def calls_of(work):
    """How many Python functions the work calls: a measure of effort without a clock."""
    count = 0

    def note(_frame, event, _arg):
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize("size", [2_000, 20_000])
def test_the_size_of_the_table_does_not_matter(size):
    table = TaskTable(Tcb(str(number), "parent", deferred_until=number % 7 or None) for number in range(size))
    scan = table.scan()

    def work():
        for number in range(100):
            row = table.first_runnable(now_ms=10)
            assert row.id == str(number)
            table.insert(replace(row, state=TaskState.RUNNING))
            assert table.first_exceeded(10) is None
            table.insert(Tcb(f"new{number}", row.id))
            assert len(table.children_of(row.id)) == 1
            table.remove(f"new{number}")
            assert next(scan).id == str(number)

    table.first_runnable(now_ms=10)
    table.first_exceeded(10)  # an index is filled when it is asked for the first time
    assert calls_of(work) < 100 * 100


def in_turn(row, started_at_ms):
    """The row of a task whose turn begins."""
    budget = replace(row.budget, started_at_ms=started_at_ms)
    return replace(row, state=TaskState.RUNNING, budget=budget, wait=None, deferred_until=None)


def test_a_task_whose_turn_begins_is_found_when_its_time_is_used_up():
    state = KernelState(lambda commit: None)
    row = state.put_row(Tcb.root("a", SchedulerBudget(max_wall_ms=5)))
    assert state.table.first_exceeded(100) is None
    state.begin_turn(in_turn(row, started_at_ms=10))
    assert state.table.first_exceeded(14) is None
    assert ids([state.table.first_exceeded(15)]) == ["a"]


STATES = st.sampled_from([TaskState.READY, TaskState.RUNNING, TaskState.BLOCKED, TaskState.SUSPENDED, DONE])
CLOCK = st.none() | st.integers(0, 12)
LEDGERS = st.builds(
    BudgetLedger,
    st.builds(SchedulerBudget, max_turns=st.integers(1, 3), max_wall_ms=st.none() | st.integers(0, 6)),
    turns=st.integers(0, 3),
    started_at_ms=st.none() | st.integers(0, 6),
)
ROWS = st.builds(
    Tcb,
    st.sampled_from("abcdefgh"),
    st.sampled_from([None, "a", "b"]),
    STATES,
    LEDGERS | st.just(BudgetLedger()),
    st.sampled_from([None, WaitReason.signal(), WaitReason.approval()]),
    deferred_until=st.none() | st.integers(0, 12),
)


class TableMachine(RuleBasedStateMachine):
    """The table does what a dict of rows does, whose walks are the definition."""

    def __init__(self):
        super().__init__()
        self.table = TaskTable()
        self.rows = {}
        self.scans = []

    @rule(row=ROWS)
    def insert(self, row):
        self.table.insert(row)
        self.rows[row.id] = row

    @precondition(lambda self: any(row.is_runnable_at(12) for row in self.rows.values()))
    @rule(data=st.data())
    def begin(self, data):
        row = data.draw(st.sampled_from([row for row in self.rows.values() if row.is_runnable_at(12)]))
        begun = in_turn(row, started_at_ms=data.draw(st.integers(0, 6)))
        if not self.table.begin(begun):
            self.table.insert(begun)
        self.rows[row.id] = begun

    @rule(task_id=st.sampled_from("abcdefgh"))
    def remove(self, task_id):
        assert self.table.remove(task_id) == self.rows.pop(task_id, None)
        for scan in self.scans:
            scan[1].discard(task_id)

    @rule()
    def churn(self):
        for number in range(200):
            self.table.insert(Tcb(f"churn{number}", deferred_until=number))
        for number in range(200):
            self.table.remove(f"churn{number}")

    @rule()
    def begin_scan(self):
        self.scans.append((self.table.scan(), set(self.rows), set()))

    @precondition(lambda self: self.scans)
    @rule(steps=st.integers(1, 5))
    def step_scan(self, steps):
        scan, due, seen = self.scans[0]
        for _ in range(steps):
            row = next(scan, None)
            if row is None:
                assert due <= seen
                self.scans.pop(0)
                return
            assert row == self.rows[row.id]
            assert row.id not in seen
            seen.add(row.id)

    @rule(now=CLOCK)
    def ask(self, now):
        rows = list(self.rows.values())
        runnable = [row for row in rows if row.is_runnable_at(now)]
        assert self.table.first_runnable(now) == next(iter(runnable), None)
        for_signal = [row for row in runnable if row.wait == WaitReason.signal()]
        assert self.table.first_runnable(now, waiting_for_signal=True) == next(iter(for_signal), None)
        assert self.table.runnable_at(now) == runnable
        over = [row for row in rows if not row.state.is_terminal() and row.budget.exceeded(now) is not None]
        assert self.table.first_exceeded(now) == next(iter(over), None)
        timers = [row for row in rows if not row.state.is_terminal() and row.deferred_until is not None]
        if now is not None:
            assert self.table.due(now) == [row for row in timers if row.deferred_until <= now]
        assert self.table.next_timer() == min((row.deferred_until for row in timers), default=None)

    @invariant()
    def agrees(self):
        rows = list(self.rows.values())
        assert self.table.all() == rows == list(self.table)
        assert len(self.table) == len(rows)
        live = [row for row in rows if not row.state.is_terminal()]
        assert self.table.live() == live
        assert self.table.live_count == len(live)
        for parent in (None, "a", "b"):
            assert self.table.children_of(parent) == [row for row in rows if row.parent == parent]


TableMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
test_table_against_a_dict = TableMachine.TestCase


@given(st.lists(ROWS, max_size=20))
def test_contains_and_get_agree(rows):
    table = TaskTable(rows)
    assert all(row.id in table and table.get(row.id).id == row.id for row in rows)
    assert table.get("nobody") is None


@pytest.mark.parametrize("now", [None, 5])
def test_an_ended_row_is_never_over_its_budget(now):
    spent = BudgetLedger(SchedulerBudget(max_turns=1, max_wall_ms=0), turns=9, started_at_ms=1)
    assert TaskTable([Tcb("a", state=DONE, budget=spent)]).first_exceeded(now) is None
