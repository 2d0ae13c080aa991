"""Retries: how often a call or a turn that raised is tried again, and how long is waited before."""

from __future__ import annotations

from msgspec import Struct

from kernelckpt.errors import UsageError
from kernelckpt.kernel.argument import milliseconds

_MOST_STEPS = 10_000
"""Pauses do not grow any more after so many tries."""


class Retry(Struct, frozen=True):
    """How a call that can be repeated, or a turn, is tried again after it has raised, or taken too long.

    Attributes:
        attempts: how often it is tried in all.
        first: seconds before the second try.
        factor: how much longer each pause is than the one before.
        longest: seconds that no pause exceeds.
    """

    attempts: int = 3
    first: float = 1.0
    factor: float = 2.0
    longest: float = 60.0

    def __post_init__(self) -> None:
        """Raise `UsageError` for numbers that are none."""
        if type(self.attempts) is not int or self.attempts < 1:
            raise UsageError(f"attempts is {self.attempts!r}", hint="a whole number, 1 or more")
        milliseconds(self.first, "first")
        milliseconds(self.longest, "longest")
        if type(self.factor) not in {int, float} or not self.factor >= 1:
            raise UsageError(f"factor is {self.factor!r}", hint="a number, 1 or more")

    def pause_ms(self, tries: int) -> int:
        """Milliseconds to wait when so many tries have failed."""
        longest = milliseconds(self.longest, "longest")
        pause = self.first * 1000
        for _ in range(min(tries - 1, _MOST_STEPS)):
            if pause >= longest:
                break
            pause *= self.factor
        return int(min(pause, longest))


ONCE = Retry(attempts=1)
"""What holds for calls and programs that are given no retry."""
