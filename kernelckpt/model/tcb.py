"""The Task Control Block: one row of the table."""

from __future__ import annotations

from kernelckpt.model.budget import BudgetLedger, SchedulerBudget
from kernelckpt.model.process import ProcInfo
from kernelckpt.model.record import Record
from kernelckpt.model.result import LoopResult
from kernelckpt.model.scalar import U32, U64
from kernelckpt.model.task_state import StateKind, TaskState
from kernelckpt.model.wait import WaitKind, WaitReason


class Tcb(Record, frozen=True, gc=False):
    """One task. A change puts a new row in its place.

    Attributes:
        id: the task.
        parent: the task that spawned it; None for a root.
        state: where it stands.
        budget: limits and use.
        wait: what it waits for.
        caps: ids of the capabilities it may use.
        proc: its identity as a child; None for a root.
        deferred_until: wall time in ms before which it does not run; with a wait: when the wait times out.
        program: the name of its program.
        version: the program's version that wrote its state.
        goal: what it is to do.
        attempt: how often a turn was begun since the last one that was committed; 0 after that.
        changed_turn: the kernel turn of its last process change.
        spawned: children it has spawned so far.
        joined: the children of its last join, whose results its next turn can read.
        result: how it ended; None before.
        failed: how often its turn has raised since one was committed, if its program is retried.
        failure: what it raised then.
    """

    id: str
    parent: str | None = None
    state: TaskState = TaskState.READY
    budget: BudgetLedger = BudgetLedger()
    wait: WaitReason | None = None
    caps: tuple[str, ...] = ()
    proc: ProcInfo | None = None
    deferred_until: U64 | None = None
    program: str = ""
    version: U32 = 1
    goal: str = ""
    attempt: U32 = 0
    changed_turn: U64 = 0
    spawned: U32 = 0
    joined: tuple[str, ...] = ()
    result: LoopResult | None = None
    failed: U32 = 0
    failure: str = ""

    @classmethod
    def root(cls, task_id: str, budget: SchedulerBudget) -> Tcb:
        """A fresh root row: ready, nothing used."""
        return cls(task_id, budget=BudgetLedger(budget))

    @classmethod
    def spawned_child(cls, task_id: str, parent: str, proc: ProcInfo, budget: SchedulerBudget) -> Tcb:
        """A fresh child row: ready, nothing used, under its true parent."""
        return cls(task_id, parent, budget=BudgetLedger(budget), proc=proc)

    def is_runnable_at(self, now_ms: int | None) -> bool:
        """Whether it is ready and not deferred beyond now; a deferred row needs a clock to run."""
        if self.state.kind is not StateKind.READY:
            return False
        if self.deferred_until is None:
            return True
        return now_ms is not None and now_ms >= self.deferred_until

    def is_at_work(self) -> bool:
        """Whether it is in a turn, or its tool calls are made."""
        kind, wait = self.state.kind, self.wait
        return kind is StateKind.RUNNING or (
            kind is StateKind.BLOCKED and wait is not None and wait.kind is WaitKind.TOOL
        )

    def is_runnable(self) -> bool:
        """Whether it is ready and not deferred at all."""
        return self.is_runnable_at(None)
