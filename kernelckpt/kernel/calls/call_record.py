"""Tool calls as the ledger keeps them before they are made."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import msgspec

from kernelckpt.kernel.core import Core
from kernelckpt.model.effect import Effect, EffectPolicy


def planned_call(core: Core, call_id: str, name: str, arguments: Any) -> Effect:
    """The ledger entry of a tool call that the kernel is to make."""
    tools = core.tools
    policy = tools.find(name).effect if name in tools else EffectPolicy.ASK
    data = msgspec.msgpack.encode(arguments)
    return Effect(name, argument_digest(data), policy=policy, call_id=call_id, arguments=data)


def argument_digest(data: bytes) -> bytes:
    """What tells one call's arguments from another's."""
    return blake2b(data, digest_size=16).digest()
