"""The ledger of calls with consequences: the intent before, the outcome after."""

from __future__ import annotations

from enum import StrEnum

from kernelckpt.model.record import Record
from kernelckpt.model.scalar import U32, U64


class EffectPolicy(StrEnum):
    """What may be done with a call of which nobody knows whether it happened.

    It is made again (IDEMPOTENT), a human decides (ASK), the other side is asked (PROBE), it raises (FAIL).
    """

    IDEMPOTENT = "idempotent"
    ASK = "ask"
    PROBE = "probe"
    FAIL = "fail"


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
        arguments: the encoded arguments of a tool call; those of a call made by a program, as [positional,
            named], if they are short and somebody may have to decide on it.
        outcome: the encoded return value.
        error: type and text of what it raised, or why it was denied.
        runs: how often it was begun.
        error_kind: what kind of error it was, a label of `ToolErrorKind`; "" for an ordinary one.
        key: what the program calls it by, instead of its arguments and its place among those alike; or "".
        token: the idempotency key that the function is given; "" for one that takes none.
        turn: the turn of its task in which it was asked for; 0 if nobody has noted it.
        within: the number of the call that this one is part of; 0 for none.
        tries: how many of its runs have failed in a way that may be tried again.
        retry_at_ms: wall time before which it is not to be tried again.
        is_left: whether a human has let a later attempt at the turn go on without it.
        is_instead: whether a human has answered if it is made in place of such calls.
        is_registered: whether a program has called it as a tool of the scheduler, and not as a function.
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
    key: str = ""
    token: str = ""
    turn: U32 = 0
    within: U64 = 0
    tries: U32 = 0
    retry_at_ms: U64 = 0
    is_left: bool = False
    is_instead: bool = False
    is_registered: bool = False

    @property
    def decided(self) -> bool:
        """Whether its outcome is known."""
        return self.status in _DECIDED

    @property
    def has_happened(self) -> bool:
        """Whether it was made, or may have been."""
        return self.status in _HAPPENED

    @property
    def in_doubt(self) -> bool:
        """Whether it was begun and nobody knows what became of it."""
        return self.status is EffectStatus.STARTED


_HAPPENED = frozenset({EffectStatus.STARTED, EffectStatus.RETURNED, EffectStatus.RAISED})
_DECIDED = frozenset({EffectStatus.RETURNED, EffectStatus.RAISED, EffectStatus.DENIED})
