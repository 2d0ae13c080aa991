"""The tool calls of an assistant's reply: made through the ledger, answered in one commit."""

from __future__ import annotations

from contextlib import suppress

import anyio
import msgspec
from msgspec.structs import replace

from kernelckpt.errors import SchedulerStopped, TurnEnded, UsageError
from kernelckpt.kernel.answering import suspend_gated
from kernelckpt.kernel.calls.doubt import MAY_HAVE_HAPPENED, Doubt
from kernelckpt.kernel.calls.performer import Arguments, Call, Performer
from kernelckpt.kernel.calls.request import calls_of, close_request
from kernelckpt.kernel.calls.tool import Tool
from kernelckpt.kernel.core import Core
from kernelckpt.kernel.rollback import demanded_rollback, undo_request
from kernelckpt.kernel.turn.calls import Gated
from kernelckpt.model.effect import Effect, EffectStatus
from kernelckpt.model.task_state import StateKind
from kernelckpt.model.tcb import Tcb


class ToolCalls:
    """Makes the open tool calls of tasks that are blocked on them."""

    def __init__(self, core: Core, performer: Performer, doubt: Doubt) -> None:
        self._core = core
        self._performer = performer
        self._doubt = doubt

    async def make(self, row: Tcb) -> None:
        """Make the open calls of a task, then let the request join the history in one commit and wake it.

        Of a request that one of its calls has doomed before a crash, none of the others is made.
        """
        if demanded_rollback(self._core, row.id) is not None:
            self._finish(row)
            return
        held: dict[int, Effect] = {}
        async with anyio.create_task_group() as group:
            for number, effect in calls_of(self._core.state.find_cell(row.id)).items():
                if not effect.decided:
                    group.start_soon(self._make_one, row.id, number, effect, held)
        row_now = self._core.state.table.get(row.id)
        if row_now is None or row_now.state.kind is not StateKind.BLOCKED:
            return
        if held:
            self._hold(row_now, held)
        elif all(effect.decided for effect in calls_of(self._core.state.find_cell(row.id)).values()):
            self._finish(row_now)

    def _finish(self, row: Tcb) -> None:
        """Let the reply and the results join the history, or undo them all."""
        reason = demanded_rollback(self._core, row.id)
        if reason is not None:
            undo_request(self._core, row, reason)
            return
        close_request(self._core.state, row.id)
        self._core.wake(row)
        self._core.state.commit()

    def _hold(self, row: Tcb, held: dict[int, Effect]) -> None:
        """Ask a human about calls of which nobody else can say what became of them."""
        gated = [Gated(number, call, call.error or MAY_HAVE_HAPPENED) for number, call in held.items()]
        suspend_gated(self._core, row, gated)
        self._core.tell_asked(row)
        self._core.state.commit(waits=True)

    async def _make_one(self, task_id: str, number: int, effect: Effect, held: dict[int, Effect]) -> None:
        core = self._core
        if number not in calls_of(core.state.find_cell(task_id)):
            return  # the task was cancelled, and perhaps forgotten, before this began
        try:
            tool, bound = self._admitted(effect)
        except UsageError as error:
            refused = replace(effect, status=EffectStatus.RAISED, error=error.args[0])
            core.state.put(("effect", task_id, number), core.redactor.record(refused))
            core.state.commit(urgent=False)
            return
        call = Call(task_id, number, tool, bound)
        with suppress(SchedulerStopped, TurnEnded):  # the call stays open, or nobody wants it any more
            done = await self._doubt.settle(call, effect, self._performer.perform)
            if done.in_doubt:
                held[number] = done

    def _admitted(self, effect: Effect) -> tuple[Tool, Arguments]:
        """What is to be called, and with what.

        Raises:
            UsageError: no such tool, or one that must not be called here, or not with these arguments.
        """
        if effect.name not in self._core.tools:
            raise UsageError(f"there is no tool {effect.name!r}")
        tool = self._core.tools.find(effect.name)
        refusal = self._performer.refusal(tool)
        if refusal:
            raise UsageError(refusal)
        arguments = msgspec.msgpack.decode(effect.arguments)
        if not isinstance(arguments, dict):
            raise UsageError("the arguments are not an object")
        return tool, tool.parameters.bound(arguments)
