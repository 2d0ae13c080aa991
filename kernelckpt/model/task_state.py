"""Where a task stands between two commits."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from kernelckpt.model.record import Record
from kernelckpt.model.termination import TerminationReason


class StateKind(StrEnum):
    """The label of a state."""

    READY = "ready"
    RUNNING = "running"
    BLOCKED = "blocked"
    SUSPENDED = "suspended"
    DONE = "done"


class TaskState(Record, frozen=True, gc=False):
    """Ready, running, blocked (a continuation is in flight), suspended (the outside decides), or done.

    Attributes:
        kind: which of them.
        reason: why it ended; present exactly when it is done.
    """

    kind: StateKind
    reason: TerminationReason | None = None

    READY: ClassVar[TaskState]
    RUNNING: ClassVar[TaskState]
    BLOCKED: ClassVar[TaskState]
    SUSPENDED: ClassVar[TaskState]

    def __post_init__(self) -> None:
        if (self.kind is StateKind.DONE) != (self.reason is not None):
            raise ValueError(f"state {self.kind.value!r} with termination reason {self.reason!r}")

    @classmethod
    def done(cls, reason: TerminationReason) -> TaskState:
        """The terminal state with its reason."""
        return cls(StateKind.DONE, reason)

    def label(self) -> str:
        """The snake_case label; "done" whatever the reason."""
        return self.kind.value

    def is_terminal(self) -> bool:
        """Whether the task has ended."""
        return self.kind is StateKind.DONE


TaskState.READY = TaskState(StateKind.READY)
TaskState.RUNNING = TaskState(StateKind.RUNNING)
TaskState.BLOCKED = TaskState(StateKind.BLOCKED)
TaskState.SUSPENDED = TaskState(StateKind.SUSPENDED)
