"""Questions of the kernel itself to a human: about effects in doubt, gated calls, and phases to be judged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from kernelckpt.kernel.turn.calls import Gated
from kernelckpt.model.approval import Approval
from kernelckpt.model.effect import Effect, EffectStatus
from kernelckpt.model.milestone import MilestonePhase

EFFECT_KEY = "effect:"
"""What the key of a question about a call begins with."""

PHASE_KEY = "milestone:"
"""What the key of a question about a phase begins with."""

KERNEL_KEYS = (EFFECT_KEY, PHASE_KEY)
"""What keys of programs must not begin with."""


def effect_key(number: int, turns: int, effect: Effect, *, is_left: bool = False) -> str:
    """The key of a question about a call, or about one that is left out: an answer fits one doubt only."""
    return f"{EFFECT_KEY}{number}.{turns}.{effect.runs}{_LEFT if is_left else ''}"


_LEFT = ".left"
"""What the key of a question about a call ends with that a turn leaves out at its end."""


_RECORDED = "recorded"
"""Where the payload of a question tells what an earlier attempt at a turn has done."""

_SHOWN_BYTES = 1024
"""Outcomes up to this size are shown whole to who has to decide."""


def effect_number_of(key: str) -> int:
    """The number of the call that a question is about."""
    return int(key.removeprefix(EFFECT_KEY).partition(".")[0])


def is_about_ending(key: str) -> bool:
    """Whether a question is about the end of a turn without a call, and not about making one."""
    return key.endswith(_LEFT)


def is_about_call(item: Approval, number: int) -> bool:
    """Whether a question that nobody has answered yet is about a call."""
    return item.pending and item.key.startswith(EFFECT_KEY) and effect_number_of(item.key) == number


def question_about(number: int, approvals: Iterable[Approval]) -> Approval | None:
    """The open question about a call, if there is one, in whatever turn it was asked."""
    return next((item for item in approvals if is_about_call(item, number)), None)


def doubt_question(task_id: str, key: str, effect: Effect, now_ms: int) -> Approval:
    """Whether a call that may have happened is to be done again."""
    prompt = (
        f"{effect.name} was begun and may have happened. "
        "Approve: do it again. Approve with an outcome: it happened, and gave that. Deny: do not."
    )
    payload = _payload(effect)
    if effect.error:
        payload["reason"] = effect.error
    return Approval(task_id, key, prompt, payload, asked_at_ms=now_ms)


def path_question(
    task_id: str, key: str, gated: Gated, recorded: Mapping[int, Effect], now_ms: int
) -> Approval:
    """Whether a turn may go on that was run again and goes another way than before.

    Args:
        task_id: the task.
        key: the key of the question.
        gated: what the turn asks for instead; or the first of those that it has left out, if it ends.
        recorded: what an earlier attempt at it has done and this one does not ask for, by number.
        now_ms: wall time of the question.
    """
    done = ", ".join(_course(effect) for effect in recorded.values())
    asked = (
        f"asks for {_other(gated.effect, recorded.values())}. Approve: make the new call. "
        "Approve with an outcome: do not make it, it gave that. Deny: do not make it."
    )
    if gated.number in recorded:
        asked = "ends without that. Approve: go on like that. Deny: the task fails."
    payload = {**_payload(gated.effect), "status": gated.effect.status.value, "reason": gated.reason}
    payload[_RECORDED] = [_account(number, effect) for number, effect in recorded.items()]
    prompt = f"An earlier attempt {done}; the turn was run again and {asked}"
    return Approval(task_id, key, prompt, payload, asked_at_ms=now_ms)


def _course(effect: Effect) -> str:
    """What an earlier attempt at a turn did about a call, and what is known of it."""
    name = effect.name
    match effect.status:
        case EffectStatus.RETURNED:
            return f"made {name}"
        case EffectStatus.RAISED:
            return f"called {name} (it raised, and may have done something)"
        case EffectStatus.STARTED:
            return f"began {name} (it may have happened)"
    again = " again" if effect.runs else ""
    word = (
        f"not to be made{again}" if effect.status is EffectStatus.DENIED else f"allowed{again}, and not made"
    )
    if effect.runs:
        return f"began {name} (it may have happened; it was {word})"
    return f"asked for {name} (it was {word})"


def _other(asked: Effect, recorded: Iterable[Effect]) -> str:
    """What a turn asks for now, told from what is recorded."""
    alike = [effect.digest for effect in recorded if effect.name == asked.name]
    if not alike:
        return f"{asked.name} instead"
    return f"another {asked.name}" if asked.digest in alike else f"{asked.name} with other arguments"


def left_in(item: Approval) -> tuple[int, ...]:
    """The numbers of the calls that a question tells of as left out by a later attempt; mostly none."""
    told = item.payload.get(_RECORDED) if isinstance(item.payload, dict) else None
    accounts = told if isinstance(told, list) else []
    numbers = [account.get("number") for account in accounts if isinstance(account, dict)]
    return tuple(number for number in numbers if type(number) is int)


def _account(number: int, effect: Effect) -> dict[str, Any]:
    """What is recorded of a call, for a human to read."""
    account = {"number": number, **_payload(effect), "status": effect.status.value}
    if effect.error:
        account["error"] = effect.error
    if effect.outcome:
        is_short = len(effect.outcome) <= _SHOWN_BYTES
        shown = _as_json(msgspec.msgpack.decode(effect.outcome)) if is_short else None
        account["outcome"] = shown if is_short else f"{len(effect.outcome)} bytes"
    return account


def gate_question(task_id: str, key: str, effect: Effect, reason: str, now_ms: int) -> Approval:
    """Whether a call that governance has gated may be made."""
    prompt = f"{effect.name} needs a human's word: {reason}. Approve: it is done. Deny: it is not."
    payload = {**_payload(effect), "reason": reason}
    if effect.call_id:
        payload["call_id"] = effect.call_id
    return Approval(task_id, key, prompt, payload, asked_at_ms=now_ms)


def phase_question(task_id: str, phase: MilestonePhase, turns: int, text: str, now_ms: int) -> Approval:
    """Whether a phase is passed that a task takes for done."""
    prompt = f"Phase {phase.id} is said to be done. Approve: it is passed. Deny: it is not."
    payload = {"phase": phase.id, "text": text, "criteria": list(phase.criteria)}
    key = f"{PHASE_KEY}{phase.id}.{turns}"
    return Approval(task_id, key, prompt, payload, asked_at_ms=now_ms)


def _payload(effect: Effect) -> dict[str, Any]:
    """What a human needs to know of a call, as JSON would hold it."""
    payload: dict[str, Any] = {"effect": effect.name}
    if effect.arguments:
        arguments = msgspec.msgpack.decode(effect.arguments)
        if not effect.call_id:
            positional, named = arguments
            arguments = [*positional, named] if positional else named
        payload["arguments"] = _as_json(arguments)
    return payload


def _as_json(value: Any) -> Any:
    try:
        return msgspec.json.decode(msgspec.json.encode(value))
    except (TypeError, ValueError):  # as a dict with keys that are no text
        return repr(value)
