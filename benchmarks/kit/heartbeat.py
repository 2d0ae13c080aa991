"""A task that ticks every millisecond, and how late its ticks come when something holds the event loop."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from time import perf_counter
from types import TracebackType
from typing import Self

PERIOD = 0.001
"""Seconds between two ticks."""


class Heartbeat:
    """Keeps the longest gap between two ticks since it was last asked; an async context manager."""

    def __init__(self) -> None:
        self._longest = 0.0
        self._last = 0.0
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._last = perf_counter()
        self._task = asyncio.create_task(self._tick())
        await self.settle()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    def take(self) -> float:
        """The longest gap beyond the period since the last call, in seconds."""
        self._note()
        longest, self._longest = self._longest, 0.0
        return max(longest - PERIOD, 0.0)

    async def settle(self) -> None:
        """Let some ticks pass and forget what was before."""
        await asyncio.sleep(5 * PERIOD)
        self.take()

    async def idle(self, seconds: float) -> float:
        """The longest gap while nothing is done for so long: what the machine does to anybody."""
        await self.settle()
        await asyncio.sleep(seconds)
        return self.take()

    def _note(self) -> None:
        now = perf_counter()
        self._longest = max(self._longest, now - self._last)
        self._last = now

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(PERIOD)
            self._note()
