"""Which part of the kernel an event belongs to."""

from __future__ import annotations

from enum import StrEnum


class EventCategory(StrEnum):
    """The part of the kernel."""

    SYSCALL = "syscall"
    SCHED = "sched"
    MM = "mm"
    PROC = "proc"
    IPC = "ipc"


class EventPrimitive(StrEnum):
    """The three primitives that the parts roll up to."""

    SYSCALL = "syscall"
    SCHED = "sched"
    MM = "mm"


_KINDS = {
    EventCategory.SYSCALL: ("tool_gated", "capability_changed"),
    EventCategory.MM: (
        "compressed",
        "page_out",
        "page_in",
        "page_in_requested",
        "renewed",
        "context_renewed",
        "large_result_spooled",
        "memory_written",
        "memory_queried",
        "memory_validation_failed",
    ),
    EventCategory.PROC: (
        "agent_process_changed",
        "agent_forgotten",
        "agent_spawned",
        "workflow_batch_spawned",
        "workflow_completed",
    ),
    EventCategory.IPC: ("signal_disposed",),
}
_CATEGORIES = {kind: category for category, kinds in _KINDS.items() for kind in kinds}

KERNEL_OBSERVATION_KINDS = (
    "compressed",
    "page_out",
    "page_in_requested",
    "renewed",
    "rollbacked",
    "capability_changed",
    "milestone_advanced",
    "milestone_blocked",
    "milestone_evidence",
    "checkpoint_taken",
    "agent_process_changed",
    "workflow_batch_spawned",
    "workflow_completed",
    "tool_gated",
    "signal_disposed",
    "budget_exceeded",
    "suspended",
    "resumed",
    "memory_written",
    "memory_queried",
    "memory_validation_failed",
)
"""What a kernel of this family observes."""


def category_of(kind: str) -> EventCategory:
    """The category of a kind of event; `sched` for those it does not know."""
    return _CATEGORIES.get(kind, EventCategory.SCHED)


def primitive_of(category: EventCategory) -> EventPrimitive:
    """The primitive of a category."""
    if category is EventCategory.SYSCALL:
        return EventPrimitive.SYSCALL
    return EventPrimitive.MM if category is EventCategory.MM else EventPrimitive.SCHED
