"""Staged changes of a context become state: its record, its partitions, what was measured, the events."""

from __future__ import annotations

from kernelckpt.kernel.state import KernelState
from kernelckpt.kernel.turn.staged import Staged


def apply_context(state: KernelState, task_id: str, staged: Staged) -> None:
    """Apply what is staged for a context over what it is by now; the caller commits."""
    if not staged.only_adds:
        _apply_changes(state, task_id, staged)
    for partition, items in staged.messages.items():
        state.append(task_id, partition, items)


def _apply_changes(state: KernelState, task_id: str, staged: Staged) -> None:
    cell = state.cell(task_id)
    before = cell.context
    after = staged.context_after(before)
    if staged.history is not None and cell.stream("history"):
        state.remove(("history", task_id, before.history))
    if after is not before:
        state.put(("context", task_id, 0), after)
    if staged.history is not None:
        state.append(task_id, "history", staged.history)
    if staged.meter:
        state.put(("meter", task_id, 0), staged.meter_after(cell.meter))
    for number in sorted(staged.dropped_spools):
        state.remove(("spool", task_id, number))
    for event in staged.events:
        state.note(event(state.totals.turn))
