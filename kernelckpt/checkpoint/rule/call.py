"""Calls: an open request has exactly the calls of its reply in the ledger, and there are none without one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from kernelckpt.checkpoint.decoded_run import DecodedRun
from kernelckpt.checkpoint.rule.unreadable import is_unreadable
from kernelckpt.model.effect import Effect
from kernelckpt.model.message import ToolCall
from kernelckpt.model.request import OpenRequest
from kernelckpt.model.task_state import StateKind
from kernelckpt.model.tcb import Tcb
from kernelckpt.model.wait import WaitKind

_WAITING = frozenset({StateKind.BLOCKED, StateKind.SUSPENDED})
_MAKES_CALLS = frozenset({WaitKind.TOOL, WaitKind.APPROVAL})
"""Waits of a task whose calls are being made, or held until a human has answered."""


def call_faults(run: DecodedRun, row: Tcb) -> Iterator[str]:
    """What is wrong with a task's request and the calls of the ledger that belong to it."""
    effects = run.records("effect", row.id, Effect)
    calls = [effect for effect in effects.values() if effect.call_id]
    for call_id, count in Counter(call.call_id for call in calls).items():
        if count > 1:
            yield f"{count} calls have the id {call_id!r}"
    if is_unreadable(run, ("request", row.id, 0), ("effect", row.id, 0)):
        return
    request = run.records("request", row.id, OpenRequest).get(0)
    if request is None:
        yield from (f"call {call.call_id!r} is open, but no request asks for it" for call in calls)
        return
    if not row.state.is_terminal() and not _makes_calls(row):
        yield f"it has an open request, but is {row.state.label()}"
    yield from _difference(request.reply.tool_calls, {call.call_id: call for call in calls})


def _makes_calls(row: Tcb) -> bool:
    return row.wait is not None and row.state.kind in _WAITING and row.wait.kind in _MAKES_CALLS


def _difference(asked: Sequence[ToolCall], calls: Mapping[str, Effect]) -> Iterator[str]:
    """How the calls in the ledger, in their order, are not those that were asked for."""
    known = {call.id for call in asked}
    for call in asked:
        if call.id not in calls:
            yield f"its request asks for call {call.id!r}, which is not in the ledger"
        elif not _is_same(call, calls[call.id]):
            yield f"call {call.id!r} in the ledger is not the one that its request asks for"
    extra = [call_id for call_id in calls if call_id not in known]
    yield from (f"call {call_id!r} is open, but its request does not ask for it" for call_id in extra)
    if not extra and list(calls) != [call.id for call in asked if call.id in calls]:
        yield "its calls are not in the order in which its request asks for them"


def _is_same(call: ToolCall, effect: Effect) -> bool:
    if call.name != effect.name or not effect.arguments:
        return False
    kept = msgspec.msgpack.decode(effect.arguments)
    return msgspec.msgpack.encode(kept) == msgspec.msgpack.encode(call.arguments)
