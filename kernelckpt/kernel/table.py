"""The task table: every row in order of insertion, with an index for each question the kernel asks often."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import TypeVar

from kernelckpt.kernel.lazy_heap import LazyHeap, Slot
from kernelckpt.kernel.ready import ReadyRows
from kernelckpt.model.task_state import StateKind
from kernelckpt.model.tcb import Tcb
from kernelckpt.model.wait import WaitKind

_Index = TypeVar("_Index", LazyHeap, ReadyRows)

_COMPACT_AT = 64
"""Removed slots that are kept before the order is written anew (at least; else as many as there are rows)."""


class TaskTable:
    """Rows by id, in order of insertion.

    A change of a row, and finding the row that runs next, cost no more in a large table than in a small one
    (but for a logarithm). Iterating and `scan` stay valid while rows come, change and go.
    """

    def __init__(self, rows: Iterable[Tcb] = ()) -> None:
        """A table with these rows inserted."""
        self._slots: dict[str, Slot] = {}
        self._order: list[Slot] = []
        self._next_number = 0
        self._children: dict[str | None, dict[str, Slot]] = {}
        self._live: dict[str, Slot] = {}
        self._live_children: dict[str | None, dict[str, Slot]] = {}
        self._timers = LazyHeap(_timer_of)
        self._asked: list[LazyHeap | ReadyRows] = []
        for row in rows:
            self.insert(row)

    def insert(self, row: Tcb) -> TaskTable:
        """Add a row, or put it in the place of the one with its id; returns the table."""
        self.put(row)
        return self

    def put(self, row: Tcb) -> tuple[Tcb | None, bool]:
        """Do what `insert` does; the row before, and whether its place in an index may have changed."""
        slot = self._slots.get(row.id)
        if slot is None:
            slot = self._slots[row.id] = Slot(self._next_number, row)
            self._next_number += 1
            self._order.append(slot)
            old = None
        else:
            old, slot.row = slot.row, row
            if not (slot.is_timed or self._asked) and old is not None and _stays(old, row):
                return old, False
        self._index(slot, row, old)
        return old, True

    def begin(self, row: Tcb) -> bool:
        """Show a task as being in a turn, which moves it in no index that is always kept.

        False if others are kept, and nothing was done: `put` is needed.
        """
        if self._asked:
            return False
        self._slots[row.id].row = row
        return True

    def adopt(self, other: TaskTable) -> None:
        """Become another table, which nobody may use any more; who looks at this one sees its rows."""
        self.__dict__.clear()
        self.__dict__.update(other.__dict__)

    def get(self, task_id: str) -> Tcb | None:
        """The row of that id."""
        slot = self._slots.get(task_id)
        return slot.row if slot else None

    def remove(self, task_id: str) -> Tcb | None:
        """Take a row out; it is returned if it was there. A later row of that id comes last."""
        slot = self._slots.pop(task_id, None)
        if slot is None or slot.row is None:
            return None
        row, slot.row = slot.row, None
        self._live.pop(task_id, None)
        self._disown(row)
        if len(self._order) - len(self._slots) > max(_COMPACT_AT, len(self._slots)):
            self._order = list(self._slots.values())
        return row

    def all(self) -> list[Tcb]:
        """Every row."""
        return list(self)

    def scan(self) -> Iterator[Tcb]:
        """The rows present now, each as it is when it is reached, without those removed by then.

        Nothing is copied, and the table may change between any two steps.
        """
        return _rows_in(self._order, len(self._order))

    def children_of(self, parent: str | None) -> list[Tcb]:
        """The rows with this parent; None for the roots."""
        return _rows(sorted(self._children.get(parent, {}).values(), key=_number))

    def live_children_of(self, parent: str | None) -> list[Tcb]:
        """The rows with this parent that have not ended."""
        return _rows(sorted(self._live_children.get(parent, {}).values(), key=_number))

    def _end_child(self, row: Tcb) -> None:
        siblings = self._live_children.get(row.parent, {})
        if siblings.pop(row.id, None) is not None and not siblings:
            del self._live_children[row.parent]

    def lineage(self, task_id: str | None) -> Iterator[Tcb]:
        """The row of that id, its parent, and so on up to a root; a circle of parents is walked once."""
        seen: set[str] = set()
        while task_id is not None and task_id not in seen:
            row = self.get(task_id)
            if row is None:
                return
            yield row
            seen.add(task_id)
            task_id = row.parent

    def live(self) -> list[Tcb]:
        """The rows that have not ended."""
        return _rows(sorted(self._live.values(), key=_number))

    @property
    def live_count(self) -> int:
        """How many rows have not ended."""
        return len(self._live)

    def runnable_at(self, now_ms: int | None) -> list[Tcb]:
        """The rows that may run at this time; without a clock no deferred row may."""
        return _rows(self._ready.all(now_ms))

    def runnable(self) -> list[Tcb]:
        """The rows that are ready and not deferred."""
        return self.runnable_at(None)

    def first_runnable(self, now_ms: int | None = None, *, waiting_for_signal: bool = False) -> Tcb | None:
        """The first of the runnable rows, or of those among them whose wait is for a signal."""
        ready = self._ready_for_signal if waiting_for_signal else self._ready
        slot = ready.first(now_ms)
        return slot.row if slot else None

    def first_exceeded(self, now_ms: int | None = None) -> Tcb | None:
        """The first row that has not ended and whose budget is used up."""
        slot = self._exceeded.first()
        late = [] if now_ms is None else list(self._deadlines.up_to(now_ms))
        found = min(late if slot is None else [slot, *late], key=_number, default=None)
        return found.row if found else None

    def next_timer(self) -> int | None:
        """The earliest time, in wall ms, at which a deferral or the deadline of a live row is over."""
        return self._timers.first_key()

    def due(self, now_ms: int) -> list[Tcb]:
        """The rows that have not ended and whose deferral or deadline has passed, ready or waiting."""
        return _rows(sorted(self._timers.up_to(now_ms), key=_number))

    def __contains__(self, task_id: object) -> bool:
        return task_id in self._slots

    def __iter__(self) -> Iterator[Tcb]:
        return self.scan()

    def __len__(self) -> int:
        return len(self._slots)

    def _index(self, slot: Slot, row: Tcb, old: Tcb | None) -> None:
        if old is not None and old.parent != row.parent:
            self._disown(old)
        self._children.setdefault(row.parent, {})[row.id] = slot
        has_ended = row.state.is_terminal()
        if has_ended:
            self._live.pop(row.id, None)
            self._end_child(row)
        else:
            self._live[row.id] = slot
            self._live_children.setdefault(row.parent, {})[row.id] = slot
        has_time = row.deferred_until is not None or row.budget.limits.has_deadline()
        slot.is_timed = has_ended or has_time
        self._timers.add(slot, old)
        for index in self._asked:
            index.add(slot, old)

    @cached_property
    def _ready(self) -> ReadyRows:
        return self._keep(ReadyRows())

    @cached_property
    def _ready_for_signal(self) -> ReadyRows:
        return self._keep(ReadyRows(_waits_for_signal))

    @cached_property
    def _exceeded(self) -> LazyHeap:
        return self._keep(LazyHeap(_exceeded_key))

    @cached_property
    def _deadlines(self) -> LazyHeap:
        return self._keep(LazyHeap(_deadline_of))

    def _keep(self, index: _Index) -> _Index:
        """Fill an index that is asked for the first time, and keep it up to date from now on."""
        for slot in self._slots.values():
            index.add(slot, None)
        self._asked.append(index)
        return index

    def _disown(self, row: Tcb) -> None:
        self._end_child(row)
        siblings = self._children[row.parent]
        del siblings[row.id]
        if not siblings:
            del self._children[row.parent]


def _rows(slots: Iterable[Slot]) -> list[Tcb]:
    return [slot.row for slot in slots if slot.row is not None]


def _rows_in(order: list[Slot], length: int) -> Iterator[Tcb]:
    """A list of slots is only ever appended to; compaction makes a new one."""
    for index in range(length):
        row = order[index].row
        if row is not None:
            yield row


def _stays(old: Tcb, new: Tcb) -> bool:
    """Whether a row without a time stays where it is in all that is always kept: most changes leave it."""
    return (
        new.budget.limits is old.budget.limits
        and new.deferred_until is None
        and new.parent == old.parent
        and new.state.kind is not StateKind.DONE
    )


def _number(slot: Slot) -> int:
    return slot.number


def _waits_for_signal(row: Tcb) -> bool:
    return row.wait is not None and row.wait.kind is WaitKind.SIGNAL


def _timer_of(row: Tcb) -> int | None:
    """When something is to be done about a row; the deadline of one at work is looked at after that."""
    if row.state.is_terminal():
        return None
    due, deferred = row.budget.due_ms, row.deferred_until
    if due is None or row.is_at_work():
        return deferred
    return due if deferred is None else min(due, deferred)


def _exceeded_key(row: Tcb) -> int | None:
    return 0 if not row.state.is_terminal() and row.budget.exceeded() is not None else None


def _deadline_of(row: Tcb) -> int | None:
    """The time from which the wall budget is used up; a budget of 0 is used up whatever the clock says."""
    budget = row.budget
    if row.state.is_terminal() or budget.started_at_ms is None or budget.limits.max_wall_ms is None:
        return None
    return budget.started_at_ms + budget.limits.max_wall_ms if budget.limits.max_wall_ms else 0
