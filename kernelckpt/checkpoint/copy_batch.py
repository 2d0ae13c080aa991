"""Several small things asked of a storage at once, so that a far one is not waited for each time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from kernelckpt.abc import PART_BYTES

T = TypeVar("T")

_AT_ONCE = 16


async def batched(items: AsyncIterator[T], size_of: Callable[[T], int]) -> AsyncIterator[list[T]]:
    """The items in groups that are small in number and size; one that is large is a group of its own."""
    batch: list[T] = []
    size = 0
    async for item in items:
        if batch and (len(batch) == _AT_ONCE or size + size_of(item) > PART_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += size_of(item)
    if batch:
        yield batch


async def at_once(calls: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """What these give; when one raises, the others are cancelled, and have ended when this raises."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
