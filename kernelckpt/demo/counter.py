"""The counting process: keeps every filing it gets, and is never killed.

Run as `python -m kernelckpt.demo.counter`: it prints its port, and ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter, defaultdict

import msgspec

from kernelckpt.demo.message import MOST_BYTES, Filing, Request, line_of
from kernelckpt.demo.pipe import read_lines

_decoder: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)


async def serve() -> None:
    """Serve until standard input ends."""
    books: defaultdict[str, Counter[str]] = defaultdict(Counter)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                request = _decoder.decode(line)
                book = books[request.book]
                if isinstance(request, Filing):
                    book[request.finding] += 1
                    writer.write(line_of({request.finding: book[request.finding]}))
                else:
                    writer.write(line_of(dict(book)))
                await writer.drain()
        except ConnectionError:
            pass  # a killed client: what it filed stays filed
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, limit=MOST_BYTES)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201 - how the parent learns the port
    async for _ in read_lines(sys.stdin):
        pass
    server.close()


async def request(port: int, message: Request) -> dict[str, int]:
    """Ask the counting process; its answer.

    Raises:
        OSError: it cannot be reached.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=MOST_BYTES)
    try:
        writer.write(line_of(message))
        await writer.drain()
        return msgspec.json.decode(await reader.readline(), type=dict[str, int])
    finally:
        writer.close()


if __name__ == "__main__":
    asyncio.run(serve())
