"""The state of a live kernel as a snapshot that shares nothing mutable with it, and the way back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from kernelckpt.abc import Key
from kernelckpt.codec.record import AUDIT, EVENTS, decode_item, encode_record, path_of, unshared
from kernelckpt.kernel.cell import Cell
from kernelckpt.kernel.events.event_log import rebuild_log
from kernelckpt.kernel.state import KernelState
from kernelckpt.kernel.view import ContextView
from kernelckpt.model.context import Context
from kernelckpt.model.context_snapshot import ContextSnapshot
from kernelckpt.model.inbox import InboxEntry
from kernelckpt.model.json_form import undecodable
from kernelckpt.model.kernel import KernelTotals, Value
from kernelckpt.model.os_snapshot import EventFold, ProcessRecord
from kernelckpt.model.row_snapshot import TcbSnapshot, restore_tcb
from kernelckpt.model.snapshot import KernelSnapshot
from kernelckpt.model.snapshot_check import check_whole
from kernelckpt.model.snapshot_part import BY_NUMBER, BY_TASK, BY_TASK_AND_NUMBER, OF_KERNEL
from kernelckpt.model.tcb import Tcb


class SnapshotRecords(Struct, frozen=True):
    """What a snapshot holds, as a host takes it to go on from it: a `RestoredState`.

    Attributes:
        records: every record, encoded.
        streams: every stream, as its encoded items in order.
    """

    records: dict[Key, bytes]
    streams: dict[Key, tuple[bytes, ...]]


def snapshot_of(state: KernelState) -> KernelSnapshot:
    """The whole state as of its last commit; the cost is that of looking at all of it.

    Raises:
        DecodeError: a message of a restored context is none; they are not decoded before somebody looks.
    """
    rows = state.table.all()
    cells = {row.id: state.cell(row.id) for row in rows}
    contexts = {task_id: _context_of(cell) for task_id, cell in cells.items()}
    specs = [cells[row.id].spec for row in rows if row.parent is None]
    roots = [contexts[row.id] for row in rows if row.parent is None]
    return KernelSnapshot(
        turn=state.totals.turn,
        total_tokens=state.totals.total_tokens,
        tasks=tuple(TcbSnapshot.from_tcb(_private(row)) for row in rows),
        context=roots[0] if roots else ContextSnapshot(),
        spec=unshared(specs[0]) if specs and specs[0] is not None else None,
        contexts=contexts,
        audits={
            task_id: _items_of(AUDIT, cell.stream(AUDIT))
            for task_id, cell in cells.items()
            if cell.stream(AUDIT)
        },
        events=_items_of(EVENTS, state.events.items),
        os_view=state.log.view(),
        **_parts(state),
    )


def records_of(snapshot: KernelSnapshot) -> SnapshotRecords:
    """What `KernelHost.restore` takes to go on from a snapshot.

    A snapshot of the original, which knows the context of the first root only, gives the others empty ones.

    Raises:
        DecodeError: parts of it contradict each other, or belong to nothing; the path names the place.
        InvalidValueError: it holds something that is no plain data.
    """
    check_whole(snapshot)
    _check_view(snapshot)
    whole = _completed(snapshot)
    records = {key: encode_record(record, path_of(key)) for key, record in _scan(whole)}
    streams = {
        key: tuple(encode_record(item, path_of(key)) for item in items)
        for key, items in _streams(whole)
        if items
    }
    return SnapshotRecords(records, streams)


def _private(row: Tcb) -> Tcb:
    """A row whose result's plain data is nobody else's."""
    result = row.result if row.proc is None or row.proc.result is None else row.proc.result.result
    if result is None:
        return row
    calls = result.final_message.tool_calls if result.final_message is not None else ()
    return unshared(row) if calls or result.output is not None else row


def _context_of(cell: Cell) -> ContextSnapshot:
    view = ContextView(cell)
    return ContextSnapshot.from_context(
        cell.context,
        system=tuple(view.system),
        knowledge=tuple(view.knowledge),
        history=tuple(view.history),
        signals=view.signals,
    )


def _items_of(kind: str, data: Iterable[bytes]) -> tuple[Any, ...]:
    return tuple(decode_item(kind, item, f"{kind}[{index}]") for index, item in enumerate(data))


def _parts(state: KernelState) -> dict[str, Any]:
    """The records that a snapshot keeps by task and by number, each in the field that its kind has."""
    parts: dict[str, Any] = {}
    for (kind, task, number), record in state.scan():
        if record is None or kind in {"task", "context"}:
            continue
        kept = record if isinstance(record, Value) else unshared(record)  # a value's bytes cannot change
        if kind in OF_KERNEL:
            parts[OF_KERNEL[kind]] = kept
        elif kind in BY_NUMBER:
            parts.setdefault(BY_NUMBER[kind], {})[number] = kept
        elif kind in BY_TASK:
            parts.setdefault(BY_TASK[kind], {})[task] = kept
        else:
            parts.setdefault(BY_TASK_AND_NUMBER[kind], {}).setdefault(task, {})[number] = kept
    return parts


def _check_view(snapshot: KernelSnapshot) -> None:
    """The view is told twice: it is what the event log amounts to."""
    fold = snapshot.fold or EventFold()
    agents = [row.id for row in snapshot.tasks if row.proc is not None]
    log = rebuild_log(fold, snapshot.processes.values(), snapshot.events, agents)
    if snapshot.os_view is not None and snapshot.os_view != log.view():
        raise undecodable("not what fold, processes and events amount to", "os_view")


def _completed(snapshot: KernelSnapshot) -> KernelSnapshot:
    """The snapshot with the fields filled in of which the original says the same in fewer words."""
    root = snapshot.first_root()
    contexts, specs, inbox = dict(snapshot.contexts), dict(snapshot.specs), dict(snapshot.inbox)
    if root is not None:
        contexts.setdefault(root, snapshot.context)
        if snapshot.spec is not None:
            specs.setdefault(root, snapshot.spec)
        if root not in inbox and snapshot.context.signals:
            lines = snapshot.context.signals
            inbox[root] = {number: InboxEntry(note=line) for number, line in enumerate(lines, 1)}
    return replace(
        snapshot,
        contexts=contexts,
        specs=specs,
        inbox=inbox,
        totals=snapshot.totals or _totals_of(snapshot),
        processes=snapshot.processes if snapshot.os_view is not None else _processes_of(snapshot),
    )


def _processes_of(snapshot: KernelSnapshot) -> dict[str, ProcessRecord]:
    told = {record.agent_id: record for record in snapshot.to_mapped_process_records()}
    return told | snapshot.processes


def _totals_of(snapshot: KernelSnapshot) -> KernelTotals:
    """As far as they are told; no working time has passed since a task began last."""
    return KernelTotals(
        snapshot.turn,
        snapshot.total_tokens,
        clock_ms=max((row.started_at_ms or 0 for row in snapshot.tasks), default=0),
        signals=max(snapshot.queued_signals, default=0),
    )


def _scan(snapshot: KernelSnapshot) -> Iterator[tuple[Key, Struct]]:
    for row in snapshot.tasks:
        yield ("task", row.id, 0), restore_tcb(row)
    for task, context in snapshot.contexts.items():
        record = context.context(f'contexts["{task}"]')
        if record != Context():
            yield ("context", task, 0), record
    for kind, name in OF_KERNEL.items():
        if getattr(snapshot, name) is not None:
            yield (kind, "", 0), getattr(snapshot, name)
    for kind, name in BY_NUMBER.items():
        yield from _numbered(kind, "", getattr(snapshot, name))
    for kind, name in BY_TASK.items():
        yield from (((kind, task, 0), record) for task, record in getattr(snapshot, name).items())
    for kind, name in BY_TASK_AND_NUMBER.items():
        for task, records in getattr(snapshot, name).items():
            yield from _numbered(kind, task, records)


def _numbered(kind: str, task: str, records: Mapping[int, Struct]) -> Iterator[tuple[Key, Struct]]:
    """In the order of their numbers, which is that in which they came."""
    return (((kind, task, number), records[number]) for number in sorted(records))


def _streams(snapshot: KernelSnapshot) -> Iterator[tuple[Key, Iterable[Struct]]]:
    for task, context in snapshot.contexts.items():
        yield ("system", task, context.system), context.system_messages
        yield ("knowledge", task, context.knowledge), context.knowledge_messages
        yield ("history", task, context.history), context.history_messages
    for task, entries in snapshot.audits.items():
        yield (AUDIT, task, 0), entries
    yield (EVENTS, "", snapshot.fold.generation if snapshot.fold else 0), snapshot.events
