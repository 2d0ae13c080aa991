"""The process view: what a row says of a child, derived and never stored."""

from __future__ import annotations

from msgspec import Struct

from kernelckpt.model.process import AgentIsolation, AgentRole, ContextInheritance, ProcessState
from kernelckpt.model.result import SubAgentResult
from kernelckpt.model.tcb import Tcb


class AgentProcess(Struct, frozen=True, gc=False):
    """A child as its parent sees it.

    Attributes:
        agent_id: the task.
        parent_session_id: the session that spawned it.
        role: its role.
        isolation: its isolation label.
        context_inheritance: what it started with.
        state: running, joined or failed.
        permitted_capability_ids: what it may use.
        result: its whole result, once it has ended.
    """

    agent_id: str
    parent_session_id: str
    role: AgentRole
    isolation: AgentIsolation
    context_inheritance: ContextInheritance
    state: ProcessState
    permitted_capability_ids: tuple[str, ...]
    result: SubAgentResult | None

    @classmethod
    def from_tcb(cls, row: Tcb) -> AgentProcess | None:
        """The view of a row; None for a root."""
        if row.proc is None:
            return None
        return cls(
            row.id,
            row.proc.parent_session_id,
            row.proc.role,
            row.proc.isolation,
            row.proc.context_inheritance,
            ProcessState.of(row.state),
            row.caps,
            row.proc.result,
        )

    @property
    def result_termination(self) -> str | None:
        """The label of the result's termination; the true reason even where the state says only failed."""
        return self.result.result.termination.value if self.result else None
