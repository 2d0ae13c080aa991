"""Questions that tasks wait for a human with, and what the answers change."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import UNSET
from msgspec.structs import replace

from kernelckpt.codec.value import ValueCodec, check_size
from kernelckpt.errors import DecodeError, InvalidValueError, UsageError
from kernelckpt.kernel.argument import check_text, texts
from kernelckpt.kernel.calls.call_record import settled
from kernelckpt.kernel.core import Core
from kernelckpt.kernel.kept_call import number_in
from kernelckpt.kernel.phase import settle_phase
from kernelckpt.kernel.question import (
    EFFECT_KEY,
    KERNEL_KEYS,
    PHASE_KEY,
    doubt_question,
    effect_key,
    effect_number_of,
    gate_question,
    is_about_ending,
    left_in,
    path_question,
    question_about,
)
from kernelckpt.kernel.turn.calls import Gated
from kernelckpt.model.approval import Approval, ApprovalStatus
from kernelckpt.model.effect import Effect, EffectPolicy, EffectStatus
from kernelckpt.model.os_event import ToolGated
from kernelckpt.model.task_state import TaskState
from kernelckpt.model.tcb import Tcb
from kernelckpt.model.termination import TerminationReason
from kernelckpt.model.wait import WaitKind, WaitReason

_PLAIN = ValueCodec()


def answer(
    core: Core,
    task_id: str,
    keys: Sequence[str],
    status: ApprovalStatus,
    *,
    by: str | None,
    reason: str,
    outcome: Any = UNSET,
) -> None:
    """Approve or deny questions of a task by key; with an outcome, a call is done and has returned that.

    Raises:
        UsageError: a key is not one of its questions, or was answered the other way; or there is an outcome,
            and not just one call that it is of.
        InvalidValueError: `by` or `reason` is no text, or the outcome cannot be one of the call.
    """
    check_text(reason, "reason")
    if by is not None:
        check_text(by, "by")
    found = {
        item.key: (number, item) for number, item in core.cell(core.state.row(task_id).id).approvals.items()
    }
    for key in texts(keys, "ids"):
        if key not in found:
            pending = ", ".join(k for k, (_, item) in found.items() if item.pending) or "none"
            raise UsageError(_unasked(core, task_id, key), hint=f"pending: {pending}")
        if found[key][1].status not in {ApprovalStatus.PENDING, status}:
            raise UsageError(f"{key!r} of task {task_id!r} was {found[key][1].status.value} already")
        if status is ApprovalStatus.APPROVED and _is_late(core, found[key][1]):
            hint = "silence counts as denied; the task may ask under another key"
            raise UsageError(f"the time to answer {key!r} of task {task_id!r} is over", hint=hint)
    data = None if outcome is UNSET else _outcome(core, task_id, keys, outcome)
    check_size(data or b"", "outcome")
    named = tuple(_name_of(core, task_id, key) for key in dict.fromkeys(keys))
    is_settled = False
    for number in [found[key][0] for key in dict.fromkeys(keys)]:
        item = core.cell(task_id).approvals.get(number)  # one before it may have ended the task
        if item is not None and item.pending:
            is_settled = True
            _settle(core, task_id, number, replace(item, status=status, by=by, reason=reason), data)
    row = core.state.row(task_id)
    if core.waits_for(row, WaitKind.APPROVAL) and not _still_waits(core, task_id, is_settled=is_settled):
        core.wake(row, **{"approved" if status is ApprovalStatus.APPROVED else "denied": named})
    core.state.commit()


def _unasked(core: Core, task_id: str, key: str) -> str:
    """Why there is no question under a key; the kernel's own are forgotten once they are answered."""
    if core.state.row(task_id).state.is_terminal():
        return f"task {task_id!r} has ended: it asks nothing under {key!r} any more"
    number = number_in(key) if key.startswith(EFFECT_KEY) else None
    is_known = number is not None and 0 < number < core.cell(task_id).next_number
    if is_known or key.startswith(PHASE_KEY):
        gone = "it was answered already, or its turn has gone on without it"
        return f"task {task_id!r} asks nothing under {key!r} any more: {gone}"
    return f"task {task_id!r} asked nothing under {key!r}"


def _is_late(core: Core, item: Approval) -> bool:
    """Whether the time to answer a question is over; a task that was interrupted is not woken by that."""
    return item.pending and item.expires_at_ms is not None and item.expires_at_ms <= core.clock.wall_ms()


def _name_of(core: Core, task_id: str, key: str) -> str:
    """How the event log names what a question is about: by the id of an assistant's call, else the key."""
    if not key.startswith(EFFECT_KEY):
        return key
    effect = core.cell(task_id).effects.get(effect_number_of(key))  # its turn may have gone another way since
    return key if effect is None else effect.call_id or key


def _still_waits(core: Core, task_id: str, *, is_settled: bool) -> bool:
    """Whether a task goes on waiting: the kernel's own questions come before its program's.

    Of several questions that the program has asked, as one before an interrupt and one after it, any answer
    gives it a turn: it need not wait for the one that it has given up.
    """
    return is_held(core, task_id) or (not is_settled and bool(pending_approvals(core, task_id)))


def is_held(core: Core, task_id: str) -> bool:
    """Whether the kernel itself asks a human about a task."""
    return any(item.key.startswith(KERNEL_KEYS) for item in pending_approvals(core, task_id))


def _outcome(core: Core, task_id: str, keys: Sequence[str], value: Any) -> bytes:
    """What somebody says that a call has returned, as the ledger keeps it."""
    effects = core.cell(task_id).effects
    numbers = [effect_number_of(key) for key in keys if key.startswith(EFFECT_KEY)]
    effect = effects.get(numbers[0]) if len(numbers) == len(keys) == 1 else None
    if effect is None or effect.decided or is_about_ending(keys[0]):
        hint = "name the key of one question about a call that is in doubt or not made yet"
        raise UsageError("an outcome is that of one call", hint=hint)
    path = f"the value of {effect.name}"
    tool = core.tools.find(effect.name) if effect.name in core.tools else None
    returns, declared = (_PLAIN, _PLAIN) if tool is None else (tool.returns, tool.declared)
    try:
        data = core.redactor.value(returns, value, path)
    except InvalidValueError:
        data = core.redactor.value(_PLAIN, value, path)  # as JSON would hold it
    try:
        declared.decode(data, path)
    except DecodeError as error:
        raise InvalidValueError(error.message, path=path, hint="give what the tool returns") from None
    return data


def _settle(core: Core, task_id: str, number: int, item: Approval, outcome: bytes | None) -> None:
    if item.key.startswith(EFFECT_KEY):
        core.state.remove(("approval", task_id, number))
        _settle_call(core, task_id, item, outcome)
    elif item.key.startswith(PHASE_KEY):
        core.state.remove(("approval", task_id, number))
        settle_phase(core, task_id, passed=item.approved, reason=item.reason or "denied")
    else:
        core.state.put(("approval", task_id, number), item)


def _settle_call(core: Core, task_id: str, item: Approval, outcome: bytes | None) -> None:
    number, effects, left = effect_number_of(item.key), core.cell(task_id).effects, left_in(item)
    for each in left:
        if each in effects:
            core.state.put(("effect", task_id, each), replace(effects[each], is_left=True))
    effect = effects.get(number)
    if number in left:
        if not item.approved:
            reason = item.reason or "denied"
            core.end(core.state.row(task_id), TerminationReason.ERROR, error=f"another path: {reason}")
    elif effect is None or effect.decided:  # its turn has left it behind: no doubt is left
        return
    else:
        answered = replace(effect, is_instead=effect.is_instead or bool(left))
        core.state.put(("effect", task_id, number), _answered(answered, item, outcome))


def _answered(effect: Effect, item: Approval, outcome: bytes | None) -> Effect:
    """The entry of a call once a human has answered the question about it."""
    if outcome is not None:
        return settled(effect, EffectStatus.RETURNED, outcome=outcome)
    status = EffectStatus.PLANNED if item.approved else EffectStatus.DENIED
    return replace(effect, status=status, error="" if item.approved else item.reason or "denied")


def pending_approvals(core: Core, task_id: str) -> list[Approval]:
    """The questions of a task that nobody has answered."""
    return [item for item in core.cell(task_id).approvals.values() if item.pending]


def pending_keys(core: Core, task_id: str) -> tuple[str, ...]:
    """The keys of a task's questions that nobody has answered.

    Raises:
        UnknownTaskError: no such task.
    """
    return tuple(item.key for item in pending_approvals(core, core.state.row(task_id).id))


def check_named(keys: Sequence[str]) -> None:
    """Raise `UsageError` if an approval names no question."""
    if not keys:
        raise UsageError("approve without a key approves nothing", hint="name the keys from approvals()")


def is_in_doubt(core: Core, task_id: str) -> bool:
    """Whether a human must say, or is asked, what became of a call of a task."""
    cell = core.cell(task_id)
    return any(
        effect.policy is EffectPolicy.ASK or question_about(number, cell.approvals.values()) is not None
        for number, effect in cell.effects.items()
        if effect.in_doubt
    )


def suspend_in_doubt(core: Core, row: Tcb) -> list[str]:
    """Suspend a task until somebody decides its effects in doubt; their keys, none if there are none."""
    cell = core.cell(row.id)
    known = {item.key for item in cell.approvals.values()}
    keys = []
    for number in core.open_effects_to_ask(row.id):
        effect = cell.effects[number]
        keys.append(effect_key(number, row.budget.turns, effect))
        if keys[-1] not in known:
            item = doubt_question(row.id, keys[-1], effect, core.clock.wall_ms())
            core.state.put(("approval", row.id, cell.take_number()), item)
    if keys:
        _suspend(core, row)
    return keys


def suspend_gated(core: Core, row: Tcb, gated: Iterable[Gated]) -> None:
    """Suspend a task until somebody decides the calls that governance has gated."""
    cell = core.cell(row.id)
    known = {item.key for item in cell.approvals.values()}
    names = []
    for item in gated:
        is_left = item.number in item.left
        key = effect_key(item.number, row.budget.turns, item.effect, is_left=is_left)
        names.append(item.effect.call_id or key)
        if key in known:
            continue
        core.state.put(("effect", row.id, item.number), item.effect)
        core.state.put(("approval", row.id, cell.take_number()), _question(core, row.id, key, item))
        core.state.note(ToolGated(core.state.totals.turn, names[-1], item.effect.name, item.reason))
    core.ask(row.id)
    _suspend(core, row, names)


def _question(core: Core, task_id: str, key: str, gated: Gated) -> Approval:
    now = core.clock.wall_ms()
    if gated.left:
        effects = core.cell(task_id).effects
        recorded = {number: effects[number] for number in gated.left if number in effects}
        return path_question(task_id, key, gated, recorded, now)
    if gated.effect.in_doubt:
        return doubt_question(task_id, key, gated.effect, now)
    return gate_question(task_id, key, gated.effect, gated.reason, now)


def drop_questions(core: Core, task_id: str) -> None:
    """Drop the questions about the calls of a task: what they are about is undone.

    A program's call goes with its question: without it, it would pass for one that a human has allowed.
    """
    cell = core.cell(task_id)
    for number, item in list(cell.approvals.items()):
        if item.pending and item.key.startswith(EFFECT_KEY):
            core.state.remove(("approval", task_id, number))
            call = effect_number_of(item.key)
            effect = cell.effects[call]
            if effect.status is EffectStatus.PLANNED and not effect.call_id and not effect.runs:
                core.state.remove(("effect", task_id, call))


def _suspend(core: Core, row: Tcb, pending: Sequence[str] = ()) -> None:
    wait = WaitReason.approval()
    suspended = replace(row, state=TaskState.SUSPENDED, wait=wait, deferred_until=None)
    core.state.put_row(suspended, pending=pending)
