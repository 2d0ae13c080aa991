"""The kernel's state: all records, and the one way they change - put, remove, append, then commit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct

from kernelckpt.abc import Append, Change, Commit, Key, PartlyRead, Put, Remove, RestoredState
from kernelckpt.codec.record import EVENTS, STREAM_ITEMS, decode_record, path_of
from kernelckpt.errors import DecodeError, RestoreError, UnknownTaskError
from kernelckpt.kernel.cell import Cell
from kernelckpt.kernel.events.event_log import EventLog
from kernelckpt.kernel.events.event_stream import FOLD, EventStream
from kernelckpt.kernel.events.row_event import QUIET, row_events
from kernelckpt.kernel.redaction.redactor import Redactor
from kernelckpt.kernel.steps import Steps, finished
from kernelckpt.kernel.table import TaskTable
from kernelckpt.model.command import CommandOutcome
from kernelckpt.model.governance import GovernancePolicy, RateSlot
from kernelckpt.model.kernel import KernelTotals
from kernelckpt.model.logged_event import LoggedEvent
from kernelckpt.model.os_event import AgentForgotten, categorized
from kernelckpt.model.os_snapshot import EventFold, ProcessRecord
from kernelckpt.model.signal import QueuedSignal
from kernelckpt.model.tcb import Tcb

TOTALS: Key = ("kernel", "", 0)
GOVERNANCE: Key = ("governance", "", 0)

WHOLE_KERNEL = frozenset({"kernel", "signal", "command", "governance", "rate", "fold", EVENTS})
"""Kinds of records and streams that belong to no task."""


class KernelState:
    """Rows, cells, totals, queued signals and the event log.

    Attributes:
        unread: tasks with streams that were not read yet; `Contexts` takes them out.

    Every change is made by `put`, `remove` or `append` and becomes a commit by `commit`, all without an
    await between: whoever looks at an await sees committed state only.
    """

    def __init__(
        self,
        on_commit: Callable[[Commit], None],
        redactor: Redactor | None = None,
        on_deadline: Callable[[], None] | None = None,
    ) -> None:
        """Begin empty.

        Args:
            on_commit: called synchronously with each commit.
            redactor: sees whatever is to be kept.
            on_deadline: called when a row with a deadline was put.
        """
        self.redactor = redactor or Redactor()
        self.table = TaskTable()
        self.totals = KernelTotals()
        self.queued: dict[int, QueuedSignal] = {}
        self.commands: dict[int, CommandOutcome] = {}
        self.policy: GovernancePolicy | None = None
        self.rates: dict[int, RateSlot] = {}
        self.number = 0
        self.events = EventStream()
        self.unread: set[str] = set()
        self._cells: dict[str, Cell] = {}
        self._changes: list[Change] = []
        self._rows: dict[str, Tcb] = {}
        self._on_commit = on_commit
        self._on_deadline = on_deadline

    def row(self, task_id: str) -> Tcb:
        """The row of a task.

        Raises:
            UnknownTaskError: there is none.
        """
        row = self.table.get(task_id)
        if row is None:
            self.redactor.refuse(task_id, "task_id")
            hint = "submit it first; a finished task may have been forgotten"
            raise UnknownTaskError(f"no task {task_id!r}", hint=hint)
        return row

    def cell(self, task_id: str) -> Cell:
        """The other records of a task that has a row."""
        return self._cells[task_id]

    def find_cell(self, task_id: str) -> Cell | None:
        """The other records of a task, or None when it has no row (any more)."""
        return self._cells.get(task_id)

    def put(self, key: Key, record: Struct) -> None:
        """Set a record, without the secrets in it."""
        self._put(key, self.redactor.record(record))

    def _put(self, key: Key, record: Struct) -> None:
        self._set(key, record)
        self._changes.append(Put(key, record))

    def put_totals(self, totals: KernelTotals) -> None:
        """Set the kernel's totals, which hold no text."""
        self.totals = totals
        self._changes.append(Put(TOTALS, totals))

    def put_row(
        self,
        row: Tcb,
        *,
        pending: Sequence[str] = (),
        approved: Sequence[str] = (),
        denied: Sequence[str] = (),
    ) -> Tcb:
        """Set a task's row, and note in the event log what that means; the row as it is kept.

        Args:
            row: the row.
            pending: ids of what it waits for, if this suspends it; by default the children it joins.
            approved: ids of what was approved, if this resumes it.
            denied: ids of what was denied.
        """
        row = self.redactor.record(row)
        old, moved = self.table.put(row)
        self._rows[row.id] = row
        if old is None:
            self._cells[row.id] = Cell()
        if old is None or old.state.kind not in QUIET or row.state.kind not in QUIET:
            ids = {"pending": pending, "approved": approved, "denied": denied}
            for event in row_events(self.totals.turn, old, row, **ids):
                self.note(event)
        if moved and self._on_deadline is not None and row.budget.limits.has_deadline():
            self._on_deadline()
        return row

    def begin_turn(self, row: Tcb) -> Tcb:
        """Set the row of a task whose turn begins, which says nothing new but that; the row as it is kept."""
        if self.redactor.acts or not self.table.begin(row):
            return self.put_row(row)
        self._rows[row.id] = row
        return row

    def note(self, event: LoggedEvent) -> None:
        """Add an event to the event log, with its category; the next commit holds it.

        Raises:
            InvalidValueError: it cannot be encoded.
        """
        self.events.note(self.redactor.record(categorized(event)))

    @property
    def log(self) -> EventLog:
        """What happened, folded."""
        return self.events.log

    def remove(self, key: Key) -> None:
        """Remove a record or a stream."""
        kind, task, number = key
        if kind == "task":
            row = self.table.remove(task)
            self._rows.pop(task, None)
            self._cells.pop(task, None)
            if row is not None and row.proc is not None:
                self.note(AgentForgotten(task))
        elif kind == "signal":
            self.queued.pop(number, None)
        elif kind == "command":
            self.commands.pop(number, None)
        elif kind == "rate":
            self.rates.pop(number, None)
        elif kind == "governance":
            self.policy = None
        else:
            self._cells[task].drop(kind, number)
        self._changes.append(Remove(key))

    def append(self, task_id: str, kind: str, items: Sequence[bytes]) -> None:
        """Add encoded items to a stream of a task."""
        if not items:
            return
        cell = self._cells[task_id]
        kept = self.redactor.items(kind, items)
        start = cell.extend(kind, kept)
        self._changes.append(Append((kind, task_id, cell.generation(kind)), start, kept))

    def forget(self, task_id: str) -> None:
        """Remove a task with everything that belongs to it."""
        for key, _ in list(self._cells[task_id].scan(task_id)):
            self._changes.append(Remove(key))
        self.remove(("task", task_id, 0))

    def commit(self, *, urgent: bool = True, ended_turn: bool = False, waits: bool = False) -> int:
        """Make what was changed since the last commit one commit; its number."""
        if self.events.noted:
            self._write_events()
        changes, self._changes = self._changes, []
        for row in self._rows.values():
            changes.append(Put(("task", row.id, 0), row))
        self._rows.clear()
        number = self.number = self.number + 1
        self._on_commit(Commit(number, self.totals.turn, tuple(changes), urgent, ended_turn, waits))
        return number

    def _write_events(self) -> None:
        if not self.events.is_full:
            self._changes.append(self.events.take())
            return
        for process in self.events.changed_processes():
            if process.agent_id in self._cells:  # a damaged log may know children that have no row
                self._put(("process", process.agent_id, 0), process)
        if self.events.items:
            self._changes.append(Remove(self.events.key))
        self._put(FOLD, self.events.next_fold())  # it is made of events that were kept

    def scan(self) -> Iterator[tuple[Key, Struct | None]]:
        """All records, one at a time, valid while commits go on; None stands for a stream."""
        yield TOTALS, self.totals
        for number, queued in list(self.queued.items()):
            yield ("signal", "", number), queued
        for number, outcome in list(self.commands.items()):
            yield ("command", "", number), outcome
        if self.policy is not None:
            yield GOVERNANCE, self.policy
        for number, slot in list(self.rates.items()):
            yield ("rate", "", number), slot
        if self.events.fold.generation:
            yield FOLD, self.events.fold
        if self.events.items:
            yield self.events.key, None
        for row in self.table.scan():
            yield ("task", row.id, 0), row
            cell = self._cells.get(row.id)
            if cell is not None:
                yield from cell.scan(row.id)

    @property
    def uncommitted(self) -> int:
        """How many changes the next commit will hold, but for events."""
        return len(self._changes) + len(self._rows)

    def adopt(self, other: KernelState) -> None:
        """Become what another state is, which nobody may use any more; nothing is committed."""
        self.table.adopt(other.table)
        self.totals, self.queued, self.policy = other.totals, other.queued, other.policy
        self.rates, self.events, self._cells = other.rates, other.events, other._cells
        self.commands = other.commands
        self.unread = other.unread

    def load(self, state: RestoredState) -> None:
        """Fill a fresh state from records and streams, as data; nothing is committed.

        Raises:
            DecodeError: a record is not of its kind.
            RestoreError: records of a task that has no row.
        """
        finished(self.loading(state))

    def loading(self, state: RestoredState) -> Steps[None]:
        """The same in steps, a record each."""
        agents: list[str] = []
        processes: list[ProcessRecord] = []
        for key, data in state.records.items():
            if key[0] == "task":
                row = decode_record(key, data)
                if not isinstance(row, Tcb) or row.id != key[1]:
                    raise DecodeError(f"{path_of(key)}: holds another task", path=path_of(key))
                self._set(key, row)
                if row.proc is not None:
                    agents.append(row.id)
                yield
        for key, data in state.records.items():
            if key[0] != "task":
                self._check_owner(key)
                record = decode_record(key, data)
                self._set(key, record)
                if isinstance(record, ProcessRecord):
                    processes.append(record)
                yield
        for key, items in state.streams.items():
            self._check_stream(key)
            if key[0] != EVENTS:
                self._cells[key[1]].extend(key[0], items)
            yield
        if isinstance(state, PartlyRead) and state.unread is not None:
            for key, count in state.unread.counts():
                self._check_stream(key)
                self._cells[key[1]].hold(key[0], count)
                self.unread.add(key[1])
                yield
        self.events.load(self.events.fold, processes, state.streams.get(self.events.key, ()), agents)

    def _check_stream(self, key: Key) -> None:
        kind, task, generation = key
        self._check_owner(key)
        if kind not in STREAM_ITEMS:
            raise DecodeError(f"{path_of(key)}: unknown kind of stream {kind!r}", path=path_of(key))
        fold = self.events.fold
        in_use = fold.generation if kind == EVENTS else self._cells[task].generation(kind)
        if generation != in_use:
            raise DecodeError(f"{path_of(key)}: not the generation in use", path=path_of(key))

    def _check_owner(self, key: Key) -> None:
        kind, task, _ = key
        if (kind in WHOLE_KERNEL) != (not task):
            owner = f"task {task!r}" if task else "no task"
            raise DecodeError(f"{path_of(key)}: belongs to {owner}", path=path_of(key))
        if task and task not in self._cells:
            message = f"{path_of(key)}: belongs to a task that has no row"
            raise RestoreError(message, missing=[f"task {task!r}"])

    def _set(self, key: Key, record: Struct) -> None:
        kind, task, number = key
        if isinstance(record, Tcb):
            self.table.insert(record)
            self._cells.setdefault(task, Cell())
        elif isinstance(record, KernelTotals):
            self.totals = record
        elif isinstance(record, QueuedSignal):
            self.queued[number] = record
        elif isinstance(record, CommandOutcome):
            self.commands[number] = record
        elif isinstance(record, GovernancePolicy):
            self.policy = record
        elif isinstance(record, RateSlot):
            self.rates[number] = record
        elif isinstance(record, EventFold):
            self.events.fold = record
        else:
            self._cells[task].set(kind, number, record)
