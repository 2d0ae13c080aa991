"""A clock that moves only when a test moves it."""

from __future__ import annotations

import heapq
from itertools import count

import anyio
from anyio.lowlevel import checkpoint

_ROUNDS = 20
"""How often the loop turns after each wake-up, so that a sleeper acts, and sleeps again, at its own time."""


class ManualClock:
    """A `Clock` whose wall and monotonic time advance together, by `advance` alone."""

    def __init__(self, wall_ms: int = 1_700_000_000_000) -> None:
        """Stand still.

        Args:
            wall_ms: what the wall clock shows, in milliseconds since 1970.
        """
        self._wall_ms = wall_ms
        self._elapsed_ns = 0
        self._order = count()
        self._sleepers: list[tuple[int, int, anyio.Event]] = []

    def wall_ms(self) -> int:
        """Milliseconds since 1970."""
        return self._wall_ms + self._elapsed_ns // 1_000_000

    def monotonic(self) -> float:
        """Seconds since this clock was made."""
        return self._elapsed_ns / 1_000_000_000

    async def sleep(self, seconds: float) -> None:
        """Return once the clock has been advanced so far; at once (after a checkpoint) for 0 and less."""
        if seconds <= 0:
            await checkpoint()
            return
        sleeper = (self._elapsed_ns + _ns(seconds), next(self._order), anyio.Event())
        heapq.heappush(self._sleepers, sleeper)
        try:
            await sleeper[2].wait()
        finally:
            if sleeper in self._sleepers:
                self._sleepers.remove(sleeper)
                heapq.heapify(self._sleepers)

    @property
    def sleepers(self) -> int:
        """How many are asleep on this clock."""
        return len(self._sleepers)

    @property
    def next_wake(self) -> float | None:
        """Seconds until the next sleeper is due; None if nobody sleeps."""
        return (self._sleepers[0][0] - self._elapsed_ns) / 1_000_000_000 if self._sleepers else None

    async def advance(self, seconds: float) -> None:
        """Move time on, waking sleepers in the order of their times; each finds the clock at its own time.

        A sleeper that sleeps again within the span is woken again.

        Args:
            seconds: 0 or more.

        Raises:
            ValueError: `seconds` is negative.
        """
        if seconds < 0:
            raise ValueError(f"a clock cannot be advanced by {seconds} seconds")
        end = self._elapsed_ns + _ns(seconds)
        await _settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            due, _, event = heapq.heappop(self._sleepers)
            self._elapsed_ns = max(self._elapsed_ns, due)
            event.set()
            await _settle()
        self._elapsed_ns = end
        await _settle()

    def jump(self, milliseconds: int) -> None:
        """Set the wall clock forward or back, as an administrator would; nobody's sleep changes."""
        self._wall_ms += milliseconds


def _ns(seconds: float) -> int:
    return round(seconds * 1_000_000_000)


async def _settle() -> None:
    for _ in range(_ROUNDS):
        await checkpoint()
