"""What a child is spawned with: its identity, and what it may use of what there is."""

from __future__ import annotations

from kernelckpt.model.capability import CapabilityManifest
from kernelckpt.model.process import AgentIsolation, AgentRole, ContextInheritance, ProcInfo, inheritance_of
from kernelckpt.model.record import Record
from kernelckpt.model.run_spec import AgentRunSpec


class IsolationManifest(Record, frozen=True, gc=False):
    """The terms on which a child runs.

    Attributes:
        agent_id: the child.
        parent_session_id: the session that spawns it.
        role: its role.
        isolation: its isolation label.
        context_inheritance: what it starts with; follows from the role.
        permitted_capability_ids: what it may use, in the order of the parent's manifest.
    """

    agent_id: str
    parent_session_id: str
    role: AgentRole
    isolation: AgentIsolation
    context_inheritance: ContextInheritance
    permitted_capability_ids: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, spec: AgentRunSpec, parent_session_id: str, capabilities: CapabilityManifest
    ) -> IsolationManifest:
        """The terms that a specification gives a child of this session."""
        return cls(
            spec.identity.agent_id,
            parent_session_id,
            spec.role,
            spec.isolation,
            inheritance_of(spec.role),
            capabilities.permitted_ids(spec.capability_filter),
        )

    def proc_info(self) -> ProcInfo:
        """The identity that the child's row carries."""
        return ProcInfo(self.parent_session_id, self.role, self.isolation, self.context_inheritance)
