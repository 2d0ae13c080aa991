"""The tool calls of an assistant's reply: made through the ledger, answered in one commit."""

from __future__ import annotations

from contextlib import suppress

import anyio
import msgspec
from msgspec.structs import replace

from kernelckpt.errors import SchedulerStopped, TurnEnded
from kernelckpt.kernel.calls.ledger import Ledger
from kernelckpt.kernel.calls.request import calls_of, close_request
from kernelckpt.kernel.core import Core
from kernelckpt.kernel.rollback import demanded_rollback, undo_request
from kernelckpt.model.effect import Effect, EffectStatus
from kernelckpt.model.task_state import StateKind
from kernelckpt.model.tcb import Tcb


class ToolCalls:
    """Makes the open tool calls of tasks that are blocked on them."""

    def __init__(self, core: Core, ledger: Ledger) -> None:
        """`ledger` makes the calls."""
        self._core = core
        self._ledger = ledger

    async def make(self, row: Tcb) -> None:
        """Make the open calls of a task, then let the request join the history in one commit and wake it.

        Of a request that one of its calls has doomed before a crash, none of the others is made.
        """
        if demanded_rollback(self._core, row.id) is not None:
            self._finish(row)
            return
        async with anyio.create_task_group() as group:
            for number, effect in calls_of(self._core.state.find_cell(row.id)).items():
                if not effect.decided:
                    group.start_soon(self._make_one, row.id, number, effect)
        row_now = self._core.state.table.get(row.id)
        if row_now is None or row_now.state.kind is not StateKind.BLOCKED:
            return
        if all(effect.decided for effect in calls_of(self._core.state.find_cell(row.id)).values()):
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

    async def _make_one(self, task_id: str, number: int, effect: Effect) -> None:
        core = self._core
        if number not in calls_of(core.state.find_cell(task_id)):
            return  # the task was cancelled, and perhaps forgotten, before this began
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
        with suppress(SchedulerStopped, TurnEnded):  # the call stays open, or nobody wants it any more
            await self._ledger.perform(task_id, number, effect, core.tools.find(effect.name), ((), arguments))
