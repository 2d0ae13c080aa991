"""What becomes of a task when its turn ends: the rows and records that an ending stands for."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from kernelckpt.codec.record import encode_record
from kernelckpt.kernel.answering import suspend_gated
from kernelckpt.kernel.calls.call_record import planned_call
from kernelckpt.kernel.calls.request import open_request
from kernelckpt.kernel.core import MESSAGE, Core
from kernelckpt.kernel.phase import take_for_done
from kernelckpt.kernel.turn import ending
from kernelckpt.kernel.turn.calls import Gated
from kernelckpt.model.approval import Approval
from kernelckpt.model.context import ContextMeter, Plan
from kernelckpt.model.message import Message
from kernelckpt.model.task_state import TaskState
from kernelckpt.model.tcb import Tcb
from kernelckpt.model.termination import TerminationReason
from kernelckpt.model.wait import WaitKind, WaitReason

_PLAIN = msgspec.msgpack.Decoder()


def apply_ending(
    core: Core, row: Tcb, what_next: ending.Next, *, gated: Mapping[str, str], plan: Plan | None
) -> None:
    """Put a task where the ending of its turn leads.

    Args:
        core: the kernel.
        row: the task's row, the turn counted, ready for the next one.
        what_next: the ending.
        gated: why calls of a request wait for a human, by call id.
        plan: the plan before the turn, if the turn has changed it.
    """
    match what_next:
        case ending.Again():
            core.go_on(row)
        case ending.Complete(text=text, output=output):
            if not take_for_done(core, row, text, output):
                plain = None if output is None else _PLAIN.decode(output)
                core.end(row, TerminationReason.COMPLETED, text=text, output=plain)
        case ending.Fail(text=text):
            core.end(row, TerminationReason.ERROR, error=text)
        case ending.Join(children=children):
            _join(core, row, children)
        case ending.Ask(approval=approval):
            _ask(core, row, approval)
        case ending.Request(reply=reply):
            _request(core, row, reply, gated, plan)
        case _:
            _wait(core, row, what_next)


def _wait(core: Core, row: Tcb, what_next: ending.Next) -> None:
    inbox = core.cell(row.id).inbox.values()
    match what_next:
        case ending.Sleep(until_ms=until_ms):
            core.state.put_row(replace(row, state=TaskState.READY, wait=None, deferred_until=until_ms))
            core.on_timer()
        case ending.WaitMessage() if not any(entry.message for entry in inbox):
            _suspend(core, row, WaitReason.external(MESSAGE))
        case ending.WaitSignal() if not any(entry.signal for entry in inbox):
            _suspend(core, row, WaitReason.signal())
        case ending.WaitExternal(reason=reason):
            _suspend(core, row, WaitReason.external(reason))
        case _:
            core.wake(row)


def _suspend(core: Core, row: Tcb, wait: WaitReason, until_ms: int | None = None) -> None:
    core.state.put_row(replace(row, state=TaskState.SUSPENDED, wait=wait, deferred_until=until_ms))
    if wait.kind is WaitKind.SIGNAL:
        core.signal_waiters[row.id] = None
    if until_ms is not None:
        core.on_timer()


def _join(core: Core, row: Tcb, children: tuple[str, ...]) -> None:
    row = replace(row, joined=children)
    if not core.joining.begin(row, children):
        core.wake(row)


def _ask(core: Core, row: Tcb, approval: Approval) -> None:
    cell = core.cell(row.id)
    asked = next((item for item in cell.approvals.values() if item.key == approval.key), None)
    if asked is None:
        asked = approval
        core.state.put(("approval", row.id, cell.take_number()), asked)
        core.ask(row.id)
    if asked.pending:
        _suspend(core, row, WaitReason.approval(), asked.expires_at_ms)
    else:
        core.wake(row)


def _request(core: Core, row: Tcb, reply: Message, gated: Mapping[str, str], plan: Plan | None) -> None:
    if not reply.tool_calls:
        core.state.append(row.id, "history", [encode_record(reply)])
        core.wake(row)
        return
    turn = row.budget.turns
    calls = [planned_call(core, call.id, call.name, call.arguments, turn) for call in reply.tool_calls]
    numbers = open_request(core.state, row.id, reply, calls, plan)
    meter = core.cell(row.id).meter or ContextMeter()
    active = replace(meter, last_activity_ms=core.clock.wall_ms())
    core.state.put(("meter", row.id, 0), active)
    waiting = [
        Gated(number, call, gated[call.call_id])
        for number, call in zip(numbers, calls, strict=True)
        if call.call_id in gated
    ]
    if waiting:
        suspend_gated(core, row, waiting)
    else:
        core.wake(row)
