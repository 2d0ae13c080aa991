"""Rounds: every side once in each, in changing order, so that a busy moment meets all of them."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

T = TypeVar("T")


async def interleaved(rounds: int, sides: Mapping[str, Callable[[], Awaitable[T]]]) -> dict[str, list[T]]:
    """What each side measured, round by round.

    Args:
        rounds: how many.
        sides: what to measure, by name; garbage is collected before each measurement.
    """
    measured: dict[str, list[T]] = {name: [] for name in sides}
    names = list(sides)
    for number in range(rounds):
        first = number % len(names)
        for name in (*names[first:], *names[:first]):
            gc.collect()
            measured[name].append(await sides[name]())
    return measured
