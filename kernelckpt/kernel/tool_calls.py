"""The tool calls of an assistant's reply: made through the ledger, answered in one commit."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import anyio
import msgspec
from msgspec.structs import replace

from kernelckpt.codec.record import encode_record
from kernelckpt.errors import SchedulerStopped, TurnEnded
from kernelckpt.kernel.core import Core
from kernelckpt.kernel.ledger import Ledger
from kernelckpt.model.effect import Effect, EffectStatus
from kernelckpt.model.message import Message
from kernelckpt.model.task_state import StateKind
from kernelckpt.model.tcb import Tcb


class ToolCalls:
    """Makes the open tool calls of tasks that are blocked on them."""

    def __init__(self, core: Core, ledger: Ledger) -> None:
        """`ledger` makes the calls."""
        self._core = core
        self._ledger = ledger

    async def make(self, row: Tcb) -> None:
        """Make the open calls of a task, then append their answers in one commit and wake it."""
        async with anyio.create_task_group() as group:
            for number, effect in self._of(row.id).items():
                if not effect.decided:
                    group.start_soon(self._make_one, row.id, number, effect)
        row_now = self._core.state.table.get(row.id)
        if row_now is None or row_now.state.kind is not StateKind.BLOCKED:
            return
        if all(effect.decided for effect in self._of(row.id).values()):
            self.answer(row.id, unmade="")
            self._core.wake(row_now)
            self._core.state.commit()

    def answer(self, task_id: str, *, unmade: str) -> None:
        """Append one tool message per call, and forget the calls; `unmade` is said of those still open."""
        calls = self._of(task_id)
        for number in calls:
            self._core.state.remove(("effect", task_id, number))
        answers = [encode_record(_answer(effect, unmade)) for effect in calls.values()]
        self._core.state.append(task_id, "history", answers)

    def _of(self, task_id: str) -> dict[int, Effect]:
        """The tool calls of a task in the order in which they were asked for."""
        cell = self._core.state.find_cell(task_id)
        effects = cell.effects if cell is not None else {}
        return {number: effects[number] for number in sorted(effects) if effects[number].call_id}

    async def _make_one(self, task_id: str, number: int, effect: Effect) -> None:
        core = self._core
        if number not in self._of(task_id):
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


def _answer(effect: Effect, unmade: str) -> Message:
    if effect.status is EffectStatus.RETURNED:
        return _shown(effect.call_id, msgspec.msgpack.decode(effect.outcome))
    started = effect.status is EffectStatus.STARTED
    error = effect.error if effect.decided else f"{'perhaps made' if started else 'not made'}: {unmade}"
    return Message.tool_result(effect.call_id, error, is_error=True)


def _shown(call_id: str, value: Any) -> Message:
    if isinstance(value, str):
        return Message.tool_result(call_id, value)
    try:
        return Message.tool_result(call_id, msgspec.json.encode(value).decode())
    except (TypeError, ValueError) as error:
        return Message.tool_result(call_id, f"the value has no JSON form: {error}", is_error=True)
