"""One attempt at a straight-line function: what it is at, what it waits for, and how the attempt ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Never

import anyio
from anyio.lowlevel import checkpoint
from msgspec import Struct

from kernelckpt.errors import TurnEnded, UsageError
from kernelckpt.kernel.turn.ending import Next
from kernelckpt.kernel.turn.turn import Turn

_ROUNDS = 64
"""How often what the function does at the same time is let run before it counts as waiting."""


class Sleep(Struct, frozen=True):
    """The function waits until a wall time."""

    until_ms: int


class Receive(Struct, frozen=True):
    """The function waits for a message."""


class Ask(Struct, frozen=True):
    """The function waits for a human's answer."""

    key: str
    prompt: str
    payload: Any
    timeout: float | None


class Returned(Struct, frozen=True):
    """The function has come to its end."""

    value: Any


class Attempt:
    """What one turn knows of the function that it runs."""

    def __init__(self) -> None:
        self._active = 0
        self._asked = 0
        self._waits: list[Sleep | Receive | Ask] = []
        self._end: Returned | BaseException | None = None
        self._closed = False
        self._changed = anyio.Event()

    @property
    def over(self) -> Returned | BaseException | None:
        """How it has ended, if it has; None while the function is at work or waits."""
        return self._end

    def end(self, how: Returned | BaseException) -> None:
        """The function returned, or must not go on; what comes after the first end counts for nothing."""
        if not self._closed and self._end is None:
            self._end = how
            self._changed.set()

    async def stop(self, error: Exception) -> Never:
        """End the attempt with an error that the function is not to handle, and wait to be left."""
        self.end(error)
        await anyio.sleep_forever()
        raise AssertionError("it sleeps for ever")

    async def wait(self, what: Sleep | Receive | Ask) -> Never:
        """Wait for something that takes the turn to its end; the function is run again when it is there."""
        self._waits.append(what)
        self._changed.set()
        await anyio.sleep_forever()
        raise AssertionError("it sleeps for ever")

    @contextmanager
    def asking(self) -> Iterator[None]:
        """While the function asks for a step."""
        self._active += 1
        self._asked += 1
        try:
            yield
        finally:
            self._active -= 1
            self._changed.set()

    def close(self) -> None:
        """Begin no step any more, and record no wait: the turn is over."""
        self._closed = True

    async def refuse_late(self) -> None:
        """Raise `TurnEnded` for what asks for a step while the function is being left."""
        if self._closed:
            await checkpoint()
            message = "the function is being left, to be run again later: no step is begun for it"
            raise TurnEnded(message, hint="make no steps in `finally` or in tasks that nobody awaits")

    async def settled(self) -> None:
        """Return when it has ended, or only waits; no step is begun from then on, and none is under way."""
        rounds = asked = 0
        while self._end is None and rounds < _ROUNDS:
            if self._active or not self._waits:
                rounds, self._changed = 0, anyio.Event()
                await self._changed.wait()
                continue
            rounds = rounds + 1 if asked == self._asked else 0
            asked = self._asked
            await checkpoint()
        self.close()
        while self._active:
            self._changed = anyio.Event()
            await self._changed.wait()

    def waiting(self, turn: Turn, now_ms: int) -> Next:
        """End a turn as the waits of the function say.

        Raises:
            UsageError: it waits for different things at the same time.
        """
        sleeps = [each.until_ms for each in self._waits if isinstance(each, Sleep)]
        first = self._waits[0]
        if any(type(each) is not type(first) for each in self._waits):
            message = "the function waits for different things at the same time"
            hint = "only steps, sleeps, questions or messages of one kind can be waited for together"
            raise UsageError(message, hint=hint)
        match first:
            case Sleep():
                return turn.sleep((max(min(sleeps) - now_ms, 0) + 0.5) / 1000)
            case Receive():
                return turn.wait_for_message()
            case Ask(key=key, prompt=prompt, payload=payload, timeout=timeout):
                return turn.ask_approval(key, prompt, payload, timeout)
