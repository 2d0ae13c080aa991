"""How long to wait between one try and the next."""

from __future__ import annotations

import random
from collections.abc import Iterator

_SHORTEST, _LONGEST = 0.05, 1.0


def waits(tries: int) -> Iterator[float]:
    """Seconds to wait after each of so many tries: longer and longer, and never those of another client."""
    longest = _SHORTEST
    for _ in range(tries):
        yield random.uniform(0, longest)  # noqa: S311 - keeps clients apart, no secret
        longest = min(2 * longest, _LONGEST)
