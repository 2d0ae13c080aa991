"""A new policy judges what the one before it has let pass, and what is still to be done."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from kernelckpt.kernel.answering import is_held, suspend_gated
from kernelckpt.kernel.calls.request import calls_of
from kernelckpt.kernel.core import Core
from kernelckpt.kernel.governance.gate import refusal_of
from kernelckpt.kernel.question import is_about_call, question_about
from kernelckpt.kernel.turn.calls import Gated
from kernelckpt.model.effect import Effect, EffectPolicy, EffectStatus
from kernelckpt.model.governance import AskUser, Deny, GovernedCall
from kernelckpt.model.tcb import Tcb


def rejudge(core: Core) -> None:
    """Judge the calls again that are still to be made; the caller commits.

    A requested call that is denied now is answered with that; one about which a human is to be asked now is
    asked about, whatever was said before. They were counted against rate limits when they were asked for.
    A program's calls are judged again when its turn is run. A call that may have happened and must not be
    simply repeated is for a human anyhow.
    """
    for row in core.state.table.live():
        if core.cell(row.id).request is not None:
            _rejudge_request(core, row)
        else:
            _forget_allowed(core, row)


def _rejudge_request(core: Core, row: Tcb) -> None:
    cell, gated, was_held = core.cell(row.id), [], is_held(core, row.id)
    for number, effect in calls_of(cell).items():
        if not _is_to_be_made(effect):
            continue
        call = GovernedCall(effect.name, effect.call_id, msgspec.msgpack.decode(effect.arguments))
        verdict = core.gate.judge(row, call, is_counted=True)
        if isinstance(verdict, Deny):
            denied = replace(effect, status=EffectStatus.DENIED, error=str(refusal_of(verdict, effect.name)))
            core.state.put(("effect", row.id, number), denied)
            _drop_question(core, row.id, number)
        elif isinstance(verdict, AskUser) and question_about(number, cell.approvals.values()) is None:
            gated.append(Gated(number, effect, verdict.reason))
    if gated:
        suspend_gated(core, row, gated)
    elif was_held and not is_held(core, row.id):
        core.wake(row)


def _drop_question(core: Core, task_id: str, number: int) -> None:
    for key, item in list(core.cell(task_id).approvals.items()):
        if is_about_call(item, number):
            core.state.remove(("approval", task_id, key))


def _forget_allowed(core: Core, row: Tcb) -> None:
    """Have the calls of a program judged anew that were allowed, or that a human was asked about."""
    was_held, approvals = is_held(core, row.id), core.cell(row.id).approvals
    for number, effect in list(core.cell(row.id).effects.items()):
        is_asked = effect.in_doubt and question_about(number, approvals.values()) is not None
        if _is_to_be_made(effect) and not is_asked:
            core.state.remove(("effect", row.id, number))
            _drop_question(core, row.id, number)
    if was_held and not is_held(core, row.id):
        core.retry(row)


def _is_to_be_made(effect: Effect) -> bool:
    begun = effect.status is EffectStatus.STARTED
    return effect.policy is EffectPolicy.IDEMPOTENT if begun else not effect.decided
