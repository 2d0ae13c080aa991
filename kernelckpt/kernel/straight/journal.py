"""The recorded steps of a straight-line function: when a new one may begin, and the waits among them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from kernelckpt.abc import Key
from kernelckpt.errors import StepLimitError, StepMismatchError, TurnEnded
from kernelckpt.kernel.calls.call_record import argument_digest
from kernelckpt.kernel.straight import branch
from kernelckpt.kernel.turn.calls import TurnCalls
from kernelckpt.kernel.turn.turn import Turn
from kernelckpt.model.effect import Effect, EffectPolicy, EffectStatus
from kernelckpt.model.task_state import StateKind


class Limits(Struct, frozen=True):
    """How much a function may have recorded: so many steps, and so many bytes of what they gave."""

    steps: int
    bytes: int


class NotNow(Exception):  # noqa: N818 - it is no error: the function is run again if it may
    """No step is begun any more in this turn: the budget is spent, or the kernel stops."""


class Asked(Struct, frozen=True):
    """A wait as it is asked for.

    Attributes:
        effect: its record, or what is to become that.
        number: the number of the record.
    """

    effect: Effect
    number: int

    @property
    def outcome(self) -> bytes | None:
        """What is recorded of it; None if nothing is."""
        return self.effect.outcome if self.effect.decided else None


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
        self._uncounted = set(self._cell.effects)

    async def admit(self, asked: Effect, number: int) -> None:
        """Let a step begin that is not recorded, under a number of its own.

        Raises:
            StepMismatchError: recorded ones were not asked for: the function goes another way.
            StepLimitError: it would be one too many.
            NotNow: the task's budget is spent, or the kernel stops.
        """
        await self.refuse_left(described(asked))
        budget = self._core.state.row(self._task_id).budget
        now_ms = None if budget.limits.max_wall_ms is None else self._core.work_ms()
        if self._core.is_stopping() or budget.exceeded(now_ms):
            raise NotNow
        effects, kept = self._cell.effects, self._kept_bytes()
        if len(effects) >= self._limits.steps or kept >= self._limits.bytes:
            message = f"{len(effects):,} steps are recorded, with {kept:,} bytes of what they gave"
            hint = "give straight_line a higher max_steps or max_bytes, or let each part be a task of its own"
            raise StepLimitError(message, hint=hint)
        self._uncounted.add(number)

    def _kept_bytes(self) -> int:
        """The bytes of all outcomes; each is counted once in an attempt."""
        effects = self._cell.effects
        for number in [n for n in self._uncounted if n in effects and effects[n].decided]:
            self._uncounted.remove(number)
            self._bytes += len(effects[number].outcome)
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
        hint = (
            "what decides on its way must come from steps, and branches side by side must await only them; "
            "for changed code give straight_line a `version`"
        )
        raise StepMismatchError(message, hint=hint, recorded=tuple(recorded), asked=asked)

    async def ask(self, name: str, *arguments: Any) -> Asked:
        """Look a wait up; one that is not recorded is let begin, as any other step.

        Branches side by side have waits alike more often than not: each is given its own.
        """
        data = self._core.redactor.encoded(msgspec.msgpack.encode((arguments, {})), f"arguments of {name}")
        place = msgspec.msgpack.encode(branch.current())
        effect, number = self._calls.count(name, argument_digest(data + place))
        if number is not None:
            return Asked(self._cell.effects[number], number)
        effect = replace(effect, policy=EffectPolicy.IDEMPOTENT, arguments=data)
        number = self._cell.take_number()
        await self.admit(effect, number)
        return Asked(effect, number)

    def record(self, asked: Asked, outcome: bytes, consumed: Sequence[Key] = ()) -> Asked:
        """Record what a wait gave, in one commit with the removal of what it has consumed.

        Raises:
            TurnEnded: the task is not at work any more.
        """
        row = self._core.state.table.get(self._task_id)
        if row is None or row.state.kind is not StateKind.RUNNING:
            message = f"task {self._task_id!r} is not at work: nothing is recorded for it"
            raise TurnEnded(message, hint="wait for nothing in `finally`")
        done = replace(asked.effect, status=EffectStatus.RETURNED, outcome=outcome, runs=1)
        for key in consumed:
            self._core.state.remove(key)
        self._core.state.put(("effect", self._task_id, asked.number), done)
        self._core.state.commit(urgent=False)
        return Asked(done, asked.number)


def described(effect: Effect) -> str:
    """A step for a human to read: its name and arguments, as far as they are kept."""
    key = f" with the key {effect.key!r}" if effect.key else ""
    if not effect.arguments:
        return f"{effect.name}(...){key}"
    positional, named = msgspec.msgpack.decode(effect.arguments)
    shown = [repr(each) for each in positional] + [f"{name}={each!r}" for name, each in named.items()]
    text = ", ".join(shown)
    return f"{effect.name}({text if len(text) <= 200 else text[:200] + '...'}){key}"
