"""The event log's records: everything that a session says happened, as one tagged union."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, TypeAlias

from msgspec import field

from kernelckpt.model.message import ContentPart, Message, ToolCall
from kernelckpt.model.os_event import (
    AgentProcessChanged,
    BudgetExceeded,
    CapabilityChanged,
    CheckpointTaken,
    Compressed,
    ContextRenewed,
    LargeResultSpooled,
    MemoryQueried,
    MemoryValidationFailed,
    MemoryWritten,
    MilestoneAdvanced,
    MilestoneBlocked,
    MilestoneEvidence,
    PageIn,
    PageOut,
    Resumed,
    Rollbacked,
    SignalDisposed,
    Suspended,
    ToolGated,
)
from kernelckpt.model.record import Record
from kernelckpt.model.scalar import U32, U64


class ToolErrorKind(StrEnum):
    """What went wrong with a tool call."""

    RECOVERABLE = "recoverable"
    FATAL = "fatal"
    GOVERNANCE_DENIED = "governance_denied"
    PROVIDER_FAILURE = "provider_failure"
    TIMEOUT = "timeout"
    USER_INTERRUPT = "user_interrupt"


class ToolResult(Record, frozen=True, gc=False):
    """What a tool answered, as an event carries it."""

    call_id: str
    output: str | tuple[ContentPart, ...]
    is_error: bool
    is_fatal: bool = field(default_factory=bool)
    error_kind: ToolErrorKind | None = None
    token_count: U32 | None = field(default_factory=lambda: None)


class MemoryRetrieval(Record, frozen=True, gc=False):
    """Which memories were chosen, and why."""

    selected_memory_ids: tuple[str, ...]
    selection_rationale: str


class _Event(Record, frozen=True, gc=False, tag_field="kind"):
    """An event of the session that is not one of the kernel's own."""


class RunStarted(_Event, frozen=True, gc=False, tag="run_started", omit_defaults=False):
    """A run began."""

    run_id: str
    goal: str
    criteria: tuple[str, ...] = ()
    agent_id: str | None = None
    system_prompt: str | None = None


class LlmCompleted(_Event, frozen=True, gc=False, tag="llm_completed"):
    """A model answered; `provider_replay` is plain data kept as it came."""

    turn: U64
    message: Message
    provider_replay: dict[str, Any] | None = None


class ToolRequested(_Event, frozen=True, gc=False, tag="tool_requested"):
    """The assistant asked for calls."""

    turn: U64
    calls: tuple[ToolCall, ...]


class ToolCompleted(_Event, frozen=True, gc=False, tag="tool_completed"):
    """Calls were answered."""

    turn: U64
    results: tuple[ToolResult, ...]


class RunTerminal(_Event, frozen=True, gc=False, tag="run_terminal"):
    """A run ended."""

    reason: str
    turns_used: U32
    total_tokens: U64


class ToolArgumentRepaired(_Event, frozen=True, gc=False, tag="tool_argument_repaired"):
    """A call's arguments were mended before it was made."""

    turn: U64
    tool: str
    original_arguments: Any
    repaired_arguments: Any


class PermissionRequested(_Event, frozen=True, gc=False, tag="permission_requested"):
    """A human was asked."""

    turn: U64
    tool: str
    arguments: Any
    reason: str | None = None


class PermissionResolved(_Event, frozen=True, gc=False, tag="permission_resolved"):
    """A human answered."""

    turn: U64
    approved: bool
    responder: str


class ToolDenied(_Event, frozen=True, gc=False, tag="tool_denied"):
    """A call was refused."""

    turn: U64
    call_id: str
    tool_name: str
    reason: str


class CleanupCompleted(_Event, frozen=True, gc=False, tag="cleanup_completed"):
    """What a run had taken was given back."""

    run_id: str
    freed_resources: tuple[str, ...]


class MemoryRetrievalResult(_Event, frozen=True, gc=False, tag="memory_retrieval_result"):
    """Memory answered."""

    retrieval: MemoryRetrieval


SessionEvent: TypeAlias = (
    RunStarted
    | LlmCompleted
    | ToolRequested
    | ToolCompleted
    | Compressed
    | PageOut
    | PageIn
    | LargeResultSpooled
    | RunTerminal
    | ToolArgumentRepaired
    | PermissionRequested
    | PermissionResolved
    | ToolDenied
    | CapabilityChanged
    | ContextRenewed
    | Suspended
    | Resumed
    | ToolGated
    | SignalDisposed
    | BudgetExceeded
    | CheckpointTaken
    | Rollbacked
    | CleanupCompleted
    | AgentProcessChanged
    | MilestoneAdvanced
    | MilestoneBlocked
    | MilestoneEvidence
    | MemoryWritten
    | MemoryQueried
    | MemoryValidationFailed
    | MemoryRetrievalResult
)
"""The 31 kinds, told apart by `kind`."""
