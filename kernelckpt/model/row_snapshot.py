"""Rows as a snapshot shows them: flat, in the original's fields, with what the original loses added."""

from __future__ import annotations

from typing import Any

from msgspec import field

from kernelckpt.model.budget import BudgetLedger, SchedulerBudget
from kernelckpt.model.json_form import place_of, undecodable
from kernelckpt.model.message import Message
from kernelckpt.model.process import AgentIsolation, AgentRole, ContextInheritance, ProcInfo
from kernelckpt.model.record import Record
from kernelckpt.model.result import LoopResult, SubAgentResult
from kernelckpt.model.scalar import U32, U64
from kernelckpt.model.task_state import StateKind, TaskState
from kernelckpt.model.tcb import Tcb
from kernelckpt.model.termination import TerminationReason
from kernelckpt.model.wait import WaitKind, WaitReason


def null() -> None:
    """The default of an optional field that is written as null; plain defaults are not written."""


class ResultSnapshot(Record, frozen=True, gc=False):
    """A child's whole result; a snapshot of the original has the termination only.

    Attributes:
        termination: why it ended.
        agent_id: whose result it is; None for the row's own id.
        final_message: as in `LoopResult`, like all that follow.
    """

    termination: TerminationReason
    agent_id: str | None = None
    final_message: Message | None = None
    turns_used: U32 = 0
    total_tokens_used: U64 = 0
    loop_continue: bool | None = None
    classify_branch: str | None = None
    tournament_winner: str | None = None
    error: str = ""
    output: Any = None

    @classmethod
    def of(cls, whole: SubAgentResult) -> ResultSnapshot:
        """All of a result."""
        facts = {name: getattr(whole.result, name) for name in LoopResult.__struct_fields__}
        return cls(agent_id=whole.agent_id, **facts)

    def restore(self, task_id: str) -> SubAgentResult:
        """The result of the row of that id."""
        facts = {name: getattr(self, name) for name in LoopResult.__struct_fields__}
        return SubAgentResult(task_id if self.agent_id is None else self.agent_id, LoopResult(**facts))


class ProcInfoSnapshot(Record, frozen=True, gc=False):
    """A child's identity; the attributes are those of `ProcInfo`."""

    parent_session_id: str
    role: AgentRole
    isolation: AgentIsolation
    context_inheritance: ContextInheritance
    result: ResultSnapshot | None = field(default_factory=null)

    @classmethod
    def of(cls, proc: ProcInfo) -> ProcInfoSnapshot:
        """All of an identity."""
        result = None if proc.result is None else ResultSnapshot.of(proc.result)
        return cls(proc.parent_session_id, proc.role, proc.isolation, proc.context_inheritance, result)

    def restore(self, task_id: str) -> ProcInfo:
        """The identity of the row of that id."""
        result = None if self.result is None else self.result.restore(task_id)
        return ProcInfo(self.parent_session_id, self.role, self.isolation, self.context_inheritance, result)


class TcbSnapshot(Record, frozen=True, gc=False, kw_only=True):
    """A row.

    Attributes:
        turns: turns committed; with `total_tokens`, `started_at_ms` and `cost_micros` the use of the budget.
        max_tokens: with the other `max_` fields the limits of the budget.
        wait_reason: the label of the wait.
        wait_children: the tasks waited for, exactly when the wait is a join.
        wait_note: the note of the wait.
        cost_micros: the first field that the original has not; all after it are named as in `Tcb` and its
            budget.
    """

    id: str
    parent: str | None = field(default_factory=null)
    state: TaskState
    turns: U32
    total_tokens: U64
    started_at_ms: U64 | None = field(default_factory=null)
    max_tokens: U32
    max_turns: U32
    max_total_tokens: U64
    max_wall_ms: U64 | None = field(default_factory=null)
    wait_reason: WaitKind | None = field(default_factory=null)
    wait_children: tuple[str, ...] | None = field(default_factory=null)
    deferred_until: U64 | None = field(default_factory=null)
    caps: tuple[str, ...]
    proc: ProcInfoSnapshot | None = field(default_factory=null)
    cost_micros: U64 = 0
    wait_note: str = ""
    program: str = ""
    version: U32 = 1
    goal: str = ""
    attempt: U32 = 0
    changed_turn: U64 = 0
    spawned: U32 = 0
    joined: tuple[str, ...] = ()
    result: LoopResult | None = None
    max_cost_micros: U64 | None = None
    deadline_ms: U64 | None = None
    deadline_after_ms: U64 | None = None
    charge_downtime: bool = False
    include_children: bool = False
    began_at_ms: U64 | None = None
    children_tokens: U64 = 0
    children_cost_micros: U64 = 0
    failed: U32 = 0
    failure: str = ""

    def __post_init__(self) -> None:
        if (self.wait_reason is WaitKind.SUB_AGENT_JOIN) != (self.wait_children is not None):
            raise ValueError(f"wait_reason {self.wait_reason!r} with wait_children {self.wait_children!r}")
        if self.wait_note and self.wait_reason is None:
            raise ValueError("a wait_note without a wait_reason")

    @classmethod
    def from_tcb(cls, row: Tcb) -> TcbSnapshot:
        """All of a row."""
        ledger, limits, wait = row.budget, row.budget.limits, row.wait
        joins = wait is not None and wait.kind is WaitKind.SUB_AGENT_JOIN
        return cls(
            **{name: getattr(ledger, name) for name in _USED},
            **{name: getattr(limits, name) for name in SchedulerBudget.__struct_fields__},
            wait_reason=None if wait is None else wait.kind,
            wait_children=wait.children if wait is not None and joins else None,
            wait_note="" if wait is None else wait.note,
            proc=None if row.proc is None else ProcInfoSnapshot.of(row.proc),
            **{name: getattr(row, name) for name in _SAME},
        )

    def wait(self) -> WaitReason | None:
        """What the row waits for."""
        if self.wait_reason is None:
            return None
        return WaitReason(self.wait_reason, self.wait_children or (), self.wait_note)

    def budget(self) -> BudgetLedger:
        """The row's limits and what it has used."""
        limits = {name: getattr(self, name) for name in SchedulerBudget.__struct_fields__}
        return BudgetLedger(SchedulerBudget(**limits), **{name: getattr(self, name) for name in _USED})


_USED = tuple(name for name in BudgetLedger.__struct_fields__ if name != "limits")
_SAME = tuple(name for name in Tcb.__struct_fields__ if name not in {"budget", "wait", "proc"})


def restore_tcb(row: TcbSnapshot) -> Tcb:
    """The row that the snapshot was made from, equal to it in every field."""
    return Tcb(
        budget=row.budget(),
        wait=row.wait(),
        proc=None if row.proc is None else row.proc.restore(row.id),
        **{name: getattr(row, name) for name in _SAME},
    )


_DEBUG_NAMES = {reason.value.title().replace("_", ""): reason.value for reason in TerminationReason}


def write_row(form: dict[str, Any]) -> None:
    """Give a row's form the original's spelling of its state."""
    state = form["state"]
    kind = state["kind"]
    form["state"] = {kind: state["reason"]} if kind == StateKind.DONE else kind


def read_row(form: Any, path: str) -> None:
    """Undo `write_row`, and take the original's misspelt terminations (`MaxTurns`) for what they mean.

    Raises:
        DecodeError: the state is none.
    """
    if not isinstance(form, dict) or "state" not in form:
        return
    form["state"] = _state_of(form["state"], place_of(path, "state"))
    proc = form.get("proc")
    result = proc.get("result") if isinstance(proc, dict) else None
    if isinstance(result, dict) and isinstance(result.get("termination"), str):
        result["termination"] = _DEBUG_NAMES.get(result["termination"], result["termination"])


def _state_of(form: Any, path: str) -> TaskState:
    try:
        if isinstance(form, str):
            return TaskState(StateKind(form))
        if isinstance(form, dict) and list(form) == [StateKind.DONE]:
            return TaskState.done(TerminationReason(form[StateKind.DONE]))
    except ValueError:
        raise undecodable("it is no state", path) from None
    raise undecodable("it is no state", path)
