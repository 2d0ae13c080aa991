"""The calls of one turn: which of them an earlier attempt has made, which are under way, which must wait."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import anyio
from msgspec import Struct
from msgspec.structs import replace

from kernelckpt.errors import GovernanceDenied, TurnEnded
from kernelckpt.kernel.cell import Cell
from kernelckpt.model.approval import Approval
from kernelckpt.model.effect import Effect

_inside: ContextVar[TurnCalls | None] = ContextVar("_inside", default=None)
"""The turn one of whose calls the running code is part of."""


def is_cut_off_by_gate(error: BaseException) -> bool:
    """Whether the running call failed since one that it makes, or made after another, waits for a human."""
    calls = _inside.get()
    if calls is None or not calls.gated:
        return False
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(GovernanceDenied) is not None
    return isinstance(error, GovernanceDenied)


class Gated(Struct, frozen=True):
    """A call that a human must allow first: its number in the ledger, its record, and why."""

    number: int
    effect: Effect
    reason: str

    def because_of(self, question: Approval) -> Gated:
        """The same, for the reason that the question to the human gives."""
        payload = question.payload if isinstance(question.payload, dict) else {}
        return replace(self, reason=str(payload.get("reason", question.prompt)))


class TurnCalls:
    """The calls one turn makes, and those that an earlier attempt at it has left in the ledger."""

    __slots__ = ("_closing", "_on_quiet", "_over", "_recorded", "_seen", "_under_way", "gated")

    def __init__(self, cell: Cell) -> None:
        self._recorded = {(e.name, e.digest, e.occurrence): number for number, e in cell.effects.items()}
        self._seen: dict[tuple[str, bytes], int] = {}
        self._under_way = 0
        self._closing = False
        self._over: anyio.Event | None = None
        self._on_quiet: list[Callable[[], None]] = []
        self.gated: dict[int, Gated] = {}

    def count(self, name: str, digest: bytes) -> tuple[int, int | None]:
        """How many alike came before in this turn, and the number of this call's record if there is one."""
        occurrence = self._seen.get((name, digest), 0)
        self._seen[name, digest] = occurrence + 1
        return occurrence, self._recorded.get((name, digest, occurrence))

    def uncount(self, name: str, digest: bytes) -> None:
        """Forget the call counted last, which was refused and leaves no record: one alike takes its place.

        Else a rerun, in which the first is allowed, would not find the record of the one that was made.
        """
        self._seen[name, digest] -= 1

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """While a call is made."""
        self._under_way += 1
        outer = _inside.get()
        _inside.set(self)
        try:
            yield
        finally:
            _inside.set(outer)
            self._under_way -= 1
            if not self._under_way:
                for callback in self._on_quiet:
                    callback()
                self._on_quiet.clear()

    def close(self, then: Callable[[], None]) -> None:
        """Begin no call any more, and call back when none is under way."""
        self._closing = True
        if self._under_way:
            self._on_quiet.append(then)
        else:
            then()

    def end(self) -> None:
        """The turn is over: calls that still wait to begin never will."""
        if self._over is not None:
            self._over.set()

    async def admit(self) -> None:
        """Let a call begin, or wait for the end of the turn if none may begin any more.

        A call that is made by one under way is part of it, and begins.

        Raises:
            GovernanceDenied: an earlier call of this turn waits for a human.
            TurnEnded: the turn was broken off.
        """
        self.refuse_if_gated()
        if self._closing and _inside.get() is not self:
            self._over = self._over or anyio.Event()
            await self._over.wait()
            message = "the turn was broken off: no call is begun for it"
            raise TurnEnded(message, hint="await calls within the turn that makes them")

    def refuse_if_gated(self) -> None:
        """Raise `GovernanceDenied` if an earlier call of this turn waits for a human."""
        for gated in self.gated.values():
            raise self._refusal(gated)

    async def gate(self, gated: Gated) -> GovernanceDenied:
        """Note that a call waits for a human; the error to raise, once those under way are done."""
        self.gated[gated.number] = gated
        await self.quiet()
        return self._refusal(gated)

    async def quiet(self) -> None:
        """Wait until no call is under way; within one of them at once, for it would wait for itself."""
        if self._under_way and _inside.get() is not self:
            quiet = anyio.Event()
            self._on_quiet.append(quiet.set)
            await quiet.wait()

    def gate_now(self, gated: Gated) -> GovernanceDenied:
        """The same for what is not awaited."""
        self.gated[gated.number] = gated
        return self._refusal(gated)

    def _refusal(self, gated: Gated) -> GovernanceDenied:
        name = gated.effect.name
        return GovernanceDenied(
            f"{name} waits for a human: {gated.reason}",
            hint="let the error through: the turn is run again when somebody has decided",
            name=name,
            stage="permission",
            reason=gated.reason,
        )
