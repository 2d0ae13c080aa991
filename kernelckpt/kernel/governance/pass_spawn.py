"""Spawns before the gate: governance is asked about each child as it is staged."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from kernelckpt.codec.record import encode_record
from kernelckpt.errors import GovernanceDenied
from kernelckpt.kernel.calls.call_record import argument_digest
from kernelckpt.kernel.core import Core
from kernelckpt.kernel.governance.gate import refusal_of
from kernelckpt.kernel.governance.quota import SPAWN
from kernelckpt.kernel.new_task import Spawn
from kernelckpt.kernel.question import question_about
from kernelckpt.kernel.turn.calls import Gated, TurnCalls
from kernelckpt.model.effect import EffectStatus
from kernelckpt.model.governance import AskUser


def pass_spawn(core: Core, task_id: str, spawn: Spawn, staged: int, calls: TurnCalls) -> None:
    """Let a child be staged if governance does; `staged` others are staged already.

    Raises:
        GovernanceError: it does not, or not before a human says so.
    """
    calls.refuse_if_gated()
    if core.gate.governance is None:
        return
    row, cell = core.state.row(task_id), core.cell(task_id)
    arguments = _arguments(spawn)
    encoded = msgspec.msgpack.encode([[], arguments])
    asked, number = calls.count(SPAWN, argument_digest(encoded))
    known = cell.effects.get(number) if number is not None else None
    if known is not None and number is not None:
        _as_decided(Gated(number, known, ""), core, task_id, calls)
        return
    verdict = core.gate.judge_spawn(row, arguments, staged)
    core.state.commit(urgent=False)
    refusal = refusal_of(verdict, SPAWN)
    if refusal is not None:
        calls.uncount(asked)
        raise refusal
    if isinstance(verdict, AskUser):
        effect = replace(asked, arguments=encoded)
        raise calls.gate_now(Gated(cell.take_number(), effect, verdict.reason))


def _arguments(spawn: Spawn) -> dict[str, Any]:
    """A child as governance and humans see it; one that differs in any of this is another call."""
    return {
        "program": spawn.program,
        "task_id": spawn.task_id,
        "goal": spawn.goal,
        "input": None if spawn.input is None else msgspec.msgpack.decode(spawn.input),
        "role": spawn.role.value,
        "isolation": spawn.isolation.value,
        "caps": list(spawn.caps),
        "messages": [msgspec.msgpack.decode(message) for message in spawn.messages],
        "budget": _plain(spawn.budget),
        "run_spec": _plain(spawn.spec),
    }


def _plain(record: msgspec.Struct | None) -> Any:
    return None if record is None else msgspec.msgpack.decode(encode_record(record))


def _as_decided(spawn: Gated, core: Core, task_id: str, calls: TurnCalls) -> None:
    """Do as a human has said of a spawn that an earlier attempt at the turn was to make."""
    question = question_about(spawn.number, core.cell(task_id).approvals.values())
    if question is not None:
        raise calls.gate_now(spawn.because_of(question))
    if spawn.effect.status is EffectStatus.DENIED:
        reason = spawn.effect.error
        hint = "let the error through to roll the turn back, or do without"
        message = f"{SPAWN} was denied: {reason}"
        raise GovernanceDenied(message, hint=hint, name=SPAWN, stage="permission", reason=reason)
