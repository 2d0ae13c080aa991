"""Lines from a pipe, without a thread that would outlive the loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TextIO, TypeAlias

from kernelckpt.demo.message import MOST_BYTES

Lines: TypeAlias = AsyncIterator[bytes]


async def read_lines(file: TextIO) -> AsyncIterator[bytes]:
    """The lines of a pipe, such as standard input, until it ends."""
    reader = asyncio.StreamReader(limit=MOST_BYTES)
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, file)
    try:
        while line := await reader.readline():
            yield line
    finally:
        transport.close()
