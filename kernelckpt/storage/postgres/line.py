"""Connections to a PostgreSQL server: how one is begun and checked, and the few that readers share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from itertools import count
from random import uniform
from time import monotonic
from typing import Any, TypeVar

import asyncpg  # type: ignore[import-untyped] # it comes without types

from kernelckpt.errors import StorageUnavailableError
from kernelckpt.storage.postgres import sql
from kernelckpt.storage.postgres.error import DRIVER_ERRORS, is_passing, storage_error, was_answered
from kernelckpt.storage.postgres.url import PostgresUrl

T = TypeVar("T")

_OLDEST = 14
_CLOSE_SECONDS = 2.0
_RETRYING = 0.25
"""For how long it is tried again: the share of the time that one answer may take."""


class Line:
    """One connection. It is dropped by whatever leaves it in doubt, so that one that is open can be used.

    Attributes:
        version: the server's, as 15.
        pid: the server's process that serves it.
        started: when that began; with `pid` it names the session.
    """

    started: datetime

    def __init__(self, connection: Any) -> None:
        """Use a connection of the driver."""
        self._connection = connection
        self.version: int = connection.get_server_version().major
        self.pid: int = connection.get_server_pid()

    @property
    def closed(self) -> bool:
        """Whether it can be used no more."""
        return bool(self._connection.is_closed())

    async def fetch(self, statement: str, *values: object) -> Sequence[Any]:
        """Run a statement, prepared when it is run for the first time; the rows it gives.

        `fetch` and no other method of the driver: those that ask for one row stop reading at it, and never
        see whether the statement was done.
        """
        try:
            rows: Sequence[Any] = await self._connection.fetch(statement, *values)
        except BaseException as error:
            if not was_answered(error):
                self.drop()
            raise
        return rows

    async def execute(self, statements: str) -> None:
        """Run statements without values and without answers."""
        try:
            await self._connection.execute(statements)
        except BaseException as error:
            if not was_answered(error):
                self.drop()
            raise

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """Run statements that have their effect together, or none when the block raises."""
        await self.execute("BEGIN")
        try:
            yield
        except BaseException:
            if not self.closed:
                await self.execute("ROLLBACK")
            raise
        try:
            await self.execute("COMMIT")
        except BaseException:
            self.drop()  # with the locks that were taken
            raise

    async def aclose(self) -> None:
        """Say goodbye; a server that does not answer is not waited for."""
        if self.closed:
            return
        try:
            await self.fetch(sql.UNHOLD_ALL)  # the server ends a session when it gets round to it
            await self._connection.close(timeout=_CLOSE_SECONDS)
        except DRIVER_ERRORS:
            self.drop()

    def drop(self) -> None:
        """Close it at once, whatever is going on."""
        self._connection.terminate()


class PostgresServer:
    """What is needed to connect, and the way to try again.

    Attributes:
        name: for messages.
        url: the URL, taken apart.
    """

    def __init__(self, url: PostgresUrl) -> None:
        """Connect to nothing yet."""
        self.url = url
        self.name = url.name

    async def connect(self) -> Line:
        """A new connection whose settings are ours.

        Raises:
            StorageUnavailableError: the server may lose what it acknowledges, or keeps no sessions.
        """
        seconds = self.url.timeout
        line = Line(
            await asyncpg.connect(
                self.url.dsn, timeout=seconds, command_timeout=seconds, max_cached_statement_lifetime=0
            )
        )
        try:
            await self._begin(line)
        except BaseException:
            line.drop()
            raise
        return line

    async def retried(self, attempt: Callable[[int], Awaitable[T]]) -> T:
        """Try, and again for a while with growing pauses if that may help.

        Args:
            attempt: given 0, 1, ...; raises errors of the driver, or ours, which end it.

        Raises:
            StorageError: what the last of them means.
        """
        give_up = monotonic() + self.url.timeout * _RETRYING
        for number in count():
            try:
                return await attempt(number)
            except DRIVER_ERRORS as error:
                if not is_passing(error) or monotonic() > give_up:
                    raise storage_error(self.name, error) from error
            await asyncio.sleep(uniform(0, min(1.0, 0.02 * 2**number)))  # noqa: S311 - spreads clients
        raise AssertionError

    async def _begin(self, line: Line) -> None:
        if line.version < _OLDEST:
            raise StorageUnavailableError(
                f"{self.name}: PostgreSQL {line.version} is too old", hint=f"{_OLDEST} or newer is needed"
            )
        # the server gives up before the client does, which then knows that nothing was done
        (facts,) = await line.fetch(sql.SESSION, self.url.schema, f"{int(self.url.timeout * 900)}ms")
        told, line.pid, line.started = line.pid, facts["pid"], facts["started"]
        if line.pid != told and not self.url.session_pooler:
            raise StorageUnavailableError(
                f"{self.name}: a connection pooler stands between, whose sessions may not be kept",
                hint="connect to the server itself; ?session_pooler=1 if each connection keeps its session",
            )
        off = [setting for setting in ("fsync", "full_page_writes") if facts[setting] != "on"]
        if off and not facts["standby"]:
            self.refuse_loss(f"{' and '.join(off)} off")

    def refuse_loss(self, reason: str) -> None:
        """Refuse a server that may lose what it acknowledges, unless the URL accepts that."""
        if not self.url.accept_loss:
            raise StorageUnavailableError(
                f"{self.name}: what is acknowledged here may be lost: {reason}",
                hint="set that right; ?accept_loss=1 uses the server as it is",
            )
