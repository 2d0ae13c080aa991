"""Who a task is to its parent, and the process view derived from a row."""

from __future__ import annotations

from enum import StrEnum

from kernelckpt.model.record import Record
from kernelckpt.model.result import SubAgentResult
from kernelckpt.model.task_state import StateKind, TaskState
from kernelckpt.model.termination import TerminationReason


class AgentRole(StrEnum):
    """What an agent is for. A label shown to governance; nothing is enforced by it."""

    EXPLORE = "explore"
    PLAN = "plan"
    IMPLEMENT = "implement"
    VERIFY = "verify"
    CUSTOM = "custom"


class AgentIsolation(StrEnum):
    """Where an agent should work. A label: the kernel sandboxes nothing."""

    SHARED = "shared"
    READ_ONLY = "read_only"
    WORKTREE = "worktree"
    REMOTE = "remote"


class ContextInheritance(StrEnum):
    """How much of its parent's context a child starts with."""

    NONE = "none"
    SYSTEM_ONLY = "system_only"
    FULL = "full"


_INHERITANCE = {
    AgentRole.EXPLORE: ContextInheritance.SYSTEM_ONLY,
    AgentRole.VERIFY: ContextInheritance.SYSTEM_ONLY,
    AgentRole.PLAN: ContextInheritance.FULL,
    AgentRole.IMPLEMENT: ContextInheritance.FULL,
    AgentRole.CUSTOM: ContextInheritance.NONE,
}


def inheritance_of(role: AgentRole) -> ContextInheritance:
    """What the role of a child implies for its context."""
    return _INHERITANCE[role]


class ProcInfo(Record, frozen=True, gc=False):
    """The identity of a child; a root task has none.

    Attributes:
        parent_session_id: the session (here: the task) that spawned it.
        role: its role.
        isolation: its isolation label.
        context_inheritance: what it starts with.
        result: its whole result, once it has ended.
    """

    parent_session_id: str
    role: AgentRole
    isolation: AgentIsolation = AgentIsolation.SHARED
    context_inheritance: ContextInheritance = ContextInheritance.NONE
    result: SubAgentResult | None = None


class ProcessState(StrEnum):
    """The process view's vocabulary of states."""

    RUNNING = "running"
    JOINED = "joined"
    FAILED = "failed"

    def task_state(self) -> TaskState:
        """The row state a process state stands for; the real reason of a failure is not in it."""
        if self is ProcessState.RUNNING:
            return TaskState.RUNNING
        reason = TerminationReason.COMPLETED if self is ProcessState.JOINED else TerminationReason.ERROR
        return TaskState.done(reason)

    @classmethod
    def of(cls, state: TaskState) -> ProcessState:
        """The process state of a row state."""
        if state.kind is not StateKind.DONE:
            return cls.RUNNING
        return cls.JOINED if state.reason is TerminationReason.COMPLETED else cls.FAILED
