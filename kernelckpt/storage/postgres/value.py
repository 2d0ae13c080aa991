"""How what callers give becomes a value of a statement: names as bytes, data in one piece or in several."""

from __future__ import annotations

from collections.abc import Sequence

from anyio import to_thread

from kernelckpt.storage.postgres.sql import PIECE_BYTES

_FAR = 2**62
_THREAD_BYTES = 1024 * 1024
"""What is larger is joined in a thread, which gives the interpreter away meanwhile."""


def to_number(number: int) -> int:
    """A number as the server can hold it; what is further than it can is as good as far."""
    return max(-_FAR, min(number, _FAR))


async def joined(pieces: Sequence[bytes]) -> bytes:
    """All in one."""
    if len(pieces) > 1 and sum(map(len, pieces)) > _THREAD_BYTES:
        return await to_thread.run_sync(b"".join, pieces)
    return b"".join(pieces)


def rows_of(data: bytes) -> Sequence[memoryview]:
    """The rows that a part of a blob is kept in; one when it is empty."""
    starts = range(0, max(1, len(data)), PIECE_BYTES)
    return [memoryview(data)[start : start + PIECE_BYTES] for start in starts]
