"""The kernel without its event loop: what runs next, how tasks wake, end and are forgotten.

Everything here is synchronous: between two awaits of the scheduler a whole transition happens or none.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from msgspec.structs import replace

from kernelckpt.abc import Clock, Commit
from kernelckpt.codec.record import unshared
from kernelckpt.errors import UsageError
from kernelckpt.kernel.cell import Cell
from kernelckpt.kernel.event import EventBus
from kernelckpt.kernel.program import Programs
from kernelckpt.kernel.signal_router import SignalRouter
from kernelckpt.kernel.state import TOTALS, KernelState
from kernelckpt.kernel.tool import Tools
from kernelckpt.model.budget import SchedulerBudget
from kernelckpt.model.effect import EffectStatus
from kernelckpt.model.inbox import InboxEntry
from kernelckpt.model.message import Message
from kernelckpt.model.result import LoopResult, SubAgentResult
from kernelckpt.model.signal import RuntimeSignal
from kernelckpt.model.task_state import StateKind, TaskState
from kernelckpt.model.tcb import Tcb
from kernelckpt.model.termination import TerminationReason
from kernelckpt.model.wait import WaitKind, WaitReason

MESSAGE = "message"
"""The note of an external wait that a message ends."""

_EXACT_JOIN = 64
"""Up to so many children, a joining row always names exactly those that have not ended; beyond, it is
rewritten when half of those it names have. Else ten thousand children would cost their square."""


class Core:
    """State, queue of ready tasks, router; the verbs that several kinds of commit share."""

    def __init__(
        self,
        programs: Programs,
        tools: Tools,
        clock: Clock,
        *,
        budget: SchedulerBudget,
        keep_done: int | None,
        on_commit: Callable[[Commit], None],
    ) -> None:
        """`on_commit` is called synchronously with each commit."""
        self.programs = programs
        self.tools = tools
        self.clock = clock
        self.budget = budget
        self.events = EventBus()
        self.state = KernelState(on_commit)
        self.router = SignalRouter()
        self.ready: deque[str] = deque()
        self.on_ready: Callable[[], None] = _nothing
        self.on_timer: Callable[[], None] = _nothing
        self.on_end: Callable[[str], None] = _nothing
        self.on_ask: Callable[[], None] = _nothing
        self.is_stopping: Callable[[], bool] = _never
        self.active: set[str] = set()
        self.asked: dict[str, int] = {}
        self.signal_waiters: dict[str, None] = {}
        self.live_roots: dict[str, None] = {}
        self._queued: set[str] = set()
        self._keep_done = keep_done
        self._done_roots: dict[str, None] = {}
        self._holders: dict[str, str] = {}
        self._joining: dict[str, set[str]] = {}
        self._clock_start = (clock.monotonic(), clock.wall_ms())

    def work_ms(self) -> int:
        """The working clock: wall time of the run's first start, plus time worked since."""
        started, base = self._clock_start
        return base + int((self.clock.monotonic() - started) * 1000)

    def set_work_ms(self, base: int) -> None:
        """Let the working clock go on from a value."""
        self._clock_start = (self.clock.monotonic(), base)

    def touch_totals(self, *, turns: int = 0, tokens: int = 0, cost_micros: int = 0) -> None:
        """Add to the kernel's totals and note the working clock."""
        old = self.state.totals
        totals = replace(
            old,
            turn=old.turn + turns,
            total_tokens=old.total_tokens + tokens,
            cost_micros=old.cost_micros + cost_micros,
            clock_ms=self.work_ms(),
        )
        self.state.put(TOTALS, totals)

    def tell(self, kind: str, task_id: str, turn: int, **data: Any) -> None:
        """Emit an event of the commit that is being made."""
        self.events.emit(kind, task_id, turn, commit=self.state.number + 1, **data)

    # what runs next

    def push(self, task_id: str) -> None:
        """Put a task at the end of the queue, once; one that is at work looks again by itself."""
        if task_id not in self._queued and task_id not in self.active:
            self._queued.add(task_id)
            self.ready.append(task_id)
            self.on_ready()

    def pop(self) -> str | None:
        """The task that has waited longest, or None."""
        while self.ready:
            task_id = self.ready.popleft()
            self._queued.discard(task_id)
            row = self.state.table.get(task_id)
            if row is not None and self.can_run(row):
                return task_id
        return None

    def can_run(self, row: Tcb) -> bool:
        """Whether the kernel itself has something to do for it now: a turn, or its tool calls."""
        if row.state.kind is StateKind.BLOCKED:
            return row.wait is not None and row.wait.kind is WaitKind.TOOL
        return row.is_runnable_at(self.clock.wall_ms())

    def wake(self, row: Tcb) -> None:
        """End a task's wait: to its tool calls if some are open, else to its next turn."""
        self._stop_waiting(row.id)
        calls = any(effect.call_id for effect in self.state.cell(row.id).effects.values())
        state = TaskState.BLOCKED if calls else TaskState.READY
        wait = WaitReason.tool() if calls else None
        self.state.put_row(replace(row, state=state, wait=wait, deferred_until=None))
        self.push(row.id)

    def join(self, row: Tcb, children: Iterable[str]) -> bool:
        """Suspend a task until these have ended; False when they have already, and nothing was done."""
        pending = [child for child in children if not self.state.row(child).state.is_terminal()]
        if not pending:
            return False
        self._joining[row.id] = set(pending)
        wait = WaitReason.sub_agent_join(pending)
        self.state.put_row(replace(row, state=TaskState.SUSPENDED, wait=wait, deferred_until=None))
        return True

    def _stop_waiting(self, task_id: str) -> None:
        self._joining.pop(task_id, None)
        self.signal_waiters.pop(task_id, None)

    def waits_for(self, row: Tcb, kind: WaitKind, note: str = "") -> bool:
        """Whether the task is suspended on such a wait."""
        wait = row.wait
        return (
            row.state.kind is StateKind.SUSPENDED
            and wait is not None
            and (wait.kind, wait.note) == (kind, note)
        )

    def deliver(self, task_id: str, signal: RuntimeSignal) -> None:
        """Put a signal into a task's inbox."""
        self.state.put(("inbox", task_id, self.state.cell(task_id).take_number()), InboxEntry(signal=signal))

    def take_queued(self, task_id: str, *, unaddressed: bool) -> None:
        """Move queued signals to a task's inbox in the router's order: its own, and if asked nobody's."""
        if not self.state.queued:
            return
        for number, signal in self.router.queued:
            wanted = self.state.queued[number].task_id
            if wanted == task_id or (unaddressed and wanted is None):
                self.router.discard(number)
                self.state.remove(("signal", "", number))
                self.deliver(task_id, signal)

    # endings

    def end(
        self, row: Tcb, reason: TerminationReason, *, text: str = "", error: str = "", output: Any = None
    ) -> None:
        """Make a task done, give its result to its parent, and drop what only a live task needs."""
        message = unshared(Message.assistant(text)) if text else None
        budget = row.budget
        result = LoopResult(reason, message, budget.turns, budget.total_tokens, error=error, output=output)
        done = replace(row, state=TaskState.done(reason), wait=None, deferred_until=None, attempt=0)
        if row.proc is None:
            done = replace(done, result=result)
        else:
            proc = replace(row.proc, result=SubAgentResult(row.id, result))
            done = replace(done, proc=proc, changed_turn=self.state.totals.turn)
        self.state.put_row(done)
        self._drop_working_records(row.id)
        self.take_queued(row.id, unaddressed=False)
        self._stop_waiting(row.id)
        self._tell_parent(row)
        if row.parent is None:
            self.live_roots.pop(row.id, None)
            self._done_roots[row.id] = None
        self.tell("ended", row.id, budget.turns, reason=reason.value, error=error)
        self.on_end(row.id)

    def _drop_working_records(self, task_id: str) -> None:
        cell = self.state.cell(task_id)
        for number in list(cell.effects):
            self.state.remove(("effect", task_id, number))
        for number, approval in list(cell.approvals.items()):
            if approval.pending:
                self.state.remove(("approval", task_id, number))

    def refuse_consumed(self, child: Tcb) -> None:
        """Raise `UsageError` if a turn of its parent is reading the result of an ended child."""
        parent = self._parent_of_join(child)
        if parent is None or parent.state.kind is StateKind.READY or self._joins(parent):
            return
        message = f"task {child.id!r}: its result is in the hands of {parent.id!r}"
        raise UsageError(message, hint="extend it before its parent goes on, or after that turn")

    def _parent_of_join(self, child: Tcb) -> Tcb | None:
        parent = self.state.table.get(child.parent) if child.parent is not None else None
        if parent is None or parent.state.is_terminal() or child.id not in parent.joined:
            return None
        return parent

    def _joins(self, row: Tcb) -> bool:
        return row.wait is not None and row.wait.kind is WaitKind.SUB_AGENT_JOIN

    def reopen(self, row: Tcb) -> None:
        """Make a task that had ended ready again; a parent that was to read its result waits anew."""
        proc = replace(row.proc, result=None) if row.proc else None
        self.state.put_row(replace(row, state=TaskState.READY, proc=proc, result=None))
        if row.parent is None:
            self._done_roots.pop(row.id, None)
            self.live_roots[row.id] = None
        parent = self._parent_of_join(row)
        if parent is not None:
            self.join(parent, [child for child in parent.joined if child in self.state.table])
        self.push(row.id)

    def _tell_parent(self, child: Tcb) -> None:
        pending = self._joining.get(child.parent) if child.parent is not None else None
        if pending is None or child.id not in pending:
            return
        pending.remove(child.id)
        parent = self.state.row(child.parent or "")
        named = parent.wait.children if parent.wait is not None else ()
        if not pending:
            self.wake(parent)
        elif len(pending) <= _EXACT_JOIN or 2 * len(pending) <= len(named):
            self._name_pending(parent.id)

    def _name_pending(self, parent: str | None) -> None:
        """Have the row of a joining task name exactly those that have not ended."""
        pending = self._joining.get(parent) if parent is not None else None
        row = self.state.table.get(parent) if parent is not None else None
        if row is None or row.wait is None or pending is None or len(row.wait.children) == len(pending):
            return
        left = tuple(name for name in row.wait.children if name in pending)
        self.state.put_row(replace(row, wait=WaitReason.sub_agent_join(left)))

    def open_effects_to_ask(self, task_id: str) -> Iterator[int]:
        """Numbers of the effects that were begun, may have happened, and must not simply be repeated."""
        for number, effect in self.state.cell(task_id).effects.items():
            if effect.status is EffectStatus.STARTED and effect.policy == "ask":
                yield number

    # removal

    def subtree(self, task_id: str) -> list[Tcb]:
        """A task and its descendants, children before their parents."""
        rows: list[Tcb] = []
        stack = [self.state.row(task_id)]
        while stack:
            row = stack.pop()
            rows.append(row)
            stack.extend(self.state.table.children_of(row.id))
        return rows[::-1]

    def forget(self, task_id: str) -> None:
        """Remove a finished task and its descendants from the state.

        Raises:
            UsageError: one of them is not finished.
        """
        rows = self.subtree(task_id)
        live = [row.id for row in rows if not row.state.is_terminal()]
        if live:
            raise UsageError(
                f"task {task_id!r} cannot be forgotten: {live[0]!r} is not finished", hint="cancel it first"
            )
        self._name_pending(rows[-1].parent)
        for row in rows:
            self._done_roots.pop(row.id, None)
            self.state.forget(row.id)
            self.asked.pop(row.id, None)
            self._holders.pop(row.id, None)

    def forget_surplus(self) -> bool:
        """Forget the oldest finished roots beyond `keep_done`; whether there were any."""
        if self._keep_done is None:
            return False
        forgot = False
        surplus = len(self._done_roots) - self._keep_done
        for root in list(islice(self._done_roots, max(0, surplus))):
            if not self._is_held(root):
                self.forget(root)
                forgot = True
        return forgot

    def _is_held(self, root: str) -> bool:
        """Whether a descendant lives; the one found is asked first the next time, not the whole tree."""
        holder = self.state.table.get(self._holders.get(root, ""))
        if holder is not None and not holder.state.is_terminal():
            return True
        live = next((row.id for row in reversed(self.subtree(root)) if not row.state.is_terminal()), None)
        if live is not None:
            self._holders[root] = live
        return live is not None

    def note_done_root(self, task_id: str) -> None:
        """Count a restored finished root among those `keep_done` limits."""
        self._done_roots[task_id] = None

    def cell(self, task_id: str) -> Cell:
        """The records of a task beside its row."""
        return self.state.cell(task_id)


def result_of(row: Tcb) -> LoopResult | None:
    """How a task ended, or None while it has not."""
    if row.proc is not None:
        return row.proc.result.result if row.proc.result is not None else None
    return row.result


def _nothing(*_: Any) -> None:
    """Stand for a callback nobody has set."""


def _never() -> bool:
    return False
