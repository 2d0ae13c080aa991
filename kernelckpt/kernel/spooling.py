"""Spooling: a tool result too large for the history lies beside it, and a preview in it."""

from __future__ import annotations

from kernelckpt.errors import UsageError
from kernelckpt.kernel.cell import Cell
from kernelckpt.kernel.context.spool import preview
from kernelckpt.kernel.state import KernelState
from kernelckpt.model.handle import SpooledResult
from kernelckpt.model.os_event import LargeResultSpooled


def spool(state: KernelState, task_id: str, result: SpooledResult) -> str:
    """What of a tool's output goes into the history: all of it, or a preview when it was put aside."""
    cell = state.cell(task_id)
    cut = preview(result.output, cell.context.config)
    if cut is None:
        return result.output
    state.put(("spool", task_id, cell.take_number()), result)
    event = LargeResultSpooled(
        state.totals.turn, result.call_id, result.tool, cut.total_bytes, cut.preview_bytes, result.call_id
    )
    state.note(event)
    return cut.text


def spooled_output(cell: Cell, task_id: str, call_id: str) -> str:
    """The whole output of a call, if it was put aside.

    Raises:
        UsageError: it was not.
    """
    for result in cell.spools.values():
        if result.call_id == call_id:
            return result.output
    message = f"no result of call {call_id!r} of task {task_id!r} was put aside"
    raise UsageError(message, hint="results up to the threshold lie in the history, whole")


def drop_spooled(state: KernelState, task_id: str, call_ids: set[str]) -> None:
    """Drop what was put aside for calls that have left the history."""
    for number, result in list(state.cell(task_id).spools.items()):
        if result.call_id in call_ids:
            state.remove(("spool", task_id, number))
