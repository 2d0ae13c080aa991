"""A storage behind a server of the tests' own: `MemoryStorage` over TCP, one connection for each call.

It is as honest as a storage on a server can be; subclasses of `RemoteStorage` lie.
"""

import asyncio
import pickle
from contextlib import suppress
from itertools import count

from kernelckpt import errors
from kernelckpt.abc import StorageBackend
from kernelckpt.errors import KernelCkptError, StorageUnavailableError, UnknownOutcomeError
from kernelckpt.storage import MemoryState, MemoryStorage, refusal

ONCE = frozenset({"append", "write_part", "finish_blob"})
"""What must not be done a second time when nobody knows whether it was done."""

TRIES = 3
_numbers = count()


class RemoteServer:
    """Serves one store; each client has a `MemoryStorage` of its own, as it would have a session."""

    def __init__(self):
        self._state = MemoryState()
        self._sessions = {}

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = self._server.sockets[0].getsockname()[:2]
        return self

    async def __aexit__(self, *_):
        self._server.close()

    async def _serve(self, reader, writer):
        try:
            size = int.from_bytes(await reader.readexactly(4))
            client, method, arguments, options = pickle.loads(await reader.readexactly(size))
            answer = pickle.dumps(await self._answer(client, method, arguments, options))
            writer.write(len(answer).to_bytes(4) + answer)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _answer(self, client, method, arguments, options):
        session = self._sessions.setdefault(client, MemoryStorage(self._state))
        try:
            return await getattr(session, method)(*arguments, **options), None
        except KernelCkptError as error:
            return None, (type(error).__name__, error.message, vars(error))


class RemoteStorage(StorageBackend):
    """A client; what may be done twice is tried again when the connection breaks."""

    durable = False
    once = ONCE
    seconds = 60

    def __init__(self, host, port):
        self.name = f"remote:{host}:{port}"
        self._address = (host, port)
        self._client = next(_numbers)
        self._closed = False

    async def _call(self, method, *arguments, **options):
        if self._closed:
            raise refusal.closed(self.name)
        request = pickle.dumps((self._client, method, arguments, options))
        result, refused = await self._ask(method, len(request).to_bytes(4) + request)
        if refused is not None:
            kind, message, facts = refused
            raise getattr(errors, kind)(message, **facts)
        return result

    async def _ask(self, method, request):
        for _ in range(TRIES):
            try:
                reader, writer = await asyncio.open_connection(*self._address)
            except OSError:
                continue
            try:
                async with asyncio.timeout(self.seconds):
                    writer.write(request)
                    return await self._receive(reader)
            except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
                if method in self.once:
                    raise UnknownOutcomeError(f"{self.name}: no answer to {method}") from error
                if isinstance(error, TimeoutError):
                    break
            finally:
                writer.transport.abort()
        raise StorageUnavailableError(f"{self.name}: no answer", hint="is the server running?")

    async def _receive(self, reader):
        size = int.from_bytes(await reader.readexactly(4))
        return pickle.loads(await reader.readexactly(size))

    async def append(self, run_id, epoch, sequence, entry, meta):
        await self._call("append", run_id, epoch, sequence, [b"".join(entry)], meta)

    async def aclose(self):
        if not self._closed:
            with suppress(StorageUnavailableError):
                await self._call("aclose")
            self._closed = True


def _remote(method):
    async def call(self, *arguments, **options):
        return await self._call(method, *arguments, **options)

    return call


for _method in StorageBackend.__abstractmethods__ | {"acquire_as", "list_newest", "overview"}:
    if _method not in vars(RemoteStorage):
        setattr(RemoteStorage, _method, _remote(_method))
RemoteStorage.__abstractmethods__ = frozenset()
