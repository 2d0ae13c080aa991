"""The calls of one turn: which of them an earlier attempt has made, which are under way, which must wait."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeAlias

import anyio
from anyio.lowlevel import checkpoint
from msgspec import Struct
from msgspec.structs import replace

from kernelckpt.errors import GovernanceDenied, TurnEnded, UsageError
from kernelckpt.kernel.cell import Cell
from kernelckpt.model.approval import Approval
from kernelckpt.model.effect import Effect, EffectPolicy

_inside: ContextVar[tuple[TurnCalls, int] | None] = ContextVar("_inside", default=None)
"""The turn one of whose calls the running code is part of, and the number of that call."""

_ROUNDS = 64
"""How often the rest of a turn is let run, and asks for no call that an earlier attempt has made, before one
that none has made counts as another path: calls made side by side come in any order."""

Identity: TypeAlias = tuple[int, str, str | bytes, int]
"""What a call is known by in its turn: the call that it is part of, its name, its key or the digest of its
arguments, and how many alike came before."""


def identity_of(effect: Effect) -> Identity:
    """What a rerun knows a call by."""
    return effect.within, effect.name, effect.key or effect.digest, effect.occurrence


def is_cut_off_by_gate(error: BaseException) -> bool:
    """Whether the running call failed since one that it makes, or made after another, waits for a human."""
    inside = _inside.get()
    if inside is None or not inside[0].gated:
        return False
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(GovernanceDenied) is not None
    return isinstance(error, GovernanceDenied)


class Gated(Struct, frozen=True):
    """A call that a human must allow first: its number in the ledger, its record, and why.

    `left` are the numbers of those that an earlier attempt has made, and that this one does not ask for.
    """

    number: int
    effect: Effect
    reason: str
    left: tuple[int, ...] = ()

    def because_of(self, question: Approval) -> Gated:
        """The same, for the reason that the question to the human gives."""
        payload = question.payload if isinstance(question.payload, dict) else {}
        return replace(self, reason=str(payload.get("reason", question.prompt)))


class TurnCalls:
    """The calls one turn makes, and those that an earlier attempt at it has left in the ledger."""

    __slots__ = (
        "_at_work",
        "_cell",
        "_closing",
        "_keys",
        "_old",
        "_old_seen",
        "_on_quiet",
        "_over",
        "_recorded",
        "_seen",
        "_turn",
        "_unasked",
        "_under_way",
        "admits_new",
        "gated",
    )

    def __init__(self, cell: Cell, turn: int) -> None:
        """`turn` is the number of the turn, of which this is the first attempt or a later one."""
        self._cell = cell
        self._turn = turn
        self._recorded: dict[Identity, int] = {}
        self._old: dict[tuple[str, str | bytes, int], int] = {}
        self._unasked: set[int] = set()
        for number, effect in cell.effects.items():
            self._recall(number, effect)
        self._seen: dict[tuple[int, str, bytes], int] = {}
        self._old_seen: dict[tuple[str, str | bytes], int] = {}
        self._keys: dict[tuple[int, str, str], bytes] = {}
        self._at_work: set[tuple[int, str, str | bytes]] = set()
        self._under_way = 0
        self._closing = False
        self._over: anyio.Event | None = None
        self._on_quiet: list[Callable[[], None]] = []
        self.gated: dict[int, Gated] = {}
        self.admits_new: Callable[[Effect, int], Awaitable[None]] | None = None

    def keep(self, admits_new: Callable[[Effect, int], Awaitable[None]]) -> None:
        """Expect the calls of all earlier turns to be asked for again, for none of them was dropped.

        Args:
            admits_new: awaited before a call is made that none of them has made, with what it is to be known
                by and its number; raises if it must not be made.
        """
        self._unasked = set(self._cell.effects)
        self.admits_new = admits_new

    def _recall(self, number: int, effect: Effect) -> None:
        """Take in a call of the ledger; those of which nobody has noted what they are part of lie apart."""
        if effect.turn:
            self._recorded[identity_of(effect)] = number
        else:
            self._old[identity_of(effect)[1:]] = number
        if _binds(effect, self._turn):
            self._unasked.add(number)

    # which call is which

    def count(self, name: str, digest: bytes, key: str = "") -> tuple[Effect, int | None]:
        """A call as it is asked for now, and the number of its record if there is one.

        Raises:
            UsageError: its key was used in this turn for other arguments.
        """
        inside = _inside.get()
        within = inside[1] if inside is not None and inside[0] is self else 0
        if key:
            if self._keys.setdefault((within, name, key), digest) != digest:
                message = f"the key {key!r} of {name} stands for a call with other arguments in this turn"
                raise UsageError(message, hint="give each call a key of its own")
            occurrence = 0
        else:
            occurrence = self._seen.get((within, name, digest), 0)
            self._seen[within, name, digest] = occurrence + 1
        asked = Effect(name, digest, occurrence, key=key, turn=self._turn, within=within)
        return asked, self._known(asked)

    def uncount(self, asked: Effect) -> None:
        """Forget a call that was refused and leaves no record: one alike takes its place.

        Else a rerun, in which the first is allowed, would not find the record of the one that was made.
        """
        if not asked.key:
            self._seen[asked.within, asked.name, asked.digest] -= 1

    def note(self, asked: Effect, number: int) -> None:
        """Remember the record of a call with a key: asked for again, it is the same."""
        if asked.key:
            self._recorded[identity_of(asked)] = number

    def _known(self, asked: Effect) -> int | None:
        number = self._recorded.get(identity_of(asked))
        if number is None and self._old:
            alike = (asked.name, asked.key or asked.digest)  # nobody has noted what they are part of
            before = 0 if asked.key else self._old_seen.get(alike, 0)
            self._old_seen[alike] = before + 1
            number = self._old.get((*alike, before))
        effect = self._cell.effects.get(number) if number is not None else None
        if number is None or effect is None:
            return None
        self._unasked.discard(number)
        if effect.decided:
            self.pass_over_parts(number)
        return number

    def pass_over_parts(self, number: int) -> None:
        """The calls within one whose outcome is known are not asked for: it is not made again."""
        for part in [n for n in self._unasked if self._cell.effects[n].within == number]:
            self._unasked.discard(part)
            self.pass_over_parts(part)

    @contextmanager
    def alone(self, asked: Effect) -> Iterator[None]:
        """While a call is on its way: another that looks the same could be taken for it in a rerun.

        Raises:
            UsageError: there is another that does.
        """
        mark = (asked.within, asked.name, asked.key or asked.digest)
        if mark in self._at_work:
            self.uncount(asked)
            what = f"the key {asked.key!r}" if asked.key else "the same arguments"
            message = f"two calls of {asked.name} with {what} are made at the same time"
            raise UsageError(message, hint='tell them apart: `tool(fn).options(key="...")`')
        self._at_work.add(mark)
        try:
            yield
        finally:
            self._at_work.discard(mark)

    # the path of an earlier attempt

    async def left(self) -> tuple[int, ...]:
        """The calls made by an earlier attempt at this turn that this one has not asked for.

        Those that may be repeated do not count. What else the turn does at the same time is let go on first,
        for it may still ask for them.
        """
        rounds, left = 0, len(self._unasked)
        while self._unasked and rounds < _ROUNDS:
            await self.quiet()
            await checkpoint()
            rounds = rounds + 1 if left == len(self._unasked) else 0
            left = len(self._unasked)
        return tuple(sorted(self._unasked))

    def hold_left(self) -> bool:
        """Whether the turn ends without some of them; a human is asked about it then."""
        if not self._unasked:
            return False
        left = tuple(sorted(number for number in self._unasked if number in self._cell.effects))
        if left:
            first = self._cell.effects[left[0]]
            reason = "the turn was run again, and ends without it"
            self.gated[left[0]] = Gated(left[0], first, reason, left)
        return bool(left)

    # which are under way

    @contextmanager
    def under_way(self, number: int) -> Iterator[None]:
        """While a call is made."""
        self._under_way += 1
        outer = _inside.get()
        _inside.set((self, number))
        try:
            yield
        finally:
            _inside.set(outer)
            self._under_way -= 1
            if not self._under_way:
                for callback in self._on_quiet:
                    callback()
                self._on_quiet.clear()

    @property
    def is_inside(self) -> bool:
        """Whether the running code is part of one of its calls."""
        inside = _inside.get()
        return inside is not None and inside[0] is self

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
        if self._closing and not self.is_inside:
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
        if self._under_way and not self.is_inside:
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


def _binds(effect: Effect, turn: int) -> bool:
    """Whether a turn must not go on without a call of the ledger before a human has said so.

    What an undone turn has done is no part of the next one; but what it has left in doubt must be cleared up.
    An answer does not unbind a call, whether it is to be made again or not: it was about that call only.
    """
    if effect.policy is EffectPolicy.IDEMPOTENT or effect.is_left or effect.call_id:
        return False
    concerns = effect.has_happened or effect.runs > 0 or effect.is_instead
    return effect.in_doubt or (concerns and effect.turn == turn)
