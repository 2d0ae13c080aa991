"""A TCP proxy that cuts connections after so many bytes, or swallows what passes."""

import asyncio
from contextlib import suppress


class CuttingProxy:
    """Stands before a port of the loopback, as a context manager.

    Attributes:
        port: where it listens.
        budget: bytes that may still pass "up" (to the server) or "down", or None; the byte after them cuts.
        swallows: whether it takes everything and forwards nothing, both ways.
        edit: changes what comes down, before it is counted.
        cuts: how many budgets were used up.
    """

    def __init__(self, target):
        self.target = target
        self.port = 0
        self.budget = {"up": None, "down": None}
        self.swallows = False
        self.edit = lambda data: data
        self.cuts = 0
        self._writers = set()
        self._tasks = set()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks)

    def cut(self):
        """Cut all connections now."""
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader, writer):
        self._tasks.add(asyncio.current_task())
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.target)
        pair = {writer, up_writer}
        self._writers |= pair
        await asyncio.gather(
            self._pump(reader, up_writer, "up", pair), self._pump(up_reader, writer, "down", pair)
        )
        self._writers -= pair
        self._tasks.discard(asyncio.current_task())

    async def _pump(self, reader, writer, way, pair):
        with suppress(OSError):
            while data := await reader.read(65536):
                if self.swallows:
                    continue
                data = self.edit(data) if way == "down" else data
                left = self.budget[way]
                if left is not None and len(data) > left:
                    self.budget[way] = None
                    self.cuts += 1
                    writer.write(data[:left])
                    await writer.drain()
                    break
                if left is not None:
                    self.budget[way] = left - len(data)
                writer.write(data)
                await writer.drain()
        if not self.swallows:
            for one in pair:
                one.close()
