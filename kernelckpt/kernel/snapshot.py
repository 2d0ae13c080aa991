"""The state of a live kernel as a snapshot that shares nothing mutable with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from msgspec import Struct

from kernelckpt.codec.record import unshared
from kernelckpt.kernel.cell import Cell
from kernelckpt.kernel.core import result_of
from kernelckpt.kernel.state import KernelState
from kernelckpt.kernel.view import ContextView
from kernelckpt.model.context_snapshot import ContextSnapshot
from kernelckpt.model.snapshot import KernelSnapshot
from kernelckpt.model.tcb import Tcb

_R = TypeVar("_R", bound=Struct)


def snapshot_of(state: KernelState) -> KernelSnapshot:
    """The whole state as of its last commit; the cost is that of looking at all of it.

    Raises:
        DecodeError: a message of a restored context is none; they are not decoded before somebody looks.
    """
    rows = state.table.all()
    cells = {row.id: state.cell(row.id) for row in rows}
    contexts = {task_id: _context_of(cell) for task_id, cell in cells.items()}
    first_root = next((row.id for row in rows if row.parent is None), None)
    return KernelSnapshot.from_state(
        state.totals.turn,
        state.totals.total_tokens,
        [_private(row) for row in rows],
        contexts.get(first_root, ContextSnapshot()) if first_root is not None else ContextSnapshot(),
        contexts=contexts,
        states={task_id: cell.state for task_id, cell in cells.items() if cell.state is not None},
        inputs={task_id: cell.input for task_id, cell in cells.items() if cell.input is not None},
        inbox={task_id: _copies(cell.inbox) for task_id, cell in cells.items() if cell.inbox},
        approvals={task_id: _copies(cell.approvals) for task_id, cell in cells.items() if cell.approvals},
        effects={task_id: _copies(cell.effects) for task_id, cell in cells.items() if cell.effects},
        queued_signals=_copies(state.queued),
        totals=state.totals,
    )


def _context_of(cell: Cell) -> ContextSnapshot:
    view = ContextView(cell)
    return ContextSnapshot.from_context(
        cell.context, system=tuple(view.system), knowledge=tuple(view.knowledge), history=tuple(view.history)
    )


def _private(row: Tcb) -> Tcb:
    """A row whose result's plain data is nobody else's."""
    result = result_of(row)
    return row if result is None or result.output is None else unshared(row)


def _copies(records: Mapping[int, _R]) -> tuple[_R, ...]:
    return tuple(unshared(records[number]) for number in sorted(records))
