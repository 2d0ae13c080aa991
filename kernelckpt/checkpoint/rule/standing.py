"""Where a task stands: it has a result exactly when it has ended, and then nothing is open any more."""

from __future__ import annotations

from collections.abc import Iterator

from kernelckpt.checkpoint.decoded_run import DecodedRun
from kernelckpt.kernel.core import result_of
from kernelckpt.model.approval import Approval
from kernelckpt.model.effect import Effect
from kernelckpt.model.request import OpenRequest
from kernelckpt.model.tcb import Tcb
from kernelckpt.model.termination import OUT_OF_BUDGET


def standing_faults(run: DecodedRun, row: Tcb) -> Iterator[str]:
    """What does not fit a task's state."""
    result = result_of(row)
    if not row.state.is_terminal():
        if result is not None:
            yield "it has a result, but has not ended"
        return
    if result is None:
        yield "it has ended without a result"
    elif result.termination is not row.state.reason:
        yield f"it ended by {row.state.reason}, but its result says {result.termination.value}"
    if row.wait is not None or row.deferred_until is not None:
        yield "it has ended, but waits"
    if _is_anything_open(run, row):
        yield "it has ended, but has open calls or questions"


def _is_anything_open(run: DecodedRun, row: Tcb) -> bool:
    """Whether there are calls or questions; one that can be given more may have kept its recorded steps."""
    calls = row.state.reason not in OUT_OF_BUDGET and run.records("effect", row.id, Effect)
    questions = run.records("approval", row.id, Approval).values()
    is_open = bool(calls or run.records("request", row.id, OpenRequest))
    return is_open or any(item.pending for item in questions)
