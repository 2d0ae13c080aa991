"""Questions of the kernel itself to a human: about effects in doubt, gated calls, and phases to be judged."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from kernelckpt.model.approval import Approval
from kernelckpt.model.effect import Effect
from kernelckpt.model.milestone import MilestonePhase

EFFECT_KEY = "effect:"
"""What the key of a question about a call begins with."""

PHASE_KEY = "milestone:"
"""What the key of a question about a phase begins with."""

KERNEL_KEYS = (EFFECT_KEY, PHASE_KEY)
"""What keys of programs must not begin with."""


def effect_key(number: int, turns: int, effect: Effect) -> str:
    """The key of a question about a call: an answer fits one doubt only."""
    return f"{EFFECT_KEY}{number}.{turns}.{effect.runs}"


def effect_number_of(key: str) -> int:
    """The number of the call that a question is about."""
    return int(key.removeprefix(EFFECT_KEY).partition(".")[0])


def is_about_call(item: Approval, number: int) -> bool:
    """Whether a question that nobody has answered yet is about a call."""
    return item.pending and item.key.startswith(EFFECT_KEY) and effect_number_of(item.key) == number


def question_about(number: int, approvals: Iterable[Approval]) -> Approval | None:
    """The open question about a call, if there is one, in whatever turn it was asked."""
    return next((item for item in approvals if is_about_call(item, number)), None)


def doubt_question(task_id: str, key: str, effect: Effect, now_ms: int) -> Approval:
    """Whether a call that may have happened is to be done again."""
    prompt = f"{effect.name} was begun and may have happened. Approve: do it again. Deny: do not."
    return Approval(task_id, key, prompt, _payload(effect), asked_at_ms=now_ms)


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
