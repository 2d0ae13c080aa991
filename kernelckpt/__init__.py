"""kernelckpt: a live, first-class snapshot of an asyncio agent kernel."""

from kernelckpt.abc import Clock, Commit, Hook, KernelHost, RuntimeHook, StorageBackend
from kernelckpt.checkpoint.hook import CheckpointHook
from kernelckpt.checkpoint.load import load
from kernelckpt.checkpoint.rekey import RekeyReport, rekey
from kernelckpt.checkpoint.restore_from import RestoreFrom
from kernelckpt.checkpoint.stats import HookStats
from kernelckpt.checkpoint.verify import VerifyReport, verify
from kernelckpt.codec.key_ring import KeyRing
from kernelckpt.errors import KernelCkptError, ToolError
from kernelckpt.kernel.calls.tool import Tool, tool
from kernelckpt.kernel.clock import SystemClock
from kernelckpt.kernel.context.compression import Compression
from kernelckpt.kernel.context.handle_table import HandleTable
from kernelckpt.kernel.context.plan_update import PlanUpdate
from kernelckpt.kernel.context.pressure import CompressionAction
from kernelckpt.kernel.context.render import RenderedContext
from kernelckpt.kernel.event import KernelEvent
from kernelckpt.kernel.governance.caller import Caller
from kernelckpt.kernel.milestone import MilestoneEvaluation
from kernelckpt.kernel.program import Program
from kernelckpt.kernel.redaction.redaction import Redaction
from kernelckpt.kernel.restore import RestoreReport
from kernelckpt.kernel.scheduler import Scheduler
from kernelckpt.kernel.signal_router import SignalRouter
from kernelckpt.kernel.table import TaskTable
from kernelckpt.kernel.turn.ending import Next
from kernelckpt.kernel.turn.turn import Turn
from kernelckpt.log import CheckpointInfo, LogOptions, Retention
from kernelckpt.model.approval import Approval, ApprovalStatus
from kernelckpt.model.budget import BudgetLedger, BudgetSlice, LoopPolicy, SchedulerBudget
from kernelckpt.model.capability import (
    CapabilityDescriptor,
    CapabilityFilter,
    CapabilityKind,
    CapabilityLease,
    CapabilityManifest,
)
from kernelckpt.model.context import CompressionNote, Context, Handoff, Plan, PlanStep
from kernelckpt.model.context_config import ContextConfig
from kernelckpt.model.effect import Effect, EffectPolicy, EffectStatus
from kernelckpt.model.governance import (
    AuditEntry,
    GovernancePolicy,
    GovernedCall,
    OneOf,
    PermissionAction,
    PermissionRule,
    Range,
    RateLimit,
    Required,
    ResourceQuota,
    SandboxProfile,
    ToolRateLimit,
)
from kernelckpt.model.handle import Handle
from kernelckpt.model.identity import AgentIdentity
from kernelckpt.model.message import Audio, Image, Message, Role, Text, ToolCall, ToolResultPart
from kernelckpt.model.milestone import (
    ExternalCommand,
    HarnessEval,
    HumanApproval,
    LlmJudge,
    MachineCheck,
    MilestoneCheckResult,
    MilestoneContract,
    MilestonePhase,
    RetryPolicy,
    RollbackPolicy,
)
from kernelckpt.model.process import AgentIsolation, AgentRole, ContextInheritance, ProcessState, ProcInfo
from kernelckpt.model.result import LoopResult, SubAgentResult
from kernelckpt.model.rollback import (
    FatalToolError,
    GovernanceRefusal,
    MalformedReplay,
    ProviderFailure,
    RollbackReason,
    TimedOut,
    UserInterrupt,
)
from kernelckpt.model.run_spec import AgentRunSpec
from kernelckpt.model.signal import Disposition, RuntimeSignal, SignalSource, SignalType, Urgency
from kernelckpt.model.snapshot import (
    ContextSnapshot,
    KernelSnapshot,
    ProcInfoSnapshot,
    ResultSnapshot,
    TcbSnapshot,
    restore_tcb,
)
from kernelckpt.model.task_state import StateKind, TaskState
from kernelckpt.model.tcb import Tcb
from kernelckpt.model.termination import TerminationReason
from kernelckpt.model.wait import WaitKind, WaitReason
from kernelckpt.storage import FileStorage, MemoryStorage, open_storage

__version__ = "0.1.0"

__all__ = [
    "AgentIdentity",
    "AgentIsolation",
    "AgentRole",
    "AgentRunSpec",
    "Approval",
    "ApprovalStatus",
    "Audio",
    "AuditEntry",
    "BudgetLedger",
    "BudgetSlice",
    "Caller",
    "CapabilityDescriptor",
    "CapabilityFilter",
    "CapabilityKind",
    "CapabilityLease",
    "CapabilityManifest",
    "CheckpointHook",
    "CheckpointInfo",
    "Clock",
    "Commit",
    "Compression",
    "CompressionAction",
    "CompressionNote",
    "Context",
    "ContextConfig",
    "ContextInheritance",
    "ContextSnapshot",
    "Disposition",
    "Effect",
    "EffectPolicy",
    "EffectStatus",
    "ExternalCommand",
    "FatalToolError",
    "FileStorage",
    "GovernancePolicy",
    "GovernanceRefusal",
    "GovernedCall",
    "Handle",
    "HandleTable",
    "Handoff",
    "HarnessEval",
    "Hook",
    "HookStats",
    "HumanApproval",
    "Image",
    "KernelCkptError",
    "KernelEvent",
    "KernelHost",
    "KernelSnapshot",
    "KeyRing",
    "LlmJudge",
    "LogOptions",
    "LoopPolicy",
    "LoopResult",
    "MachineCheck",
    "MalformedReplay",
    "MemoryStorage",
    "Message",
    "MilestoneCheckResult",
    "MilestoneContract",
    "MilestoneEvaluation",
    "MilestonePhase",
    "Next",
    "OneOf",
    "PermissionAction",
    "PermissionRule",
    "Plan",
    "PlanStep",
    "PlanUpdate",
    "ProcInfo",
    "ProcInfoSnapshot",
    "ProcessState",
    "Program",
    "ProviderFailure",
    "Range",
    "RateLimit",
    "Redaction",
    "RekeyReport",
    "RenderedContext",
    "Required",
    "ResourceQuota",
    "RestoreFrom",
    "RestoreReport",
    "ResultSnapshot",
    "Retention",
    "RetryPolicy",
    "Role",
    "RollbackPolicy",
    "RollbackReason",
    "RuntimeHook",
    "RuntimeSignal",
    "SandboxProfile",
    "Scheduler",
    "SchedulerBudget",
    "SignalRouter",
    "SignalSource",
    "SignalType",
    "StateKind",
    "StorageBackend",
    "SubAgentResult",
    "SystemClock",
    "TaskState",
    "TaskTable",
    "Tcb",
    "TcbSnapshot",
    "TerminationReason",
    "Text",
    "TimedOut",
    "Tool",
    "ToolCall",
    "ToolError",
    "ToolRateLimit",
    "ToolResultPart",
    "Turn",
    "Urgency",
    "UserInterrupt",
    "VerifyReport",
    "WaitKind",
    "WaitReason",
    "__version__",
    "load",
    "open_storage",
    "rekey",
    "restore_tcb",
    "tool",
    "verify",
]
