"""What to do next: pure decisions over a row or the table."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from kernelckpt.errors import InvalidValueError
from kernelckpt.kernel.table import TaskTable
from kernelckpt.model.budget import BudgetSlice, termination_of
from kernelckpt.model.signal import Urgency
from kernelckpt.model.tcb import Tcb
from kernelckpt.model.termination import TerminationReason
from kernelckpt.model.wait import WaitReason


class Idle(Struct, frozen=True):
    """No row can run now."""


class Run(Struct, frozen=True):
    """This task runs next, within these limits."""

    task: str
    slice: BudgetSlice


class Suspend(Struct, frozen=True):
    """This task must wait for the outside."""

    task: str
    reason: WaitReason


class Terminate(Struct, frozen=True):
    """This task has reached a limit."""

    task: str
    reason: TerminationReason


ScheduleDecision: TypeAlias = Idle | Run | Suspend | Terminate


def schedule(task: Tcb, now_ms: int | None = None) -> Run | Terminate:
    """Whether the task's budget lets it run; its state, wait and deferral are not looked at."""
    label = task.budget.exceeded(now_ms)
    if label is not None:
        return Terminate(task.id, termination_of(label))
    return Run(task.id, BudgetSlice.of(task.budget.limits))


def schedule_multi(
    table: TaskTable, now_ms: int | None = None, highest_signal_urgency: Urgency | int | None = None
) -> Idle | Run | Terminate:
    """The next step of a table: end the first live row over its budget, else run the first runnable row.

    Args:
        table: the rows. Rows that have ended are not looked at.
        now_ms: the clock; without it no deferred row runs and no wall budget ends.
        highest_signal_urgency: of the signals at hand, as `Urgency` or its rank 0 to 3. From high on, a
            runnable row that waits for a signal comes first.

    Raises:
        InvalidValueError: the urgency is neither.
    """
    exceeded = table.first_exceeded(now_ms)
    if exceeded is not None:
        return schedule(exceeded, now_ms)
    chosen = None
    if _rank_of(highest_signal_urgency) >= Urgency.HIGH.rank:
        chosen = table.first_runnable(now_ms, waiting_for_signal=True)
    chosen = chosen or table.first_runnable(now_ms)
    return Idle() if chosen is None else Run(chosen.id, BudgetSlice.of(chosen.budget.limits))


def _rank_of(urgency: Urgency | int | None) -> int:
    if urgency is None:
        return Urgency.LOW.rank
    if isinstance(urgency, Urgency):
        return urgency.rank
    if type(urgency) is not int or not Urgency.LOW.rank <= urgency <= Urgency.CRITICAL.rank:
        path = "highest_signal_urgency"
        raise InvalidValueError(f"{path}: {urgency!r}", path=path, hint="give an Urgency, or its rank 0 to 3")
    return urgency
