"""A connection to a Redis server: one command, one answer, and what its errors mean here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias, cast

from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from kernelckpt.errors import KernelCkptError, StorageFullError, StorageUnavailableError, UnknownOutcomeError
from kernelckpt.storage import refusal
from kernelckpt.storage.redis.script import Script
from kernelckpt.storage.redis.url import RedisUrl

Argument: TypeAlias = bytes | str | int

_CONNECTIONS = 16
_CONNECT_SECONDS = 5.0
_UNREACHED = "is it running, and reachable from here? are host, port, TLS, user and password right?"
_MEMORY = "give it more memory (maxmemory), or delete runs"
_DISK = "make room on the server's disk; `INFO persistence` says what is wrong"
_REFUSALS: tuple[tuple[str, type[KernelCkptError], str], ...] = (
    ("OutOfMemoryError", StorageFullError, _MEMORY),
    ("OOM command not allowed", StorageFullError, _MEMORY),
    ("MISCONF", StorageFullError, _DISK),
    ("NoPermissionError", StorageUnavailableError, "its ACL must allow this user what a storage does"),
    ("AuthenticationError", StorageUnavailableError, "give the right user and password"),
    ("ReadOnlyError", StorageUnavailableError, "this is a replica: name the primary"),
    ("MovedError", StorageUnavailableError, "a cluster is not supported: name a server that is none"),
    ("NOREPLICAS", StorageUnavailableError, "its min-replicas-to-write are not connected"),
    ("DB index is out of range", StorageUnavailableError, "name one that the server has, as redis://host/0"),
)
"""A word in an error of the driver's: the error here, and what to do about it."""


class RedisServer:
    """A few connections to one server. No command is sent twice.

    Attributes:
        name: the server, for messages.
    """

    def __init__(self, url: RedisUrl, *, seconds: float) -> None:
        """Connect when first asked; wait so many seconds for each answer."""
        self.name = url.name
        self._closed = False
        options: dict[str, Any] = {"ssl_ca_certs": url.ssl_ca_certs} if url.tls else {}
        self._pool = BlockingConnectionPool(
            max_connections=_CONNECTIONS,
            timeout=seconds,
            connection_class=SSLConnection if url.tls else Connection,
            host=url.host,
            port=url.port,
            db=url.db,
            username=url.username,
            password=url.password,
            socket_timeout=seconds,
            socket_connect_timeout=min(seconds, _CONNECT_SECONDS),
            retry=Retry(NoBackoff(), 0),
            protocol=2,
            driver_info=None,  # it would look for its version on disk, for each connection
            **options,
        )

    async def ask(self, *command: Argument, doubtful: bool = False) -> Any:
        """Send a command and return its answer.

        Args:
            command: its words.
            doubtful: whether an answer that does not come is `UnknownOutcomeError`.

        Raises:
            StorageFullError: memory or disk is full; nothing was changed.
            UnknownOutcomeError: it was sent, and no answer came.
            StorageUnavailableError: the server cannot be reached, or refuses; or this is closed.
        """
        if self._closed:
            raise refusal.closed(self.name)
        try:
            connection = await self._pool.get_connection()  # type: ignore[no-untyped-call]
        except (exceptions.RedisError, OSError) as error:
            raise self._meaning(error) from error
        try:
            await connection.send_command(*command)
            return await connection.read_response()
        except exceptions.NoScriptError:
            raise
        except (exceptions.RedisError, OSError) as error:
            raise self._meaning(error, doubtful=doubtful) from error
        finally:
            await self._pool.release(connection)

    async def run(
        self, script: Script, keys: Iterable[bytes], *arguments: Argument, doubtful: bool = False
    ) -> tuple[str, list[Any]]:
        """Have a script run; raises what `ask` does.

        Returns:
            The word that the script answers with, and what follows it.
        """
        keys = tuple(keys)
        rest = (len(keys), *keys, *arguments)
        try:
            answer = await self.ask("EVALSHA", script.sha, *rest, doubtful=doubtful)
        except exceptions.NoScriptError:  # the server was started again: it knows no scripts
            answer = await self.ask("EVAL", script.source, *rest, doubtful=doubtful)
        word, *found = cast("list[Any]", answer)
        return word.decode(), found

    async def aclose(self) -> None:
        """Disconnect, for good."""
        self._closed = True
        await self._pool.disconnect()

    def _meaning(self, error: Exception, *, doubtful: bool = False) -> KernelCkptError:
        text = f"{type(error).__name__}: {error}"
        for word, kind, hint in _REFUSALS:
            if word in text:
                return kind(f"{self.name}: {text}", hint=hint)
        if isinstance(error, exceptions.ResponseError | exceptions.BusyLoadingError):
            return StorageUnavailableError(f"{self.name}: {text}", hint="try again in a moment")
        if doubtful:
            return UnknownOutcomeError(f"{self.name}: no answer: {text}", hint="list before trying again")
        return StorageUnavailableError(f"{self.name}: {text}", hint=_UNREACHED)
