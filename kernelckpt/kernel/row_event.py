"""The events of the log that a changed row stands for: the log cannot say anything but what the rows did."""

from __future__ import annotations

from collections.abc import Iterator
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


def row_events(turn: int, old: Tcb | None, new: Tcb) -> Iterator[RowEvent]:
    """What happened when `new` took the place of `old` (None: it is a new row), at a kernel turn."""
    was, now = old.state if old is not None else None, new.state
    if was == now:
        return
    if was is not None and was.kind is StateKind.SUSPENDED:
        yield Resumed(turn, category=EventCategory.SCHED, primitive=EventPrimitive.SCHED)
    if now.kind is StateKind.SUSPENDED and new.wait is not None:
        yield Suspended(
            turn,
            _REASONS.get(new.wait.kind, new.wait.label()),
            new.wait.children,
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
