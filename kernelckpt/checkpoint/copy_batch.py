"""Small things in groups, to be asked of a storage together: a far one is not waited for each time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TypeVar

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
