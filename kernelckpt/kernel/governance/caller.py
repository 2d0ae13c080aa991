"""Who makes a call, as the stages and the veto closures see it."""

from __future__ import annotations

from msgspec import Struct

from kernelckpt.model.capability import CapabilityFilter, CapabilityManifest
from kernelckpt.model.identity import AgentIdentity
from kernelckpt.model.process import AgentIsolation, AgentRole


class Caller(Struct, frozen=True):
    """The task that makes a call.

    Attributes:
        identity: who it runs as.
        role: what it is for.
        isolation: where it should work.
        capabilities: what it has.
        filter: what of it it may use.
        task_id: its row.
        outer_filters: those of the tasks above it: what they may not use, it may not.
    """

    identity: AgentIdentity
    role: AgentRole
    isolation: AgentIsolation
    capabilities: CapabilityManifest
    filter: CapabilityFilter
    task_id: str
    outer_filters: tuple[CapabilityFilter, ...] = ()
