"""The kernel without its event loop: what runs next, how tasks wake, end and are forgotten.

Everything here is synchronous: between two awaits of the scheduler a whole transition happens or none.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from msgspec.structs import replace

from kernelckpt.abc import Clock, Commit
from kernelckpt.codec.record import unshared
from kernelckpt.kernel.calls.request import close_request
from kernelckpt.kernel.calls.tool import Tools
from kernelckpt.kernel.cell import Cell
from kernelckpt.kernel.contexts import Contexts
from kernelckpt.kernel.event import EventBus
from kernelckpt.kernel.governance.gate import Gate
from kernelckpt.kernel.joining import Joining
from kernelckpt.kernel.program import Programs
from kernelckpt.kernel.redaction.redactor import Redactor
from kernelckpt.kernel.removal import Removal
from kernelckpt.kernel.settings import Settings
from kernelckpt.kernel.signal_router import SignalRouter
from kernelckpt.kernel.state import KernelState
from kernelckpt.model.effect import EffectStatus
from kernelckpt.model.inbox import InboxEntry
from kernelckpt.model.message import Message
from kernelckpt.model.result import LoopResult, SubAgentResult
from kernelckpt.model.signal import RuntimeSignal
from kernelckpt.model.task_state import StateKind, TaskState
from kernelckpt.model.tcb import Tcb
from kernelckpt.model.termination import OUT_OF_BUDGET, TerminationReason
from kernelckpt.model.wait import WaitKind, WaitReason

MESSAGE = "message"
"""The note of an external wait that a message ends."""


class Core:
    """State, queue of ready tasks, router; the verbs that several kinds of commit share."""

    def __init__(
        self,
        programs: Programs,
        tools: Tools,
        clock: Clock,
        settings: Settings,
        *,
        on_commit: Callable[[Commit], None],
    ) -> None:
        """`on_commit` is called synchronously with each commit."""
        self.programs = programs
        self.tools = tools
        self.clock = clock
        self.settings = settings
        self.redactor = Redactor(settings.redaction)
        self.events = EventBus(settings.run_id, self.redactor.shown)
        self.state = KernelState(on_commit, self.redactor, self._rearm)
        self.router = SignalRouter(settings.queue_capacity())
        self.ready: deque[str] = deque()
        self.on_ready: Callable[[], None] = _nothing
        self.on_timer: Callable[[], None] = _nothing
        self.on_end: Callable[[str], None] = _nothing
        self.on_ask: Callable[[], None] = _nothing
        self.on_interrupt: Callable[[str], None] = _nothing
        self.is_stopping: Callable[[], bool] = _never
        self.active: set[str] = set()
        self.urged: set[str] = set()
        self.asked: dict[str, int] = {}
        self.signal_waiters: dict[str, None] = {}
        self.live_roots: dict[str, None] = {}
        self.overspent: set[str] = set()
        self._queued: set[str] = set()
        self.joining = Joining(self.state)
        self.contexts = Contexts(self.state)
        self.gate = Gate(self.state, clock, settings.run_id, self.live_roots)
        self.removal = Removal(self.state, self.joining, settings.keep_done, self._removed)
        self._clock_start = (clock.monotonic(), clock.wall_ms())

    def work_ms(self) -> int:
        """The working clock: wall time of the run's first start, plus time worked since."""
        started, base = self._clock_start
        return base + int((self.clock.monotonic() - started) * 1000)

    def set_work_ms(self, base: int) -> None:
        """Let the working clock go on from a value."""
        self._clock_start = (self.clock.monotonic(), base)

    def count_turn(self) -> None:
        """Count a turn that ends in the commit that is being made."""
        old = self.state.totals
        self.state.put_totals(replace(old, turn=old.turn + 1, clock_ms=self.work_ms()))

    def touch_totals(self, *, tokens: int = 0, cost_micros: int = 0, downtime_ms: int = 0) -> None:
        """Add to the kernel's totals and note the working clock."""
        old = self.state.totals
        totals = replace(
            old,
            total_tokens=old.total_tokens + tokens,
            cost_micros=old.cost_micros + cost_micros,
            clock_ms=self.work_ms(),
            downtime_ms=old.downtime_ms + downtime_ms,
        )
        self.state.put_totals(totals)

    def tell(self, kind: str, task_id: str, turn: int, **data: Any) -> None:
        """Emit an event of the commit that is being made."""
        self.events.emit(kind, task_id, turn, commit=self.state.number + 1, **data)

    def tell_asked(self, row: Tcb) -> None:
        """Tell that a task waits for a human's word on what the kernel asks."""
        self.tell("waiting", row.id, row.budget.turns, wait="approval", note="")

    # what runs next

    def push(self, task_id: str) -> None:
        """Put a task at the end of the queue, once; one that is at work looks again by itself."""
        if task_id not in self._queued and task_id not in self.active:
            self._queued.add(task_id)
            self.ready.append(task_id)
            self.on_ready()

    def push_first(self, task_id: str) -> None:
        """Move a task that is in the queue to its front."""
        if task_id in self._queued:
            self.ready.remove(task_id)
            self.ready.appendleft(task_id)

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
        return row.is_runnable_at(None if row.deferred_until is None else self.clock.wall_ms())

    def go_on(self, row: Tcb) -> None:
        """Have a task go on to its next turn whose row is that of a turn that has just ended."""
        self.state.put_row(row)
        if row.id not in self.active:
            self.push(row.id)

    def wake(self, row: Tcb, *, approved: Sequence[str] = (), denied: Sequence[str] = ()) -> None:
        """End a task's wait: to its tool calls if some are open, else to its next turn."""
        self._stop_waiting(row.id)
        calls = self.state.cell(row.id).request is not None
        state = TaskState.BLOCKED if calls else TaskState.READY
        wait = WaitReason.tool() if calls else None
        woken = replace(row, state=state, wait=wait, deferred_until=None)
        self.state.put_row(woken, approved=approved, denied=denied)
        self.push(row.id)

    def retry(self, row: Tcb, until_ms: int | None = None) -> None:
        """Make a task ready for its next turn whatever it was at; not before a time, if one is given."""
        self._stop_waiting(row.id)
        self.state.put_row(replace(row, state=TaskState.READY, wait=None, deferred_until=until_ms))
        self.push(row.id)
        if until_ms is not None:
            self.on_timer()

    def ask(self, task_id: str) -> None:
        """The commit that is being made asks a human: the question is shown once it is durable."""
        self.asked[task_id] = self.state.number + 1
        self.on_ask()

    def _stop_waiting(self, task_id: str) -> None:
        self.joining.stop(task_id)
        self.signal_waiters.pop(task_id, None)

    def waits_for(self, row: Tcb, kind: WaitKind, note: str = "") -> bool:
        """Whether the task is suspended on such a wait."""
        wait = row.wait
        return (
            row.state.kind is StateKind.SUSPENDED
            and wait is not None
            and (wait.kind, wait.note) == (kind, note)
        )

    def deliver(self, task_id: str, signal: RuntimeSignal, *, interrupts: bool = False) -> None:
        """Put a signal into a task's inbox."""
        entry = InboxEntry(signal=signal, interrupts=interrupts)
        self.state.put(("inbox", task_id, self.state.cell(task_id).take_number()), entry)

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
        self._drop_working_records(row, reason, error or reason.value)
        self.take_queued(row.id, unaddressed=False)
        self._stop_waiting(row.id)
        parent = self.joining.ended(row)
        if parent is not None:
            self.wake(parent)
        if row.parent is None:
            self.live_roots.pop(row.id, None)
            self.removal.note_done(row.id)
        self.tell("ended", row.id, budget.turns, reason=reason.value, error=error)
        self.on_end(row.id)

    def _drop_working_records(self, row: Tcb, reason: TerminationReason, why: str) -> None:
        task_id, cell = row.id, self.state.cell(row.id)
        keeps_calls = reason in OUT_OF_BUDGET and self.programs[row.program].keeps_calls
        if cell.request is not None:
            close_request(self.state, task_id, unmade=why)
        if cell.milestone is not None and cell.milestone.text is not None:
            self.state.put(("milestone", task_id, 0), replace(cell.milestone, text=None, output=None))
        for number in () if keeps_calls else list(cell.effects):
            self.state.remove(("effect", task_id, number))
        for number, approval in list(cell.approvals.items()):
            if approval.pending:
                self.state.remove(("approval", task_id, number))

    def reopen(self, row: Tcb) -> None:
        """Make a task that had ended ready again; a parent that was to read its result waits anew."""
        proc = replace(row.proc, result=None) if row.proc else None
        changed_turn = self.state.totals.turn if proc else row.changed_turn
        reopened = replace(row, state=TaskState.READY, proc=proc, result=None, changed_turn=changed_turn)
        self.state.put_row(reopened)
        if row.parent is None:
            self.removal.note_live(row.id)
            self.live_roots[row.id] = None
        parent = self.joining.parent_of(row)
        if parent is not None:
            self.joining.begin(parent, [child for child in parent.joined if child in self.state.table])
        self.push(row.id)

    def open_effects_to_ask(self, task_id: str) -> Iterator[int]:
        """Numbers of the effects that were begun, may have happened, and must not simply be repeated."""
        for number, effect in self.state.cell(task_id).effects.items():
            if effect.status is EffectStatus.STARTED and effect.policy == "ask":
                yield number

    def _removed(self, task_id: str) -> None:
        self.asked.pop(task_id, None)
        self.overspent.discard(task_id)

    def _rearm(self) -> None:
        self.on_timer()

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
