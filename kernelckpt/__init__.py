"""kernelckpt: a live, first-class snapshot of an asyncio agent kernel."""

from kernelckpt.abc import Clock, Commit, Hook, KernelHost, RuntimeHook, StorageBackend
from kernelckpt.checkpoint.hook import CheckpointHook
from kernelckpt.checkpoint.load import load
from kernelckpt.checkpoint.stats import HookStats
from kernelckpt.checkpoint.verify import VerifyReport, verify
from kernelckpt.errors import KernelCkptError
from kernelckpt.kernel.clock import SystemClock
from kernelckpt.kernel.ending import Next
from kernelckpt.kernel.event import KernelEvent
from kernelckpt.kernel.program import Program
from kernelckpt.kernel.restore import RestoreReport
from kernelckpt.kernel.scheduler import Scheduler
from kernelckpt.kernel.signal_router import SignalRouter
from kernelckpt.kernel.table import TaskTable
from kernelckpt.kernel.tool import Tool, tool
from kernelckpt.kernel.turn import Turn
from kernelckpt.log import CheckpointInfo, LogOptions, Retention
from kernelckpt.model.approval import Approval, ApprovalStatus
from kernelckpt.model.budget import BudgetLedger, BudgetSlice, LoopPolicy, SchedulerBudget
from kernelckpt.model.context import Context, Plan, PlanStep
from kernelckpt.model.effect import Effect, EffectPolicy, EffectStatus
from kernelckpt.model.message import Audio, Image, Message, Role, Text, ToolCall, ToolResultPart
from kernelckpt.model.process import AgentIsolation, AgentRole, ContextInheritance, ProcessState, ProcInfo
from kernelckpt.model.result import LoopResult, SubAgentResult
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
    "AgentIsolation",
    "AgentRole",
    "Approval",
    "ApprovalStatus",
    "Audio",
    "BudgetLedger",
    "BudgetSlice",
    "CheckpointHook",
    "CheckpointInfo",
    "Clock",
    "Commit",
    "Context",
    "ContextInheritance",
    "ContextSnapshot",
    "Disposition",
    "Effect",
    "EffectPolicy",
    "EffectStatus",
    "FileStorage",
    "Hook",
    "HookStats",
    "Image",
    "KernelCkptError",
    "KernelEvent",
    "KernelHost",
    "KernelSnapshot",
    "LogOptions",
    "LoopPolicy",
    "LoopResult",
    "MemoryStorage",
    "Message",
    "Next",
    "Plan",
    "PlanStep",
    "ProcInfo",
    "ProcInfoSnapshot",
    "ProcessState",
    "Program",
    "RestoreReport",
    "ResultSnapshot",
    "Retention",
    "Role",
    "RuntimeHook",
    "RuntimeSignal",
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
    "Tool",
    "ToolCall",
    "ToolResultPart",
    "Turn",
    "Urgency",
    "VerifyReport",
    "WaitKind",
    "WaitReason",
    "__version__",
    "load",
    "open_storage",
    "restore_tcb",
    "tool",
    "verify",
]
