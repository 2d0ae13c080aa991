"""The ledger of calls with consequences: the intent before, the outcome after."""

from __future__ import annotations

from enum import StrEnum

from kernelckpt.model.record import Record
from kernelckpt.model.scalar import U32


class EffectPolicy(StrEnum):
    """What may be done with a call of which nobody knows whether it happened."""

    IDEMPOTENT = "idempotent"
    ASK = "ask"


class EffectStatus(StrEnum):
    """How far a call has come."""

    PLANNED = "planned"
    STARTED = "started"
    RETURNED = "returned"
    RAISED = "raised"
    DENIED = "denied"


class Effect(Record, frozen=True, gc=False):
    """One call made through the kernel.

    Attributes:
        name: the tool's or function's name.
        digest: BLAKE2b-128 of its encoded arguments.
        occurrence: how many alike (name and digest) came before it in the same turn.
        policy: what may be done when it is in doubt.
        status: how far it has come.
        call_id: the id of the assistant's tool call it answers; "" for calls made by a program.
        arguments: the encoded arguments of a tool call; those of a call made by a program while it may come
            to be in doubt, as [positional, named], if they are short.
        outcome: the encoded return value.
        error: type and text of what it raised, or why it was denied.
        runs: how often it was begun.
        error_kind: what kind of error it was, a label of `ToolErrorKind`; "" for an ordinary one.
    """

    name: str
    digest: bytes
    occurrence: U32 = 0
    policy: EffectPolicy = EffectPolicy.ASK
    status: EffectStatus = EffectStatus.PLANNED
    call_id: str = ""
    arguments: bytes = b""
    outcome: bytes = b""
    error: str = ""
    runs: U32 = 0
    error_kind: str = ""

    @property
    def decided(self) -> bool:
        """Whether its outcome is known."""
        return self.status in _DECIDED

    def matches(self, name: str, digest: bytes, occurrence: int) -> bool:
        """Whether it is the record of this call."""
        return (self.name, self.digest, self.occurrence) == (name, digest, occurrence)


_DECIDED = frozenset({EffectStatus.RETURNED, EffectStatus.RAISED, EffectStatus.DENIED})
