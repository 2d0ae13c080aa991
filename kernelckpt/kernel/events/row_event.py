"""The events of the log that a changed row stands for: the log cannot say anything but what the rows did."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from kernelckpt.model.event_category import EventCategory, EventPrimitive
from kernelckpt.model.os_event import AgentProcessChanged, BudgetExceeded, Resumed, Suspended
from kernelckpt.model.process import ProcessState
from kernelckpt.model.process_view import AgentProcess
from kernelckpt.model.suspend_reason import SuspendReason
from kernelckpt.model.task_state import StateKind
from kernelckpt.model.tcb import Tcb
from kernelckpt.model.termination import TerminationReason
from kernelckpt.model.wait import WaitKind

RowEvent: TypeAlias = AgentProcessChanged | BudgetExceeded | Resumed | Suspended

_REASONS = {
    WaitKind.APPROVAL: SuspendReason.ASK_USER.value,
    WaitKind.SUB_AGENT_JOIN: SuspendReason.SUB_AGENT_AWAIT.value,
}
_LIMITS = {
    TerminationReason.MAX_TURNS: "max_turns",
    TerminationReason.TOKEN_BUDGET: "token_budget",
    TerminationReason.TIMEOUT: "wall_time",
}


QUIET = frozenset({StateKind.READY, StateKind.RUNNING, StateKind.BLOCKED})
"""States between which a row may change without anything to say about it, as most changes of rows are."""


def row_events(
    turn: int,
    old: Tcb | None,
    new: Tcb,
    *,
    pending: Sequence[str] = (),
    approved: Sequence[str] = (),
    denied: Sequence[str] = (),
) -> Iterator[RowEvent]:
    """What happened when one row took the place of another.

    Args:
        turn: the kernel turn.
        old: the row before; None for a new one.
        new: the row now.
        pending: what a suspension waits for; for a join, the children it names.
        approved: what was approved to end a suspension.
        denied: what was denied.
    """
    was, now = old.state if old is not None else None, new.state
    if was == now:
        return
    if was is not None and was.kind is StateKind.SUSPENDED:
        yield Resumed(
            turn, tuple(approved), tuple(denied), category=EventCategory.SCHED, primitive=EventPrimitive.SCHED
        )
    if now.kind is StateKind.SUSPENDED and new.wait is not None:
        yield Suspended(
            turn,
            _REASONS.get(new.wait.kind, new.wait.label()),
            tuple(pending) or new.wait.children,
            category=EventCategory.SCHED,
            primitive=EventPrimitive.SCHED,
        )
    if now.reason in _LIMITS:
        yield BudgetExceeded(
            turn, _LIMITS[now.reason], category=EventCategory.SCHED, primitive=EventPrimitive.SCHED
        )
    changed = was is None or ProcessState.of(was) is not ProcessState.of(now)
    process = AgentProcess.from_tcb(new) if changed else None
    if process is not None:
        yield AgentProcessChanged.of(turn, process)
