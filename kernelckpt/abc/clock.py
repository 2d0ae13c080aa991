"""What a clock must promise."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """A source of time; injected, so that tests own it."""

    def wall_ms(self) -> int:
        """Milliseconds since 1970; may jump."""

    def monotonic(self) -> float:
        """Seconds from some point in the past; never goes back."""

    async def sleep(self, seconds: float) -> None:
        """Return after so many seconds."""
