"""Running tasks: one activation of a task runs its turns and tool calls until it waits or ends."""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import anyio
import msgspec
from anyio.lowlevel import checkpoint
from msgspec.structs import replace

from kernelckpt.codec.record import encode_record
from kernelckpt.errors import EffectError, KernelCkptError, SchedulerStopped, TurnStalled, UsageError
from kernelckpt.kernel import ending
from kernelckpt.kernel.core import Core
from kernelckpt.kernel.ledger import Ledger, replayed
from kernelckpt.kernel.schedule import Terminate, schedule
from kernelckpt.kernel.staged import commit_turn
from kernelckpt.kernel.turn import Turn
from kernelckpt.model.effect import Effect, EffectStatus
from kernelckpt.model.message import Message
from kernelckpt.model.task_state import StateKind, TaskState
from kernelckpt.model.tcb import Tcb
from kernelckpt.model.termination import TerminationReason


class Runner:
    """Runs the turns of tasks; knows which are at work, and can cancel one."""

    def __init__(
        self,
        core: Core,
        deps: Any,
        ready: Callable[[], Awaitable[None]],
        durable: Callable[[int], Awaitable[None]],
    ) -> None:
        """`ready` is awaited before each turn, `durable(n)` before each output."""
        self._core = core
        self._deps = deps
        self._ready = ready
        self._ledger = Ledger(core, durable)
        self._scopes: dict[str, anyio.CancelScope] = {}
        self.stopping = False

    def cancel(self, task_id: str) -> None:
        """Cancel what the task is at, if it is at work."""
        scope = self._scopes.get(task_id)
        if scope is not None:
            scope.cancel()

    def cancel_all(self) -> None:
        """Cancel whatever is at work."""
        for scope in self._scopes.values():
            scope.cancel()

    async def run(self, task_id: str, crowded: Callable[[], bool]) -> None:
        """Run a task until it has nothing to do now, or until others wait for its place."""
        while not self.stopping:
            await self._ready()
            row = self._core.state.table.get(task_id)
            if row is None or self.stopping or not self._core.can_run(row):
                return
            await self._step(row)
            if crowded():
                return
            await checkpoint()

    async def _step(self, row: Tcb) -> None:
        decision = schedule(row, self._core.work_ms())
        if isinstance(decision, Terminate):
            label = row.budget.exceeded(self._core.work_ms())
            self._core.end(row, decision.reason, error=f"the budget's {label} was reached")
            self._core.state.commit(waits=True)
            return
        with anyio.CancelScope() as scope:
            self._scopes[row.id] = scope
            try:
                if row.state.kind is StateKind.BLOCKED:
                    await self._tool_calls(row)
                else:
                    await self._turn(row)
            finally:
                del self._scopes[row.id]
        if scope.cancelled_caught:
            self._discard(row)

    async def _turn(self, row: Tcb) -> None:
        core = self._core
        budget = row.budget
        if budget.started_at_ms is None:
            budget = replace(budget, started_at_ms=core.work_ms())
        row = replace(
            row,
            state=TaskState.RUNNING,
            attempt=row.attempt + 1,
            budget=budget,
            wait=None,
            deferred_until=None,
        )
        core.state.put_row(row)
        core.state.commit(urgent=False)
        program = core.programs[row.program]
        turn = Turn(core, row, program, self._deps, self._ledger.call)
        try:
            returned = await program.fn(turn)
            if not self._live(row.id):
                return
            commit_turn(core, row.id, turn.staged, _ending_of(turn, returned))
        except SchedulerStopped:
            self._discard(row)
        except Exception as error:  # noqa: BLE001 - whatever a program raises fails its task, not the kernel
            self._fail(row.id, error)

    def _live(self, task_id: str) -> bool:
        row = self._core.state.table.get(task_id)
        return row is not None and row.state.kind is StateKind.RUNNING

    def _discard(self, row: Tcb) -> None:
        """Make a task whose turn was cancelled ready again; nothing that it staged is left."""
        self._core.events.emit("discarded", row.id, row.budget.turns + 1)
        if self._live(row.id):
            now = self._core.state.row(row.id)
            self._core.state.put_row(replace(now, state=TaskState.READY))
            self._core.state.commit(urgent=False)

    def _fail(self, task_id: str, error: Exception) -> None:
        if not self._live(task_id):
            return
        row = self._core.state.row(task_id)
        self._core.events.emit("discarded", task_id, row.budget.turns + 1)
        self._core.end(row, TerminationReason.ERROR, error=_described(error))
        self._core.state.commit(waits=True)

    async def _tool_calls(self, row: Tcb) -> None:
        """Make the open tool calls of a task, then append their answers in one commit."""
        core = self._core
        calls = {number: effect for number, effect in core.cell(row.id).effects.items() if effect.call_id}
        async with anyio.create_task_group() as group:
            for number, effect in calls.items():
                if not effect.decided:
                    group.start_soon(self._tool_call, row.id, number, effect)
        row_now = core.state.table.get(row.id)
        if row_now is None or row_now.state.kind is not StateKind.BLOCKED:
            return
        if not all(effect.decided for effect in core.cell(row.id).effects.values()):
            return
        answers = []
        for number in calls:
            answers.append(encode_record(self._answer(core.cell(row.id).effects[number])))
            core.state.remove(("effect", row.id, number))
        core.state.append(row.id, "history", answers)
        core.wake(row_now)
        core.state.commit()

    async def _tool_call(self, task_id: str, number: int, effect: Effect) -> None:
        core = self._core
        arguments = msgspec.msgpack.decode(effect.arguments)
        refusal = ""
        if effect.name not in core.tools:
            refusal = f"there is no tool {effect.name!r}"
        elif not isinstance(arguments, dict):
            refusal = "the arguments are not an object"
        if refusal:
            refused = replace(effect, status=EffectStatus.RAISED, error=refusal)
            core.state.put(("effect", task_id, number), refused)
            core.state.commit(urgent=False)
            return
        with suppress(SchedulerStopped):  # the call stays open; its outcome is recorded or in doubt
            await self._ledger.perform(task_id, number, effect, core.tools.find(effect.name), ((), arguments))

    def _answer(self, effect: Effect) -> Message:
        if effect.name not in self._core.tools:
            return Message.tool_result(effect.call_id, effect.error, is_error=True)
        try:
            value = replayed(effect, self._core.tools.find(effect.name))
        except EffectError as error:
            return Message.tool_result(effect.call_id, error.error, is_error=True)
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        return Message.tool_result(effect.call_id, text)


def _ending_of(turn: Turn, returned: Any) -> ending.Next:
    if returned is not None and not isinstance(returned, ending.Next):
        message = f"the program returned a {type(returned).__name__}"
        raise UsageError(message, hint="return None, or an ending such as turn.complete(...)")
    chosen = returned if returned is not None else turn.chosen
    if chosen is None and turn.stalled:
        raise TurnStalled(
            "the turn staged nothing and ended in nothing", hint="stage something, or end the turn"
        )
    return chosen or ending.Again()


def _described(error: Exception) -> str:
    place = traceback.extract_tb(error.__traceback__)[-1:] if not isinstance(error, KernelCkptError) else []
    where = "".join(f" ({frame.filename.rpartition('/')[2]}:{frame.lineno})" for frame in place)
    return f"{type(error).__name__}: {error}{where}".encode("utf-8", "replace").decode()
