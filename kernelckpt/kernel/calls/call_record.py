"""Calls as the ledger keeps them, before they are made and after."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import msgspec
from msgspec.structs import replace

from kernelckpt.kernel.core import Core
from kernelckpt.model.effect import Effect, EffectPolicy, EffectStatus


def planned_call(core: Core, call_id: str, name: str, arguments: Any, turn: int) -> Effect:
    """The ledger entry of a tool call that the kernel is to make, asked for by a turn."""
    tools = core.tools
    policy = tools.find(name).effect if name in tools else EffectPolicy.ASK
    data = msgspec.msgpack.encode(arguments)
    return Effect(name, argument_digest(data), policy=policy, call_id=call_id, arguments=data, turn=turn)


def argument_digest(data: bytes) -> bytes:
    """What tells one call's arguments from another's."""
    return blake2b(data, digest_size=16).digest()


def settled(effect: Effect, status: EffectStatus, *, outcome: bytes = b"", error: str = "") -> Effect:
    """The entry of a call whose outcome is known. What may be repeated needs no arguments any more."""
    made = replace(effect, status=status, outcome=outcome, error=error, retry_at_ms=0)
    is_shown = made.call_id or made.policy is not EffectPolicy.IDEMPOTENT
    return made if is_shown else replace(made, arguments=b"")


def given_up(failed: Effect) -> Effect:
    """The entry of a call that raised and is not tried again."""
    return settled(failed, EffectStatus.RAISED, error=failed.error)
