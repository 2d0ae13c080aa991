"""Which texts of the records are identities, and which bytes are encoded data."""

from __future__ import annotations

from typing import Any

from kernelckpt.model.approval import Approval
from kernelckpt.model.capability import CapabilityDescriptor, CapabilityFilter, ToolSchema
from kernelckpt.model.command import CommandOutcome
from kernelckpt.model.effect import Effect
from kernelckpt.model.event import MemoryRetrieval
from kernelckpt.model.governance import (
    AuditEntry,
    GovernancePolicy,
    OneOf,
    PermissionRule,
    Range,
    RateSlot,
    Required,
    SandboxProfile,
    ToolRateLimit,
)
from kernelckpt.model.handle import SpooledResult
from kernelckpt.model.identity import AgentIdentity
from kernelckpt.model.inbox import SentKey
from kernelckpt.model.kernel import KernelTotals, Value
from kernelckpt.model.message import ToolCall, ToolResultPart
from kernelckpt.model.milestone import ExternalCommand, MilestonePhase, MilestoneProgress
from kernelckpt.model.os_event import (
    AgentForgotten,
    AgentProcessChanged,
    CapabilityChanged,
    LargeResultSpooled,
    MemoryValidationFailed,
    MemoryWritten,
    MilestoneAdvanced,
    MilestoneBlocked,
    MilestoneEvidence,
    Resumed,
    SignalDisposed,
    Suspended,
    ToolGated,
)
from kernelckpt.model.process import ProcInfo
from kernelckpt.model.result import SubAgentResult
from kernelckpt.model.run_spec import AgentRunSpec
from kernelckpt.model.signal import QueuedSignal, RuntimeSignal
from kernelckpt.model.tcb import Tcb
from kernelckpt.model.wait import WaitReason

IDENTITIES: dict[type[Any], frozenset[str]] = {
    type_: frozenset(fields.split())
    for type_, fields in {
        # rows
        Tcb: "id parent caps program joined",
        WaitReason: "children",
        ProcInfo: "parent_session_id",
        SubAgentResult: "agent_id",
        # what users and programs hand in
        AgentRunSpec: "verification_contract_id",
        AgentIdentity: "agent_id session_id parent_session_id",
        CapabilityFilter: "allowed_ids",
        CapabilityDescriptor: "id version",
        ToolSchema: "name",
        MilestonePhase: "id",
        ExternalCommand: "cmd",  # another command would be run
        ToolCall: "id name",
        ToolResultPart: "call_id",
        RuntimeSignal: "id dedupe_key",
        SentKey: "key",
        Approval: "task_id key",
        # what the kernel keeps of it
        KernelTotals: "attention",
        QueuedSignal: "task_id",
        CommandOutcome: "id error",
        Effect: "name digest call_id error_kind key token",
        SpooledResult: "call_id tool",
        MilestoneProgress: "phase_id",
        AuditEntry: "tool call_id stage",
        RateSlot: "name",
        # a policy of which a word is changed allows something else
        GovernancePolicy: "vetoed_tools vetoes",
        PermissionRule: "tool_pattern",
        ToolRateLimit: "tool",
        Required: "tool path",
        OneOf: "tool path values",
        Range: "tool path",
        SandboxProfile: "allow_fs_read allow_fs_write",
        # the event log
        AgentForgotten: "agent_id",
        AgentProcessChanged: "agent_id parent_session_id permitted_capability_ids",
        CapabilityChanged: "added removed capability_id",
        LargeResultSpooled: "call_id tool spool_ref",
        MemoryRetrieval: "selected_memory_ids",
        MemoryValidationFailed: "memory_id",
        MemoryWritten: "memory_id memory_kind",
        MilestoneAdvanced: "phase_id capabilities_unlocked",
        MilestoneBlocked: "phase_id",
        MilestoneEvidence: "phase_id",
        Resumed: "approved denied",
        SignalDisposed: "signal_id disposition",
        Suspended: "pending_calls",
        ToolGated: "call_id tool",
    }.items()
}
"""Fields that say who or what is meant: they are refused where they come in, and never rewritten."""

ENCODED: dict[type[Any], frozenset[str]] = {
    Value: frozenset({"data"}),
    Effect: frozenset({"arguments", "outcome"}),
    MilestoneProgress: frozenset({"output"}),
}
"""Fields whose bytes are a value in msgpack."""
