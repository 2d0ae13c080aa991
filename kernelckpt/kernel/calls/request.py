"""Open requests: a reply with tool calls joins the history together with the results, or not at all.

Chat interfaces refuse a call without its result and a result without its call; so neither is ever in a
history alone, whatever happens while the calls are made.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from kernelckpt.codec.record import encode_record
from kernelckpt.codec.value import LARGEST_BYTES
from kernelckpt.kernel.cell import Cell
from kernelckpt.kernel.context.spooling import spool
from kernelckpt.kernel.state import KernelState
from kernelckpt.model.context import Plan
from kernelckpt.model.effect import Effect, EffectStatus
from kernelckpt.model.handle import SpooledResult
from kernelckpt.model.message import Message
from kernelckpt.model.os_event import CheckpointTaken
from kernelckpt.model.request import OpenRequest


def open_request(
    state: KernelState, task_id: str, reply: Message, calls: Iterable[Effect], plan: Plan | None
) -> list[int]:
    """Keep a reply while its calls are made; the numbers of the calls in the ledger.

    Args:
        state: the kernel's state.
        task_id: who asks.
        reply: the assistant's message.
        calls: its calls, as the ledger keeps them.
        plan: the plan before the turn that asks, if that turn changes it.
    """
    cell = state.cell(task_id)
    state.put(("request", task_id, 0), OpenRequest(reply, plan))
    state.note(CheckpointTaken(state.totals.turn, len(cell.stream("history"))))
    numbers = []
    for call in calls:
        numbers.append(cell.take_number())
        state.put(("effect", task_id, numbers[-1]), call)
    return numbers


def calls_of(cell: Cell | None) -> dict[int, Effect]:
    """The calls of a task's open request, in the order in which they were asked for."""
    effects = cell.effects if cell is not None else {}
    return {number: effects[number] for number in sorted(effects) if effects[number].call_id}


def close_request(state: KernelState, task_id: str, *, unmade: str = "") -> None:
    """Append the reply and a tool message per call, and forget the calls.

    Args:
        state: the kernel's state.
        task_id: who asked.
        unmade: what is said of the calls that are still open.
    """
    calls, request = drop_request(state, task_id)
    answers = [encode_record(_answer(state, task_id, effect, unmade)) for effect in calls]
    state.append(task_id, "history", [encode_record(request.reply), *answers])


def drop_request(state: KernelState, task_id: str) -> tuple[list[Effect], OpenRequest]:
    """Forget a request and its calls, and append nothing; what they were."""
    cell = state.cell(task_id)
    request = cell.request
    assert request is not None, "calls are open only while their request is"
    calls = calls_of(cell)
    for number in calls:
        state.remove(("effect", task_id, number))
    state.remove(("request", task_id, 0))
    return list(calls.values()), request


def _answer(state: KernelState, task_id: str, effect: Effect, unmade: str) -> Message:
    output, is_error = _output(effect, unmade)
    shown = spool(state, task_id, SpooledResult(effect.call_id, effect.name, output, is_error))
    return Message.tool_result(effect.call_id, shown, is_error=is_error)


def _output(effect: Effect, unmade: str) -> tuple[str, bool]:
    """What a call gave, as text, and whether that is an error."""
    if effect.status is EffectStatus.RETURNED:
        return _shown(msgspec.msgpack.decode(effect.outcome))
    started = effect.status is EffectStatus.STARTED
    error = effect.error if effect.decided else f"{'perhaps made' if started else 'not made'}: {unmade}"
    return error, True


def _shown(value: object) -> tuple[str, bool]:
    if isinstance(value, str):
        return value, False
    try:
        text = msgspec.json.encode(value)
    except (TypeError, ValueError) as error:
        return f"the value has no JSON form: {error}", True
    if len(text) > LARGEST_BYTES:  # what JSON escapes takes up to six times as much
        return f"the value has {len(text)} bytes of JSON, more than {LARGEST_BYTES}", True
    return text.decode(), False
