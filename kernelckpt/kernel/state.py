"""The kernel's state: all records, and the one way they change - put, remove, append, then commit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct
from msgspec.structs import replace

from kernelckpt.abc import Append, Change, Commit, Key, Put, Remove, RestoredState
from kernelckpt.codec.record import STREAM_ITEMS, decode_record, path_of
from kernelckpt.errors import DecodeError, RestoreError, UnknownTaskError
from kernelckpt.kernel.cell import Cell
from kernelckpt.kernel.event_log import EventLog
from kernelckpt.kernel.row_event import row_events
from kernelckpt.kernel.table import TaskTable
from kernelckpt.model.governance import GovernancePolicy, RateSlot
from kernelckpt.model.kernel import KernelTotals
from kernelckpt.model.os_event import AgentProcessChanged
from kernelckpt.model.process_view import AgentProcess
from kernelckpt.model.signal import QueuedSignal
from kernelckpt.model.tcb import Tcb

TOTALS: Key = ("kernel", "", 0)
GOVERNANCE: Key = ("governance", "", 0)


class KernelState:
    """Rows, cells, totals and queued signals.

    Every change is made by `put`, `remove` or `append` and becomes a commit by `commit`, all without an
    await between: whoever looks at an await sees committed state only.
    """

    def __init__(self, on_commit: Callable[[Commit], None]) -> None:
        """`on_commit` is called synchronously with each commit."""
        self.table = TaskTable()
        self.totals = KernelTotals()
        self.queued: dict[int, QueuedSignal] = {}
        self.policy: GovernancePolicy | None = None
        self.rates: dict[int, RateSlot] = {}
        self.number = 0
        self.log = EventLog()
        self._cells: dict[str, Cell] = {}
        self._changes: list[Change] = []
        self._on_commit = on_commit

    def row(self, task_id: str) -> Tcb:
        """The row of a task.

        Raises:
            UnknownTaskError: there is none.
        """
        row = self.table.get(task_id)
        if row is None:
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
        """Set a record."""
        self._set(key, record)
        self._changes.append(Put(key, record))

    def put_row(self, row: Tcb) -> None:
        """Set a task's row, and note in the event log what that means."""
        for event in row_events(self.totals.turn, self.table.get(row.id), row):
            self.log.append(event)
        self.put(("task", row.id, 0), row)

    def remove(self, key: Key) -> None:
        """Remove a record or a stream."""
        kind, task, number = key
        if kind == "task":
            self.table.remove(task)
            self.log.forget(task)
            self._cells.pop(task, None)
        elif kind == "signal":
            self.queued.pop(number, None)
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
        start = len(cell.stream(kind))
        change = Append((kind, task_id, cell.generation(kind)), start, tuple(items))
        cell.extend(kind, start, change.items)
        self._changes.append(change)

    def rewrite(self, task_id: str, kind: str, items: Sequence[bytes]) -> None:
        """Begin the next generation of a partition with these encoded messages."""
        cell = self._cells[task_id]
        generation = cell.generation(kind)
        self.remove((kind, task_id, generation))
        self.put(("context", task_id, 0), replace(cell.context, **{kind: generation + 1}))
        self.append(task_id, kind, items)

    def forget(self, task_id: str) -> None:
        """Remove a task with everything that belongs to it."""
        for key, _ in list(self._cells[task_id].scan(task_id)):
            self._changes.append(Remove(key))
        self.remove(("task", task_id, 0))

    def commit(self, *, urgent: bool = True, ended_turn: bool = False, waits: bool = False) -> int:
        """Make what was changed since the last commit one commit; its number."""
        changes = tuple(self._changes)
        self._changes.clear()
        self.number += 1
        self._on_commit(Commit(self.number, self.totals.turn, changes, urgent, ended_turn, waits))
        return self.number

    def scan(self) -> Iterator[tuple[Key, Struct | None]]:
        """All records, one at a time, valid while commits go on; None stands for a stream."""
        yield TOTALS, self.totals
        for number, queued in list(self.queued.items()):
            yield ("signal", "", number), queued
        if self.policy is not None:
            yield GOVERNANCE, self.policy
        for number, slot in list(self.rates.items()):
            yield ("rate", "", number), slot
        for row in self.table.scan():
            yield ("task", row.id, 0), row
            cell = self._cells.get(row.id)
            if cell is not None:
                yield from cell.scan(row.id)

    def load(self, state: RestoredState) -> None:
        """Fill a fresh state from records and streams, as data; nothing is committed.

        Raises:
            DecodeError: a record is not of its kind.
            RestoreError: records of a task that has no row.
        """
        rows = [key for key in state.records if key[0] == "task"]
        for key in rows:
            record = decode_record(key, state.records[key])
            if not isinstance(record, Tcb) or record.id != key[1]:
                raise DecodeError(f"{path_of(key)}: holds another task", path=path_of(key))
            self._set(key, record)
            self._recall(record)
        for key, data in state.records.items():
            if key[0] != "task":
                self._owned(key)
                self._set(key, decode_record(key, data))
        for key, items in state.streams.items():
            self._load_stream(key, items)

    def _recall(self, row: Tcb) -> None:
        process = AgentProcess.from_tcb(row)
        if process is not None:
            self.log.append(AgentProcessChanged.of(row.changed_turn, process))

    def _load_stream(self, key: Key, items: Sequence[bytes]) -> None:
        kind, task, generation = key
        self._owned(key)
        if kind not in STREAM_ITEMS:
            raise DecodeError(f"{path_of(key)}: unknown kind of stream {kind!r}", path=path_of(key))
        cell = self._cells[task]
        if generation != cell.generation(kind):
            raise DecodeError(f"{path_of(key)}: not the generation in use", path=path_of(key))
        cell.extend(kind, 0, tuple(items))

    def _owned(self, key: Key) -> None:
        if key[1] and key[1] not in self._cells:
            message = f"{path_of(key)}: belongs to a task that has no row"
            raise RestoreError(message, missing=[f"task {key[1]!r}"])

    def _set(self, key: Key, record: Struct) -> None:
        kind, task, number = key
        if isinstance(record, Tcb):
            self.table.insert(record)
            self._cells.setdefault(task, Cell())
        elif isinstance(record, KernelTotals):
            self.totals = record
        elif isinstance(record, QueuedSignal):
            self.queued[number] = record
        elif isinstance(record, GovernancePolicy):
            self.policy = record
        elif isinstance(record, RateSlot):
            self.rates[number] = record
        else:
            self._cells[task].set(kind, number, record)
