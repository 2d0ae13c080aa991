"""Reading one thing after the other from a storage that may be far away, with the next ones under way."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from types import TracebackType
from typing import Self, TypeAlias

import anyio

Reading: TypeAlias = tuple[int, Callable[[], Awaitable[bytes]]]
"""How many bytes it will give, and what reads them."""

_AT_ONCE = 16
_AHEAD_BYTES = 8 * 1024 * 1024


class ReadAhead:
    """Hands out what is read, in order; while one is worked on, some of those after it are being read.

    Never more than 16 at a time, nor more than 8 MiB unless it is a single one. To be used within
    `async with`, which gives up what nobody has asked for, and ends once nothing is under way any more.
    """

    def __init__(self, readings: Iterable[Reading]) -> None:
        """Nothing is read yet."""
        self._readings = iter(readings)
        self._held: Reading | None = None
        self._under_way: deque[tuple[int, asyncio.Task[bytes]]] = deque()
        self._bytes = 0

    async def next(self) -> bytes:
        """What the next one has read, or raises what that raised."""
        self._begin_some()
        size, task = self._under_way[0]
        if not task.done():
            await asyncio.wait((task,))  # to await it would pass each cancellation on, and cut off its end
        self._under_way.popleft()
        self._bytes -= size
        return task.result()

    def _begin_some(self) -> None:
        while len(self._under_way) < _AT_ONCE:
            reading = self._held or next(self._readings, None)
            if reading is None:
                return
            size, read = reading
            if self._under_way and self._bytes + size > _AHEAD_BYTES:
                self._held = reading
                return
            self._held = None
            self._under_way.append((size, asyncio.ensure_future(_read(read))))
            self._bytes += size

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        left = [task for _, task in self._under_way]
        self._under_way.clear()
        for task in left:
            task.cancel()
        with anyio.CancelScope(shield=True):  # who goes on from here may close the storage
            await asyncio.gather(*left, return_exceptions=True)


async def _read(read: Callable[[], Awaitable[bytes]]) -> bytes:
    """What is read; what is raised before anything is awaited is raised in its place, too."""
    return await read()
