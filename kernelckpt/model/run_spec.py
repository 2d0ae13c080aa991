"""What a run is to be: who runs, as what, for which goal, with which capabilities."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from msgspec import field

from kernelckpt.model.capability import CapabilityFilter
from kernelckpt.model.identity import AgentIdentity
from kernelckpt.model.milestone import MilestoneContract
from kernelckpt.model.process import AgentIsolation, AgentRole
from kernelckpt.model.record import Record


class AgentRunSpec(Record, frozen=True, gc=False):
    """The specification of an agent's run.

    Attributes:
        identity: who runs.
        role: what for; a label shown to governance.
        isolation: where; a label shown to governance.
        goal: what is to be done.
        verification_contract_id: the contract that the result is checked against.
        capability_filter: which capabilities it may use.
        milestones: the phases it must pass.
        metadata: plain data.
    """

    identity: AgentIdentity
    role: AgentRole
    isolation: AgentIsolation
    goal: str
    verification_contract_id: str | None = None
    capability_filter: CapabilityFilter = field(default_factory=CapabilityFilter)
    milestones: MilestoneContract | None = None
    metadata: Any = None

    @classmethod
    def new(cls, identity: AgentIdentity, role: AgentRole, goal: str) -> AgentRunSpec:
        """A shared run without a filter, without milestones."""
        return cls(identity, role, AgentIsolation.SHARED, goal)


class Lane(StrEnum):
    """What kind of work a task is."""

    ORCHESTRATE = "orchestrate"
    IMPLEMENT = "implement"
    RETRIEVE = "retrieve"
    VERIFY = "verify"


class RuntimeTask(Record, frozen=True, gc=False, omit_defaults=False):
    """What a run is started with.

    Attributes:
        goal: what is to be done.
        criteria: when it is done.
        metadata: plain data.
        lane: what kind of work it is.
    """

    goal: str
    criteria: tuple[str, ...]
    metadata: Any = None
    lane: Lane = Lane.IMPLEMENT
