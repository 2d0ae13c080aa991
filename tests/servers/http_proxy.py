"""An HTTP proxy in the test's own loop: it counts requests, changes them, cuts them off, swallows answers."""

import asyncio
import re
from collections import Counter


class Request:
    """One request on its way to the server.

    A test's `meddle` changes `head`, or sets one of the attributes.

    Attributes:
        head: the request line and the headers.
        cut: forward so many bytes of head and body, then drop both connections.
        swallow: let the server answer, and drop the answer and the connection.
        answer: what the proxy itself answers instead of the server, as "503 Slow Down".
        hold: an event to wait for before anything is forwarded.
        answered: set once the server has answered.
        translate: called with the head of the server's answer, returns what is answered.
    """

    def __init__(self, head, body):
        self.head, self.body = head, body
        self.cut = None
        self.swallow = False
        self.answer = ""
        self.hold = None
        self.answered = asyncio.Event()
        self.translate = lambda head: head

    @property
    def method(self):
        return self.head.split(b" ", 1)[0].decode()

    @property
    def path(self):
        return self.head.split(b" ", 2)[1].decode()

    @property
    def kind(self):
        """PUT, GET, HEAD, DELETE, POST, or LIST."""
        return (
            "LIST"
            if self.method == "GET" and ("list-type" in self.path or "comp=list" in self.path)
            else self.method
        )

    def drop_header(self, name):
        self.head = re.sub(rb"(?i)\r\n%s:[^\r]*" % name.encode(), b"", self.head)


class HttpProxy:
    """Stands before a server on this machine; requests of one connection go through one after another.

    Attributes:
        meddle: called with each request.
        counts: how many requests of each kind went through.
    """

    def __init__(self, port):
        self.target = port
        self.meddle = lambda request: None
        self.counts = Counter()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self._tasks = set()
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def take_counts(self):
        found, self.counts = self.counts, Counter()
        return dict(found)

    async def _serve(self, reader, writer):
        self._tasks.add(asyncio.current_task())
        try:
            while await self._one(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            self._tasks.discard(asyncio.current_task())

    async def _one(self, reader, writer):
        request = Request(*await _message(reader))
        self.counts[request.kind] += 1
        self.meddle(request)
        if request.hold is not None:
            await request.hold.wait()
        if request.answer:
            writer.write(f"HTTP/1.1 {request.answer}\r\ncontent-length: 0\r\n\r\n".encode())
            await writer.drain()
            return True
        upstream_reader, upstream = await asyncio.open_connection("127.0.0.1", self.target)
        try:
            upstream.write((request.head + request.body)[: request.cut])
            await upstream.drain()
            if request.cut is not None:
                upstream.write_eof()
                await upstream_reader.read()  # so that the server has done with it what it does
                return False
            head, body = await _message(upstream_reader, answers=request.method)
            answer = request.translate(head) + body
            request.answered.set()
            if request.swallow:
                return False
            writer.write(answer)
            await writer.drain()
            return True
        finally:
            upstream.close()


async def _message(reader, answers=""):
    head = await reader.readuntil(b"\r\n\r\n")
    if answers == "HEAD" or (answers and head.split(b" ", 2)[1] in {b"204", b"304"}):
        return head, b""
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    if length is not None:
        return head, await reader.readexactly(int(length[1]))
    if re.search(rb"(?i)\r\ntransfer-encoding: *chunked", head):
        body = b""
        while not body.endswith(b"0\r\n\r\n"):
            body += await reader.readuntil(b"\r\n")
        return head, body
    return head, await reader.read() if answers else b""
