"""Spooling: a tool result too large for the history lies beside it, and a preview in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from kernelckpt.errors import UsageError
from kernelckpt.kernel.cell import Cell
from kernelckpt.kernel.context.groups import results_of
from kernelckpt.kernel.context.spool import marker_of, preview
from kernelckpt.kernel.state import KernelState
from kernelckpt.model.handle import SpooledResult
from kernelckpt.model.message import Message
from kernelckpt.model.os_event import LargeResultSpooled


def spool(state: KernelState, task_id: str, result: SpooledResult) -> str:
    """What of a tool's output goes into the history: all of it, or a preview when it was put aside."""
    cell = state.cell(task_id)
    result = state.redactor.record(result)  # as a whole: a cut could go through a secret
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
    """The whole output of a call, if it was put aside; of several calls of one id, that of the newest.

    Raises:
        UsageError: it was not.
    """
    for number in sorted(cell.spools, reverse=True):
        if cell.spools[number].call_id == call_id:
            return cell.spools[number].output
    message = f"no result of call {call_id!r} of task {task_id!r} was put aside"
    raise UsageError(message, hint="results up to the threshold lie in the history, whole")


def unneeded_spools(cell: Cell, history: Iterable[Message]) -> frozenset[int]:
    """The numbers of what was put aside for results of which a history holds no preview any more.

    Call ids may repeat. Histories lose their beginning only, so that the previews left are those of the
    newest.
    """
    previews = Counter(
        part.call_id for message in history for part in results_of(message) if marker_of(part.output)
    )
    unneeded = set()
    for number in sorted(cell.spools, reverse=True):
        call_id = cell.spools[number].call_id
        if not previews[call_id]:
            unneeded.add(number)
        else:
            previews[call_id] -= 1
    return frozenset(unneeded)
