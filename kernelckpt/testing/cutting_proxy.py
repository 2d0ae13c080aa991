"""A TCP proxy that breaks the connection where it is told to: at a byte, after a pattern, for a while."""

from __future__ import annotations

import asyncio
import socket
import struct
from types import TracebackType
from typing import Literal, Self

from msgspec import Struct

Direction = Literal["up", "down"]
_CHUNK = 65536


class Cut(Struct, frozen=True):
    """Where all connections are cut, once; bytes are counted from the moment it is armed.

    Attributes:
        up: after so many bytes have gone on to the server; the server gets exactly these.
        down: after so many bytes have gone back to the client.
        pattern: after these bytes have gone on to the server, over one connection, however they were split.
        how: "end" closes the connections; "reset" does so with an RST to the client; "silence" leaves them
            open, and whatever is sent from then on, over old connections and new ones, goes nowhere.
    """

    up: int | None = None
    down: int | None = None
    pattern: bytes = b""
    how: Literal["end", "reset", "silence"] = "end"


class _Connection:
    """One client's connection, and the one that was made to the server for it."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.client = client
        self.server = server
        self.seen = b""

    def end(self, *, reset: bool) -> None:
        """Close both sides; what was written to the server still arrives there."""
        if reset:
            lingering = struct.pack("ii", 1, 0)
            self.client.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, lingering)
            self.client.transport.abort()
        self.client.close()
        self.server.close()


class CuttingProxy:
    """Listens on a loopback port and passes everything on to a server, until told otherwise.

    async with CuttingProxy("127.0.0.1", 5432) as proxy:
        storage = await open_storage(f"postgresql://me@{proxy.host}:{proxy.port}/db")
        proxy.arm(Cut(up=100))

    After a cut the proxy passes everything on again, over new connections.

    Attributes:
        host: where it listens.
        port: the port it listens on; known once it is entered.
        delay: seconds that everything is held up, each way.
        cut: set once an armed cut was made.
        waiting: set once something waits because of `hold`.
    """

    def __init__(self, host: str, port: int, *, delay: float = 0.0) -> None:
        """Connect to nothing yet; `host` and `port` are the server's."""
        self.host = "127.0.0.1"
        self.port = 0
        self.delay = delay
        self.cut = asyncio.Event()
        self.waiting = asyncio.Event()
        self._target = (host, port)
        self._server: asyncio.Server | None = None
        self._armed: Cut | None = None
        self._passed: dict[Direction, int] = {"up": 0, "down": 0}
        self._open = asyncio.Event()
        self._silent = False
        self._connections: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._open.set()
        await self._listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.refuse()

    def arm(self, cut: Cut) -> None:
        """Make this cut as soon as it is due; it takes the place of one that was not made."""
        self._armed = cut
        self._passed = {"up": 0, "down": 0}
        self.cut.clear()
        for connection in self._connections:
            connection.seen = b""

    def disarm(self) -> None:
        """Make no cut."""
        self._armed = None

    def hold(self) -> None:
        """Hold back what is sent, either way, until `let_go`."""
        self.waiting.clear()
        self._open.clear()

    def let_go(self) -> None:
        """Pass on what was held back, and everything after it."""
        self._open.set()

    async def refuse(self) -> None:
        """End every connection and accept no other, as if no server listened, until `mend`."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        self._end(reset=False)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def mend(self) -> None:
        """Disarm, let go, accept connections again; those that went silent are ended."""
        self._armed = None
        self._open.set()
        if self._silent:
            self._silent = False
            self._end(reset=False)
        if self._server is None:
            await self._listen()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            from_server, to_server = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        connection = _Connection(writer, to_server)
        self._connections.add(connection)
        for pump in (
            self._pump(connection, reader, to_server, "up"),
            self._pump(connection, from_server, writer, "down"),
        ):
            task = asyncio.create_task(pump)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(
        self,
        connection: _Connection,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        direction: Direction,
    ) -> None:
        try:
            while data := await source.read(_CHUNK):
                await self._pass(connection, sink, direction, data)
            if not self._silent and sink.can_write_eof():
                sink.write_eof()
        except OSError:
            connection.end(reset=False)
        finally:
            if direction == "down" and not self._silent:
                connection.end(reset=False)
                self._connections.discard(connection)

    async def _pass(
        self, connection: _Connection, sink: asyncio.StreamWriter, direction: Direction, data: bytes
    ) -> None:
        if self.delay:
            await asyncio.sleep(self.delay)
        if not self._open.is_set():
            self.waiting.set()
            await self._open.wait()
        if self._silent:
            return
        room = self._room(connection, direction, data)
        sink.write(data[:room])
        self._passed[direction] += len(data[:room])
        await sink.drain()
        if room is not None:
            self._make_cut()

    def _room(self, connection: _Connection, direction: Direction, data: bytes) -> int | None:
        """How many of these bytes go on before the cut; None when all do and none is due."""
        if self._armed is None:
            return None
        limit = self._armed.up if direction == "up" else self._armed.down
        if limit is not None and self._passed[direction] + len(data) >= limit:
            return limit - self._passed[direction]
        if direction == "up" and (pattern := self._armed.pattern):
            before = connection.seen
            connection.seen = (before + data)[-len(pattern) :]
            if (found := (before + data).find(pattern)) >= 0:
                return found + len(pattern) - len(before)
        return None

    def _make_cut(self) -> None:
        cut, self._armed = self._armed, None
        if cut is None:
            return
        if cut.how == "silence":
            self._silent = True
        else:
            self._end(reset=cut.how == "reset")
        self.cut.set()

    def _end(self, *, reset: bool) -> None:
        for connection in self._connections:
            connection.end(reset=reset)
        self._connections.clear()
