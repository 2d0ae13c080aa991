"""Running tasks: one activation of a task runs its turns and tool calls until it waits or ends."""

from __future__ import annotations

import inspect
from asyncio import CancelledError
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from msgspec.structs import replace

from kernelckpt.errors import GovernanceError, SchedulerStopped, TurnStalled, UsageError
from kernelckpt.kernel import limits
from kernelckpt.kernel.answering import suspend_gated, suspend_in_doubt
from kernelckpt.kernel.calls.doubt import Doubt
from kernelckpt.kernel.calls.ledger import Ledger
from kernelckpt.kernel.calls.performer import CallTool, Durability, Performer
from kernelckpt.kernel.calls.tool_calls import ToolCalls
from kernelckpt.kernel.cancellation import absorb_cancellation, is_cancelled
from kernelckpt.kernel.capability_change import expire_leases
from kernelckpt.kernel.context.compaction import make_room
from kernelckpt.kernel.core import Core
from kernelckpt.kernel.error_text import placed_error_text
from kernelckpt.kernel.first_wait import let_others_run, tell_first_wait
from kernelckpt.kernel.rollback import undo_refused, undo_request, undo_turn
from kernelckpt.kernel.turn import ending
from kernelckpt.kernel.turn.commit import commit_turn
from kernelckpt.kernel.turn.retrying import quiet_before_retry, retry_or_end
from kernelckpt.kernel.turn.turn import Turn
from kernelckpt.model.rollback import RollbackReason
from kernelckpt.model.task_state import StateKind, TaskState
from kernelckpt.model.tcb import Tcb

_GOES_ON = frozenset({StateKind.RUNNING, StateKind.READY})
"""What a task is at whose turn was cancelled, or undone from outside, and that has not ended."""


class Runner:
    """Runs the turns of tasks; knows which are at work, and can cancel one."""

    def __init__(
        self,
        core: Core,
        deps: Any,
        ready: Callable[[], Awaitable[None]],
        durability: Durability,
    ) -> None:
        """`ready` is awaited before each turn, `durability` before each call and after it."""
        self._core = core
        self._deps = deps
        self._ready = ready
        performer = self._performer = Performer(core, durability)
        doubt = Doubt(core, performer)
        self._ledger = Ledger(core, performer, doubt)
        self._tool_calls = ToolCalls(core, performer, doubt)
        self._scopes: dict[str, anyio.CancelScope] = {}
        self._turns: dict[str, Turn] = {}
        self._activations: dict[str, anyio.CancelScope] = {}
        self.stopping = False

    def call_tools_by(self, call_tool: CallTool) -> None:
        """Have calls made by another function than that of the tools."""
        self._performer.call_tool = call_tool

    def stop(self) -> None:
        """Begin no turn any more; whoever still waits to begin one gives up."""
        self.stopping = True
        for task_id, scope in self._activations.items():
            if task_id not in self._scopes:
                scope.cancel()

    def cancel(self, task_id: str) -> None:
        """Cancel what the task is at, if it is at work."""
        scope = self._scopes.get(task_id)
        if scope is not None:
            scope.cancel()

    def interrupt(self, task_id: str) -> None:
        """Break off the turn that a task is at, once the calls it has begun are done; it is run again."""
        turn, scope = self._turns.get(task_id), self._scopes.get(task_id)
        if turn is not None and scope is not None:
            turn.calls.close(scope.cancel)

    def undo(self, task_id: str, reason: RollbackReason) -> bool:
        """Undo what a task is at and break it off, at once; False if it is not at work.

        The undoing is a commit of its own, made before this returns. Until what is broken off has come to
        its end, the task is at work, and undoing it again changes nothing.
        """
        scope = self._scopes.get(task_id)
        if scope is None:
            return False
        row = self._core.state.row(task_id)
        if row.state.kind is StateKind.RUNNING:
            undo_turn(self._core, row, reason)
        elif row.state.kind is StateKind.BLOCKED:
            undo_request(self._core, row, reason)
        scope.cancel()
        return True

    def cancel_all(self) -> None:
        """Cancel whatever is at work."""
        for scope in self._scopes.values():
            scope.cancel()

    async def run(self, task_id: str, crowded: Callable[[], bool]) -> None:
        """Run a task until it has nothing to do now, or until others wait for its place."""
        while await self._run(task_id, crowded):
            if crowded():
                return
            await let_others_run()

    async def _run(self, task_id: str, crowded: Callable[[], bool]) -> bool:
        """The same within one scope; True when that was cancelled, and the task may go on under another."""
        core, at = self._core, None
        with anyio.CancelScope() as scope:
            self._activations[task_id] = scope
            try:
                while not self.stopping:
                    await self._ready()
                    if task_id in core.contexts:
                        await core.contexts.load([task_id])
                    row = core.state.table.get(task_id)
                    if row is None or self.stopping or not core.can_run(row):
                        return False
                    at = row
                    if not self._ended_by_limit(row):
                        is_calling = row.state.kind is StateKind.BLOCKED
                        await (self._make_calls if is_calling else self._turn)(row, scope)
                    at = None
                    if scope.cancel_called:
                        return not self.stopping
                    if crowded():
                        return False
                    await let_others_run()
            finally:
                del self._activations[task_id]
        if at is not None and at.state.kind is not StateKind.BLOCKED:
            self._discard(at)
        return not self.stopping

    def _ended_by_limit(self, row: Tcb) -> bool:
        """End a task that has come to a limit."""
        limit = limits.reached(self._core, row)
        if limit is None:
            return False
        limits.end_by_limit(self._core, row, limit)
        self._core.state.commit(waits=True)
        return True

    async def _make_calls(self, row: Tcb, scope: anyio.CancelScope) -> None:
        self._scopes[row.id] = scope
        try:
            await self._tool_calls.make(row)
        finally:
            del self._scopes[row.id]

    async def _turn(self, row: Tcb, scope: anyio.CancelScope) -> None:
        row = self._begun(row)
        core, program = self._core, self._core.programs[row.program]
        turn = Turn(core, row, program, self._deps, self._ledger.call)
        self._turns[row.id] = turn
        self._scopes[row.id] = scope
        try:
            returned = await tell_first_wait(program.fn(turn), turn.show_begun)
            now = core.state.table.get(row.id)
            if now is None or now.state.kind is not StateKind.RUNNING or scope.cancel_called:
                self._discard(row)
            elif turn.has_waited and is_cancelled():
                self._discard(row)  # though the program caught its cancellation
            elif not turn.is_plain and (turn.gated or turn.leaves_calls()):
                self._suspend(row, turn)
            else:
                commit_turn(core, now, turn.staged, _ending_of(turn, returned))
        except CancelledError as error:
            if is_cancelled():
                raise
            absorb_cancellation()
            await quiet_before_retry(core, row, turn)
            self._fail(row, turn, error)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - it fails the task, not the kernel
            await quiet_before_retry(core, row, turn)
            self._fail(row, turn, error)
        finally:
            del self._turns[row.id], self._scopes[row.id]
            core.urged.discard(row.id)
            turn.close()

    def _begun(self, row: Tcb) -> Tcb:
        core = self._core
        if core.settings.auto_compact:
            make_room(core, row)  # a commit of its own: what follows belongs into that of the row
        if core.state.cell(row.id).capabilities is not None:
            row = expire_leases(core.state, row)
        budget = row.budget
        if budget.started_at_ms is None:
            budget = limits.begun(core, budget)
        begun = replace(
            row,
            state=TaskState.RUNNING,
            attempt=row.attempt + 1,
            budget=budget,
            wait=None,
            deferred_until=None,
        )
        return core.state.begin_turn(begun)

    def _in_turn(self, task_id: str) -> Tcb | None:
        row = self._core.state.table.get(task_id)
        return row if row is not None and row.state.kind is StateKind.RUNNING else None

    def _discard(self, row: Tcb) -> None:
        """Make a task whose turn was cancelled ready again; nothing that it staged is left."""
        core = self._core
        core.events.emit("discarded", row.id, row.budget.turns + 1)
        now = core.state.table.get(row.id)
        if now is None or now.state.kind not in _GOES_ON:
            return
        if not self.stopping and suspend_in_doubt(core, now):  # else it runs again in this process
            core.ask(row.id)
            core.tell_asked(row)
        elif now.state.kind is StateKind.RUNNING:
            core.state.put_row(replace(now, state=TaskState.READY))
        else:
            return
        core.state.commit(urgent=False)

    def _suspend(self, row: Tcb, turn: Turn) -> None:
        """Wait for a human's word on the calls that governance has gated; then the turn is run again."""
        self._core.events.emit("discarded", row.id, row.budget.turns + 1)
        suspend_gated(self._core, self._core.state.row(row.id), turn.gated.values())
        self._core.tell_asked(row)
        self._core.state.commit(waits=True)

    def _fail(self, row: Tcb, turn: Turn, error: BaseException) -> None:
        stopped = self._core.is_stopping() and isinstance(error, SchedulerStopped | CancelledError)
        now = self._in_turn(row.id)
        if stopped or is_cancelled() or now is None:
            self._discard(row)
            return
        if turn.gated:
            self._suspend(row, turn)
            return
        self._core.events.emit("discarded", row.id, row.budget.turns + 1)
        refusal = _refusal_in(error)
        if refusal is not None:
            undo_refused(self._core, now, refusal)
            return
        retry_or_end(self._core, now, placed_error_text(error))


def _refusal_in(error: BaseException) -> GovernanceError | None:
    """The refusal that a program has let through, alone or together with others."""
    while isinstance(error, BaseExceptionGroup):
        if error.split(GovernanceError)[1] is not None:
            return None
        error = error.exceptions[0]
    return error if isinstance(error, GovernanceError) else None


def _ending_of(turn: Turn, returned: Any) -> ending.Next:
    if returned is None:
        if turn.chosen is None and turn.stalled:
            raise TurnStalled(
                "the turn staged nothing and ended in nothing", hint="stage something, or end the turn"
            )
        return turn.chosen or ending.AGAIN
    if inspect.iscoroutine(returned):
        returned.close()
        raise UsageError("the program returned a call it did not await", hint="`return await ...`")
    if not isinstance(returned, ending.Next):
        message = f"the program returned a {type(returned).__name__}"
        raise UsageError(message, hint="return None, or an ending such as turn.complete(...)")
    if returned is not turn.chosen:
        raise UsageError("the program returned the ending of another turn", hint="end this turn: `turn....`")
    return returned
