from . import errors
from .abc import Clock, CommandHost, Commit, Hook, KernelHost, RuntimeHook, StorageBackend
from .checkpoint.copy_run import CopyReport, copy_run
from .checkpoint.hook import CheckpointHook
from .checkpoint.load import load
from .checkpoint.post import post_command
from .checkpoint.rekey import RekeyReport, rekey
from .checkpoint.restore_from import RestoreFrom
from .checkpoint.stats import HookStats
from .checkpoint.verify import VerifyReport, verify
from .codec.key_ring import KeyRing
from .errors import KernelCkptError, ToolError
from .kernel.calls.retry import Retry
from .kernel.calls.tool import NotDone, Tool, tool
from .kernel.clock import SystemClock
from .kernel.context.compression import Compression
from .kernel.context.handle_table import HandleTable
from .kernel.context.plan_update import PlanUpdate
from .kernel.context.pressure import CompressionAction
from .kernel.context.render import RenderedContext
from .kernel.event import KernelEvent
from .kernel.governance.caller import Caller
from .kernel.milestone import MilestoneEvaluation
from .kernel.program import Program
from .kernel.redaction.redaction import Redaction
from .kernel.restore import RestoreReport
from .kernel.scheduler import Scheduler
from .kernel.signal_router import SignalRouter
from .kernel.straight.run import Run
from .kernel.straight.straight_line import straight_line
from .kernel.table import TaskTable
from .kernel.turn.ending import Next
from .kernel.turn.turn import Turn
from .log import CheckpointInfo, LogOptions, Retention
from .model.approval import Approval, ApprovalStatus
from .model.budget import BudgetLedger, BudgetSlice, LoopPolicy, SchedulerBudget
from .model.capability import (
    CapabilityDescriptor,
    CapabilityFilter,
    CapabilityKind,
    CapabilityLease,
    CapabilityManifest,
    ToolSchema,
)
from .model.charge import Charge
from .model.command import Approve, Cancel, CommandOutcome, Deny, SendMessage, SendSignal
from .model.context import CompressionNote, Context, Handoff, Plan, PlanStep
from .model.context_config import ContextConfig
from .model.effect import Effect, EffectPolicy, EffectStatus
from .model.governance import (
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
from .model.handle import Handle
from .model.identity import AgentIdentity
from .model.message import Audio, Image, Message, Role, Text, ToolCall, ToolResultPart
from .model.milestone import (
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
from .model.process import AgentIsolation, AgentRole, ContextInheritance, ProcessState, ProcInfo
from .model.result import LoopResult, SubAgentResult
from .model.rollback import (
    FatalToolError,
    GovernanceRefusal,
    MalformedReplay,
    ProviderFailure,
    RollbackReason,
    TimedOut,
    UserInterrupt,
)
from .model.run_spec import AgentRunSpec
from .model.signal import Disposition, RuntimeSignal, SignalSource, SignalType, Urgency
from .model.snapshot import (
    ContextSnapshot,
    KernelSnapshot,
    ProcInfoSnapshot,
    ResultSnapshot,
    TcbSnapshot,
    restore_tcb,
)
from .model.task_state import StateKind, TaskState
from .model.tcb import Tcb
from .model.termination import TerminationReason
from .model.wait import WaitKind, WaitReason
from .storage import FileStorage, MemoryStorage, SqliteStorage, open_storage

__version__: str

__all__ = [
    "AgentIdentity",
    "AgentIsolation",
    "AgentRole",
    "AgentRunSpec",
    "Approval",
    "ApprovalStatus",
    "Approve",
    "Audio",
    "AuditEntry",
    "BudgetLedger",
    "BudgetSlice",
    "Caller",
    "Cancel",
    "CapabilityDescriptor",
    "CapabilityFilter",
    "CapabilityKind",
    "CapabilityLease",
    "CapabilityManifest",
    "Charge",
    "CheckpointHook",
    "CheckpointInfo",
    "Clock",
    "CommandHost",
    "CommandOutcome",
    "Commit",
    "Compression",
    "CompressionAction",
    "CompressionNote",
    "Context",
    "ContextConfig",
    "ContextInheritance",
    "ContextSnapshot",
    "CopyReport",
    "Deny",
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
    "NotDone",
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
    "Retry",
    "RetryPolicy",
    "Role",
    "RollbackPolicy",
    "RollbackReason",
    "Run",
    "RuntimeHook",
    "RuntimeSignal",
    "SandboxProfile",
    "Scheduler",
    "SchedulerBudget",
    "SendMessage",
    "SendSignal",
    "SignalRouter",
    "SignalSource",
    "SignalType",
    "SqliteStorage",
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
    "ToolSchema",
    "Turn",
    "Urgency",
    "UserInterrupt",
    "VerifyReport",
    "WaitKind",
    "WaitReason",
    "copy_run",
    "errors",
    "load",
    "open_storage",
    "post_command",
    "rekey",
    "restore_tcb",
    "straight_line",
    "tool",
    "verify",
]
