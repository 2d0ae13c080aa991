"""Reading one thing after the other from a storage that may be far away, with the next ones under way."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from types import TracebackType
from typing import Any, Self, TypeAlias

Reading: TypeAlias = tuple[int, Callable[[], Coroutine[Any, Any, bytes]]]
"""How many bytes it will give, and what reads them."""

_AT_ONCE = 16
_AHEAD_BYTES = 8 * 1024 * 1024


class ReadAhead:
    """Hands out what is read, in order; while one is worked on, some of those after it are being read.

    Never more than 16 at a time, nor more than 8 MiB unless it is a single one. To be used within
    `async with`, which gives up what nobody has asked for.
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
        data = await task
        self._under_way.popleft()
        self._bytes -= size
        return data

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
            self._under_way.append((size, asyncio.ensure_future(read())))
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
        await asyncio.gather(*left, return_exceptions=True)
