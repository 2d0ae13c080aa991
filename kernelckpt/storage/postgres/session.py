"""Who uses which connection: one holds the locks of a client's runs, readers share a few others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any

from msgspec import Struct

from kernelckpt.abc import Claim
from kernelckpt.storage import refusal
from kernelckpt.storage.postgres import sql
from kernelckpt.storage.postgres.error import DRIVER_ERRORS
from kernelckpt.storage.postgres.line import Line, PostgresServer
from kernelckpt.storage.text import bytes_text, text_bytes

_READERS = 4
_KEPT = 2
_END_MS = 5000


class Owned(Struct, frozen=True):
    """An epoch of a run that was granted to this client.

    Attributes:
        id: the run's row.
        epoch: the epoch.
        run_id: the run.
    """

    id: int
    epoch: int
    run_id: str


class Readers:
    """A few connections for whatever needs no session; those not in use are kept, up to a number."""

    def __init__(self, server: PostgresServer) -> None:
        """Connect to nothing yet."""
        self._server = server
        self._turns = asyncio.Semaphore(_READERS)
        self._idle: list[Line] = []

    @asynccontextmanager
    async def line(self) -> AsyncIterator[Line]:
        """A connection for oneself, for as long as the block takes."""
        async with self._turns:
            line = self.pop() or await self._server.connect()
            try:
                yield line
            finally:
                self.put(line)

    async def fetch(self, statement: str, *values: object) -> Sequence[Any]:
        """The rows of one statement."""
        async with self.line() as line:
            return await line.fetch(statement, *values)

    def pop(self) -> Line | None:
        """An idle connection, for good."""
        while self._idle:
            line = self._idle.pop()
            if not line.closed:
                return line
        return None

    def put(self, line: Line) -> None:
        """Keep a connection for the next one, unless there are enough."""
        if len(self._idle) < _KEPT and not line.closed:
            self._idle.append(line)
        else:
            line.drop()

    async def aclose(self) -> None:
        """Close those that are idle."""
        while line := self.pop():
            await line.aclose()

    def drop(self) -> None:
        """Close them at once."""
        while line := self.pop():
            line.drop()


class OwnerSession:
    """The connection whose session holds the lock of each epoch that the client was granted.

    When it breaks, the next one who needs it connects anew, ends the session that may be left on the server,
    with whatever that still does, and takes the lock again if the epoch is still the newest one. What was
    committed by then is durable.
    """

    def __init__(self, server: PostgresServer, readers: Readers) -> None:
        """Connect to nothing yet; the first connection is one that readers have no use for."""
        self._server = server
        self._readers = readers
        self._turn = asyncio.Lock()
        self._line: Line | None = None
        self._left: list[tuple[int, datetime]] = []
        self._held: set[Owned] = set()

    @property
    def is_busy(self) -> bool:
        """Whether somebody has the connection for itself just now."""
        return self._turn.locked()

    @asynccontextmanager
    async def turn(self, owned: Owned | None = None) -> AsyncIterator[Line]:
        """The connection for oneself; it holds the lock of `owned`.

        Raises:
            FencedError: that epoch is over.
        """
        async with self._turn:
            line = await self._connected()
            if owned is not None and owned not in self._held:
                await self._hold_again(line, owned)
            yield line

    async def acquire(
        self, run_id: str, holder: str, claim: Claim | None, *, ask: bool
    ) -> tuple[Owned, Claim]:
        """Grant a run to this client: under the claim, or under the next epoch at the head.

        Args:
            run_id: the run.
            holder: who asks.
            claim: what `acquire_as` was given.
            ask: refuse when the run's owner is alive.
        """
        async with self.turn() as line:
            async with line.transaction():
                run = await _locked_run(line, text_bytes(run_id))
                granted = claim or Claim(run["epoch"] + 1, run["head"])
                if granted.epoch < run["epoch"] or granted.head < run["head"]:
                    raise refusal.behind(self._server.name, run_id, run["epoch"], run["head"])
                if ask and Owned(run["id"], run["epoch"], run_id) not in self._held:
                    await refuse_alive(line, run_id, run)
                owned = Owned(run["id"], granted.epoch, run_id)
                await line.fetch(sql.GRANT, owned.id, owned.epoch, granted.head, text_bytes(holder))
                if owned not in self._held:
                    await line.fetch(sql.HOLD, owned.id, owned.epoch)
            for other in [held for held in self._held if held.run_id == run_id and held != owned]:
                await self._unhold(line, other)
            self._held.add(owned)
        return owned, granted

    async def release(self, owned: Owned) -> None:
        """Let the lock go; a connection that is broken holds none."""
        async with self._turn:
            if self._line is not None and not self._line.closed and owned in self._held:
                with suppress(*DRIVER_ERRORS):
                    await self._unhold(self._line, owned)

    async def aclose(self) -> None:
        """Close the connection, and so let all locks go."""
        async with self._turn:
            if self._line is not None:
                await self._line.aclose()

    def drop(self) -> None:
        """Close the connection at once."""
        if self._line is not None:
            self._line.drop()

    async def _connected(self) -> Line:
        if self._line is not None and self._line.closed:
            self._left.append((self._line.pid, self._line.started))
            self._line = None
            self._held.clear()
        if self._line is None:
            self._line = self._readers.pop() or await self._server.connect()
        while self._left:
            rows = await self._line.fetch(sql.END_SESSION, *self._left[-1], _END_MS)
            if rows and not rows[0]["pg_terminate_backend"]:
                raise TimeoutError("the session that was left has not ended")
            self._left.pop()
        return self._line

    async def _hold_again(self, line: Line, owned: Owned) -> None:
        try:
            await line.fetch(sql.HOLD, owned.id, owned.epoch)
            rows = await line.fetch(sql.OWNER, owned.id)
            await line.fetch(sql.SYNC)
        except BaseException:
            line.drop()  # it may hold a lock that nobody knows of
            raise
        self._held.add(owned)
        if not rows or rows[0]["epoch"] != owned.epoch:
            await self._unhold(line, owned)
            raise refusal.fenced(self._server.name, owned.run_id, owned.epoch)

    async def _unhold(self, line: Line, owned: Owned) -> None:
        await line.fetch(sql.UNHOLD, owned.id, owned.epoch)
        self._held.discard(owned)


async def refuse_alive(line: Line, run_id: str, run: Any) -> None:
    """Refuse a run, whose row is locked, if a session holds the lock of its epoch.

    Raises:
        RunOwnedError: one does.
    """
    (probe,) = await line.fetch(sql.PROBE, run["id"], run["epoch"])
    if not probe["free"]:
        raise refusal.owned(run_id, bytes_text(run["holder"]))


async def _locked_run(line: Line, name: bytes) -> Any:
    while not (rows := await line.fetch(sql.LOCK_RUN, name)):
        await line.fetch(sql.CREATE_RUN, name)
    return rows[0]
