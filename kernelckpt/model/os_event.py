"""Events of the kernel itself: what it scheduled, gated, moved in memory, spawned and routed."""

from __future__ import annotations

from typing import Self, TypeVar

from msgspec import field
from msgspec.structs import replace

from kernelckpt.model.event_category import EventCategory, EventPrimitive, category_of, primitive_of
from kernelckpt.model.process_view import AgentProcess
from kernelckpt.model.record import Record
from kernelckpt.model.scalar import U32, U64

_R = TypeVar("_R", bound=Record)


class OsEvent(Record, frozen=True, gc=False, kw_only=True, tag_field="kind"):
    """What they share: a category and its primitive, where the writer gave them."""

    category: EventCategory | None = None
    primitive: EventPrimitive | None = None


class Compressed(OsEvent, frozen=True, gc=False, tag="compressed"):
    """A range of messages was archived."""

    turn: U64
    archived_seq_range: tuple[U64, U64]
    action: str | None = None
    summary: str | None = None
    summary_tokens: U32 | None = None
    archive_ref: str | None = None
    preserved_refs: tuple[str, ...] = ()


class PageOut(OsEvent, frozen=True, gc=False, tag="page_out"):
    """Messages left the context."""

    turn: U64
    action: str | None = None
    summary: str | None = None
    tier_hint: str | None = None
    message_count: U32 = field(default_factory=int)


class PageIn(OsEvent, frozen=True, gc=False, tag="page_in"):
    """Entries came into the context."""

    turn: U64
    entry_count: U32


class LargeResultSpooled(OsEvent, frozen=True, gc=False, tag="large_result_spooled"):
    """A large tool result was put aside, but for a preview; sizes in bytes."""

    turn: U64
    call_id: str
    tool: str
    original_size: U64
    preview_size: U64
    spool_ref: str | None = None


class CapabilityChanged(OsEvent, frozen=True, gc=False, tag="capability_changed"):
    """Capabilities came or went."""

    turn: U64
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    change_kind: str | None = None
    capability_id: str | None = None
    version: str | None = None
    mounted_by: str | None = None
    mount_reason: str | None = None


class ContextRenewed(OsEvent, frozen=True, gc=False, tag="context_renewed"):
    """The context was begun anew with what was carried over."""

    turn: U64
    sprint: U32
    handoff_ref: str


class Suspended(OsEvent, frozen=True, gc=False, tag="suspended"):
    """A run waits for the outside."""

    turn: U64
    reason: str
    pending_calls: tuple[str, ...] = ()


class Resumed(OsEvent, frozen=True, gc=False, tag="resumed"):
    """A run goes on."""

    turn: U64
    approved: tuple[str, ...] = ()
    denied: tuple[str, ...] = ()


class ToolGated(OsEvent, frozen=True, gc=False, tag="tool_gated"):
    """A call waits for a human."""

    turn: U64
    call_id: str
    tool: str
    reason: str


class SignalDisposed(OsEvent, frozen=True, gc=False, tag="signal_disposed"):
    """The router decided about a signal."""

    turn: U64
    signal_id: str
    disposition: str
    queue_depth: U32


class BudgetExceeded(OsEvent, frozen=True, gc=False, tag="budget_exceeded"):
    """A limit was reached; `budget` is its label."""

    turn: U64
    budget: str


class CheckpointTaken(OsEvent, frozen=True, gc=False, tag="checkpoint_taken"):
    """A point to roll back to was set."""

    turn: U64
    history_len: U32


class Rollbacked(OsEvent, frozen=True, gc=False, tag="rollbacked"):
    """A turn was undone."""

    turn: U64
    checkpoint_history_len: U32
    reason: str | None = None


class AgentProcessChanged(OsEvent, frozen=True, gc=False, tag="agent_process_changed"):
    """A child was spawned, or ended. Two-word labels are run together here: `readonly`, `systemonly`."""

    turn: U64
    agent_id: str
    parent_session_id: str
    role: str
    isolation: str
    context_inheritance: str
    state: str
    permitted_capability_ids: tuple[str, ...] = ()
    result_termination: str | None = None

    @classmethod
    def of(cls, turn: int, process: AgentProcess) -> Self:
        """The event of a child that came to be as it is, at a kernel turn; with its category."""
        return cls(
            turn,
            process.agent_id,
            process.parent_session_id,
            _run_together(process.role),
            _run_together(process.isolation),
            _run_together(process.context_inheritance),
            process.state.value,
            process.permitted_capability_ids,
            process.result_termination,
            category=EventCategory.PROC,
            primitive=EventPrimitive.SCHED,
        )


class AgentForgotten(OsEvent, frozen=True, gc=False, tag="agent_forgotten"):
    """A child's row was dropped; kept in the log so that a replay drops its record too. No session event."""

    agent_id: str


class MilestoneAdvanced(OsEvent, frozen=True, gc=False, tag="milestone_advanced"):
    """A phase was passed."""

    turn: U64
    phase_id: str
    capabilities_unlocked: tuple[str, ...] = field(default_factory=lambda: ())


class MilestoneBlocked(OsEvent, frozen=True, gc=False, tag="milestone_blocked"):
    """A phase was not passed."""

    turn: U64
    phase_id: str
    reason: str


class MilestoneEvidence(OsEvent, frozen=True, gc=False, tag="milestone_evidence"):
    """What was shown for a phase."""

    turn: U64
    phase_id: str
    evidence: tuple[str, ...] = ()


class MemoryWritten(OsEvent, frozen=True, gc=False, tag="memory_written"):
    """Something was remembered."""

    turn: U64
    memory_id: str
    memory_kind: str
    size_bytes: U64


class MemoryQueried(OsEvent, frozen=True, gc=False, tag="memory_queried"):
    """Memory was asked."""

    turn: U64
    query_context: str
    requested_k: U32
    requires_async_response: bool


class MemoryValidationFailed(OsEvent, frozen=True, gc=False, tag="memory_validation_failed"):
    """Something could not be remembered."""

    turn: U64
    memory_id: str
    error: str


def kind_of(event: Record) -> str:
    """The label of an event's kind."""
    return str(event.__struct_config__.tag)


def event_category(event: Record) -> EventCategory:
    """The category an event carries, else that of its kind."""
    return getattr(event, "category", None) or category_of(kind_of(event))


def event_primitive(event: Record) -> EventPrimitive:
    """The primitive an event carries, else that of its category."""
    return getattr(event, "primitive", None) or primitive_of(event_category(event))


def categorized(event: _R) -> _R:
    """The event with its category and primitive, if it can carry them and does not."""
    if not isinstance(event, OsEvent) or event.category is not None:
        return event
    category = event_category(event)
    return replace(event, category=category, primitive=primitive_of(category))


def _run_together(label: str) -> str:
    return label.replace("_", "")
