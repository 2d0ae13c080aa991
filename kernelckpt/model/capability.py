"""What an agent may use: capabilities, the manifest that lists them, the filter that narrows them."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from msgspec.structs import replace

from kernelckpt.model.record import Record
from kernelckpt.model.scalar import U32


class CapabilityKind(StrEnum):
    """What sort of thing a capability is."""

    TOOL = "tool"
    SKILL = "skill"
    MEMORY = "memory"
    KNOWLEDGE = "knowledge"
    MCP_SERVER = "mcp_server"
    COMMAND = "command"
    AGENT = "agent"

    @property
    def display(self) -> str:
        """The label in reports of changes, as `McpServer`."""
        return "".join(word.capitalize() for word in self.value.split("_"))


class ToolSchema(Record, frozen=True, gc=False):
    """What a model is told of a tool; `parameters` is a JSON schema."""

    name: str
    description: str
    parameters: Any


class CapabilityLease(Record, frozen=True, gc=False):
    """How long a capability is there: until its task has committed so many turns."""

    expires_at_turn: U32


class CapabilityDescriptor(Record, frozen=True, gc=False):
    """One capability.

    Attributes:
        id: its id within its kind.
        kind: what it is.
        description: what it does.
        tool_schema: for tools, what a model is told.
        skill: for skills, plain data on it.
        metadata: plain data.
        lease: until when it is there; None for always.
        is_pinned: whether it stays when others give way.
        version: its version.
        mounted_by: who made it available, as `milestone:<id>`.
        mount_reason: why.
    """

    id: str
    kind: CapabilityKind
    description: str
    tool_schema: ToolSchema | None = None
    skill: Any = None
    metadata: Any = None
    lease: CapabilityLease | None = None
    is_pinned: bool = False
    version: str | None = None
    mounted_by: str | None = None
    mount_reason: str | None = None

    @property
    def display(self) -> str:
        """The entry in reports of changes, as `Tool:read_file`."""
        return f"{self.kind.display}:{self.id}"


class CapabilityFilter(Record, frozen=True, gc=False):
    """Which capabilities pass; an empty list lets all of them pass."""

    allowed_kinds: tuple[CapabilityKind, ...] = ()
    allowed_ids: tuple[str, ...] = ()

    def allows(self, kind: CapabilityKind, capability_id: str) -> bool:
        """Whether both the kind and the id pass."""
        kind_passes = not self.allowed_kinds or kind in self.allowed_kinds
        return kind_passes and (not self.allowed_ids or capability_id in self.allowed_ids)


class CapabilityManifest(Record, frozen=True, gc=False):
    """The capabilities there are, in the order in which they came."""

    entries: tuple[CapabilityDescriptor, ...] = ()

    def upsert(self, *capabilities: CapabilityDescriptor) -> CapabilityManifest:
        """The manifest with these, each in the place of the one of its kind and id, or last."""
        return replace(self, entries=_merged((*self.entries, *capabilities)))

    def without(self, kind: CapabilityKind, capability_id: str) -> CapabilityManifest:
        """The manifest without the entry of this kind and id."""
        return replace(
            self,
            entries=tuple(e for e in self.entries if (e.kind, e.id) != (kind, capability_id)),
        )

    def passing(self, chosen: CapabilityFilter) -> CapabilityManifest:
        """The manifest of the entries that pass."""
        return replace(self, entries=tuple(e for e in self.entries if chosen.allows(e.kind, e.id)))

    def expired(self, turn: int) -> tuple[CapabilityDescriptor, ...]:
        """The entries whose lease has run out when so many turns are committed."""
        return tuple(e for e in self.entries if e.lease is not None and turn >= e.lease.expires_at_turn)

    def permitted_ids(self, chosen: CapabilityFilter) -> tuple[str, ...]:
        """The ids of the entries that pass, in order."""
        return tuple(entry.id for entry in self.entries if chosen.allows(entry.kind, entry.id))


def _merged(entries: Iterable[CapabilityDescriptor]) -> tuple[CapabilityDescriptor, ...]:
    return tuple({(entry.kind, entry.id): entry for entry in entries}.values())
