"""The recorded steps of a straight-line function: when a new one may begin, and the waits among them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from kernelckpt.abc import Key
from kernelckpt.errors import StepLimitError, StepMismatchError
from kernelckpt.kernel.calls.call_record import argument_digest
from kernelckpt.kernel.turn.calls import TurnCalls
from kernelckpt.kernel.turn.turn import Turn
from kernelckpt.model.effect import Effect, EffectPolicy, EffectStatus


class Limits(Struct, frozen=True):
    """How much a function may have recorded: so many steps, and so many bytes of what they gave."""

    steps: int
    bytes: int


class Asked(Struct, frozen=True):
    """A wait as it is asked for.

    Attributes:
        effect: its record, or what is to become that.
        number: the record's number; 0 if there is none yet.
    """

    effect: Effect
    number: int = 0

    @property
    def outcome(self) -> bytes | None:
        """What is recorded of it; None if nothing is."""
        return self.effect.outcome if self.number else None


class Journal:
    """The ledger of one task as the journal of its function: nothing in it is dropped while it lives."""

    def __init__(self, turn: Turn, limits: Limits) -> None:
        self._core = turn.core
        self._task_id = turn.task.id
        self._cell = self._core.cell(self._task_id)
        self._limits = limits
        self._calls: TurnCalls = turn.calls
        self._calls.keep(self.admit)
        self._bytes = 0
        self._seen = 0
        self._open: set[int] = set()

    async def admit(self, asked: Effect) -> None:
        """Let a step begin that is not recorded.

        Raises:
            StepMismatchError: recorded ones were not asked for: the function goes another way.
            StepLimitError: it would be one too many.
        """
        await self.refuse_left(described(asked))
        effects, kept = self._cell.effects, self._kept_bytes()
        if len(effects) >= self._limits.steps or kept >= self._limits.bytes:
            message = f"{len(effects):,} steps are recorded, with {kept:,} bytes of what they gave"
            hint = "give straight_line a higher max_steps or max_bytes, or let each part be a task of its own"
            raise StepLimitError(message, hint=hint)

    def _kept_bytes(self) -> int:
        """The bytes of all outcomes; each is counted once in an attempt."""
        effects = self._cell.effects
        if not self._seen:
            self._open.update(effects)
        self._open.update(range(self._seen or self._cell.next_number, self._cell.next_number))
        self._seen = self._cell.next_number
        for number in [n for n in self._open if n not in effects or effects[n].decided]:
            self._open.discard(number)
            self._bytes += len(effects[number].outcome) if number in effects else 0
        return self._bytes

    async def refuse_left(self, asked: str) -> None:
        """Raise `StepMismatchError` if there are recorded steps that this attempt has not asked for.

        Args:
            asked: what it does instead.
        """
        found = [self._cell.effects[n] for n in await self._calls.left() if n in self._cell.effects]
        if not found:
            return
        recorded = [described(effect) for effect in found]
        more = f" and {len(recorded) - 3} more" if len(recorded) > 3 else ""
        message = (
            f"the function was run again and goes another way: recorded is {', '.join(recorded[:3])}{more}; "
            f"asked for is {asked}"
        )
        hint = "what decides on its way must come from steps; for changed code give straight_line a `version`"
        raise StepMismatchError(message, hint=hint, recorded=tuple(recorded), asked=asked)

    async def ask(self, name: str, *arguments: Any) -> Asked:
        """Look a wait up; one that is not recorded is let begin, as any other step."""
        data = self._core.redactor.encoded(msgspec.msgpack.encode((arguments, {})), f"arguments of {name}")
        effect, number = self._calls.count(name, argument_digest(data))
        if number is not None:
            return Asked(self._cell.effects[number], number)
        effect = replace(effect, policy=EffectPolicy.IDEMPOTENT, arguments=data)
        await self.admit(effect)
        return Asked(effect)

    def record(self, asked: Asked, outcome: bytes, consumed: Sequence[Key] = ()) -> Asked:
        """Record what a wait gave, in one commit with the removal of what it has consumed."""
        done = replace(asked.effect, status=EffectStatus.RETURNED, outcome=outcome, runs=1)
        number = asked.number or self._cell.take_number()
        for key in consumed:
            self._core.state.remove(key)
        self._core.state.put(("effect", self._task_id, number), done)
        self._core.state.commit(urgent=False)
        return Asked(done, number)


def described(effect: Effect) -> str:
    """A step for a human to read: its name and arguments, as far as they are kept."""
    key = f" with the key {effect.key!r}" if effect.key else ""
    if not effect.arguments:
        return f"{effect.name}(...){key}"
    positional, named = msgspec.msgpack.decode(effect.arguments)
    shown = [repr(each) for each in positional] + [f"{name}={each!r}" for name, each in named.items()]
    text = ", ".join(shown)
    return f"{effect.name}({text if len(text) <= 200 else text[:200] + '...'}){key}"
