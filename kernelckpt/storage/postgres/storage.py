"""A PostgreSQL server as a storage: rows in a schema of its own.

A run is a row that holds its epoch and its head; an append moves the head and adds the entry in one
statement. Who owns a run holds an advisory lock by a session, which says that it is alive and no more:
whether it may write is compared with the row by every statement that writes.

A call is made whole even when its caller is cancelled, by a task of its own.
"""

# ruff: noqa: D102 - the contract is written once, in abc.py

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar
from uuid import uuid4

from anyio import move_on_after

from kernelckpt.abc import BlobInfo, Claim, EntryInfo, PostedMessage, StorageBackend
from kernelckpt.errors import CorruptionError, FencedError, UnknownOutcomeError
from kernelckpt.storage import refusal
from kernelckpt.storage.check import check_entry, check_name, check_page, check_part, check_range
from kernelckpt.storage.fork import leave_to_parent
from kernelckpt.storage.postgres import sql
from kernelckpt.storage.postgres.blob import Blobs
from kernelckpt.storage.postgres.error import DRIVER_ERRORS, was_answered
from kernelckpt.storage.postgres.line import PostgresServer
from kernelckpt.storage.postgres.schema import prepare_schema
from kernelckpt.storage.postgres.session import Owned, OwnerSession, Readers, refuse_alive
from kernelckpt.storage.postgres.url import PostgresUrl
from kernelckpt.storage.postgres.value import joined, to_number
from kernelckpt.storage.text import bytes_text, text_bytes

T = TypeVar("T")

_ENTRY_BYTES = 512 * 1024 * 1024
"""The largest entry: the server takes less than 1 GiB at once."""
_FAR = 2**64
"""Further than a blob can reach."""
_CLOSE_SECONDS = 5.0


async def open_postgres(url: str) -> PostgresStorage:
    """Open the storage of a `postgresql:` URL; its schema is made when it is not there.

    Raises:
        StorageUrlError: the URL has an option that does not exist, or cannot be read.
        UnsupportedVersionError: the schema was made by a newer version.
        StorageUnavailableError: the server cannot be reached or used, or may lose what it acknowledges.
    """
    server = PostgresServer(PostgresUrl(url))
    readers = Readers(server)

    async def prepare(_: int) -> None:
        async with readers.line() as line:
            await prepare_schema(server, line)

    try:
        await server.retried(prepare)
    except BaseException:
        readers.drop()
        raise
    return PostgresStorage(server, readers)


class PostgresStorage(StorageBackend):
    """Runs kept by a PostgreSQL server; opened by `open_postgres`."""

    def __init__(self, server: PostgresServer, readers: Readers) -> None:
        """Use a server whose schema is there."""
        self.name = server.name
        self.durable = not server.url.accept_loss
        self.notes = () if self.durable else ("accept_loss=1: the server may lose what it acknowledged",)
        self._server = server
        self._readers = readers
        self._session = OwnerSession(server, readers)
        self._blobs = Blobs(server.name, readers, self._session)
        self._owned: dict[str, Owned] = {}
        self._calls: set[asyncio.Task[Any]] = set()
        self._closed = self._is_inherited = False
        leave_to_parent(self)

    def after_fork(self) -> None:
        """Be closed: connections and runs are the parent's, and two cannot talk over one connection."""
        self._closed = self._is_inherited = True

    async def acquire(self, run_id: str, holder: str, *, takeover: bool = False) -> Claim:
        check_name(run_id, "run id")
        return await self._call(lambda _: self._acquire(run_id, holder, None, ask=not takeover))

    async def acquire_as(self, run_id: str, holder: str, claim: Claim) -> None:
        check_name(run_id, "run id")
        await self._call(lambda _: self._acquire(run_id, holder, claim, ask=True))

    async def release(self, run_id: str, epoch: int) -> None:
        async def let_go(_: int) -> None:
            owned = self._owned.get(run_id)
            if owned is not None and owned.epoch == epoch:
                del self._owned[run_id]
                await self._session.release(owned)

        await self._call(let_go)

    async def append(
        self, run_id: str, epoch: int, sequence: int, entry: Sequence[bytes], meta: bytes
    ) -> None:
        check_entry(entry, meta, limit=_ENTRY_BYTES)

        async def add(_: int) -> None:
            owned = self._claimed(run_id, epoch)
            if not await self._append(owned, sequence, meta, await joined(entry)):
                raise await self._why_not(owned, sequence)

        await self._call(add)

    async def list_entries(self, run_id: str, *, after: int = 0, limit: int = 1000) -> Sequence[EntryInfo]:
        return await self._list(sql.LIST_ENTRIES, run_id, after, limit)

    async def list_newest(self, run_id: str, *, limit: int = 1000) -> Sequence[EntryInfo]:
        return await self._list(sql.LIST_NEWEST, run_id, 0, limit)

    async def read(
        self, run_id: str, epoch: int, sequence: int, *, offset: int = 0, length: int | None = None
    ) -> bytes:
        check_range(offset, length)
        wanted = (min(offset, _ENTRY_BYTES), _ENTRY_BYTES if length is None else min(length, _ENTRY_BYTES))
        rows = await self._rows(sql.READ, text_bytes(run_id), to_number(epoch), to_number(sequence), *wanted)
        if not rows:
            raise refusal.no_entry(self.name, epoch, sequence)
        piece: bytes = rows[0]["piece"]
        return piece

    async def write_part(self, run_id: str, epoch: int, name: str, index: int, data: Sequence[bytes]) -> None:
        check_name(name, "blob name")
        check_part(index, index, data)
        await self._call(
            lambda number: self._blobs.write(
                self._claimed(run_id, epoch), name, index, data, again=bool(number)
            )
        )

    async def finish_blob(self, run_id: str, epoch: int, name: str) -> BlobInfo:
        return await self._call(
            lambda number: self._blobs.finish(self._claimed(run_id, epoch), name, again=bool(number))
        )

    async def read_blob(self, run_id: str, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        check_range(offset, length)
        start = offset = to_number(offset)
        end = to_number(offset + (_FAR if length is None else length))
        pieces: list[bytes] = []
        while True:
            stop = min(start + sql.PIECE_BYTES, end)
            rows = await self._rows(sql.READ_BLOB, text_bytes(run_id), text_bytes(name), start, stop)
            if not rows:
                raise refusal.no_blob(self.name, name)
            pieces += [row["piece"] for row in rows if row["piece"] is not None]
            end = min(end, rows[0]["size"])
            if stop >= end:
                break
            start = stop
        if sum(map(len, pieces)) != max(0, end - offset):
            raise CorruptionError(f"{self.name}: bytes of blob {name!r} are missing", lost=[f"blob {name!r}"])
        return await joined(pieces)

    async def list_blobs(self, run_id: str) -> Sequence[BlobInfo]:
        rows = await self._rows(sql.LIST_BLOBS, text_bytes(run_id))
        self._refuse_missing(run_id, rows)
        found = [BlobInfo(bytes_text(name), size) for name, size in rows if name is not None]
        return sorted(found, key=lambda blob: blob.name)

    async def delete(
        self, run_id: str, epoch: int, *, entries: Sequence[EntryInfo] = (), blobs: Sequence[str] = ()
    ) -> None:
        numbers, names = [entry.sequence for entry in entries], [text_bytes(name) for name in blobs]

        async def remove(_: int) -> None:
            owned = self._claimed(run_id, epoch)
            async with self._session.turn(owned) as line:
                rows = await line.fetch(sql.DELETE, owned.id, epoch, numbers, names)
            if not rows:
                raise refusal.fenced(self.name, run_id, epoch)

        await self._call(remove)

    async def post(self, run_id: str, message_id: str, data: bytes) -> bool:
        check_name(message_id, "message id")
        names, call = (text_bytes(run_id), text_bytes(message_id)), uuid4()

        async def add(number: int) -> bool:
            rows = await self._readers.fetch(sql.POST, *names, data, call)
            self._refuse_missing(run_id, rows)
            if rows[0]["added"] or not number:
                return bool(rows[0]["added"])
            return bool(await self._readers.fetch(sql.POSTED_BY, *names, call))

        return await self._call(add)

    async def posted(self, run_id: str) -> Sequence[PostedMessage]:
        rows = await self._call(lambda _: self._posted(run_id))
        self._refuse_missing(run_id, rows)
        return [
            PostedMessage(bytes_text(name), number, data) for name, number, data in rows if name is not None
        ]

    async def delete_posted(self, run_id: str, message_ids: Sequence[str]) -> None:
        names = [text_bytes(message_id) for message_id in message_ids]
        self._refuse_missing(run_id, await self._rows(sql.DELETE_POSTED, text_bytes(run_id), names))

    async def list_runs(self) -> Sequence[str]:
        return sorted(bytes_text(name) for (name,) in await self._rows(sql.LIST_RUNS))

    async def delete_run(self, run_id: str) -> None:
        async def remove(number: int) -> None:
            async with self._readers.line() as line, line.transaction():
                rows = await line.fetch(sql.LOCK_RUN, text_bytes(run_id))
                if not rows and number:
                    return
                self._refuse_missing(run_id, rows)
                run = rows[0]
                if Owned(run["id"], run["epoch"], run_id) == self._owned.get(run_id):
                    raise refusal.owned(run_id, bytes_text(run["holder"]))
                await refuse_alive(line, run_id, run)
                await line.fetch(sql.DELETE_RUN, run["id"])

        await self._call(remove)

    async def aclose(self) -> None:
        if self._is_inherited:
            return
        self._closed = True
        try:
            with move_on_after(_CLOSE_SECONDS, shield=True):
                if self._calls:
                    await asyncio.wait(self._calls)
                await self._session.aclose()
                await self._readers.aclose()
        finally:
            for call in self._calls:
                call.cancel()
            self._session.drop()
            self._readers.drop()

    async def _call(self, attempt: Callable[[int], Awaitable[T]]) -> T:
        """Make the attempts of a call; they go on when the caller is cancelled."""
        if self._closed:
            raise refusal.closed(self.name)
        call = asyncio.create_task(self._server.retried(attempt))
        self._calls.add(call)
        call.add_done_callback(self._ended)
        try:
            return await asyncio.shield(call)
        except asyncio.CancelledError:
            if call.cancelled() and self._closed:
                raise refusal.closed(self.name) from None
            raise

    def _ended(self, call: asyncio.Task[Any]) -> None:
        self._calls.discard(call)
        if not call.cancelled():
            call.exception()  # nobody may be left who is told

    async def _rows(self, statement: str, *values: object) -> Sequence[Any]:
        return await self._call(lambda _: self._readers.fetch(statement, *values))

    async def _acquire(self, run_id: str, holder: str, claim: Claim | None, *, ask: bool) -> Claim:
        owned, granted = await self._session.acquire(run_id, holder, claim, ask=ask)
        self._owned[run_id] = owned
        return granted

    async def _append(self, owned: Owned, sequence: int, meta: bytes, body: bytes) -> Sequence[Any]:
        async with self._session.turn(owned) as line:
            try:
                return await line.fetch(sql.APPEND, owned.id, owned.epoch, to_number(sequence), meta, body)
            except DRIVER_ERRORS as error:
                if was_answered(error):
                    raise
                message = f"{self.name}: no answer whether entry {sequence} was added"
                raise UnknownOutcomeError(message, hint="list it") from error

    async def _why_not(self, owned: Owned, sequence: int) -> FencedError:
        async with self._session.turn() as line:
            rows = await line.fetch(sql.OWNER, owned.id)
        if rows and rows[0]["epoch"] == owned.epoch:
            return refusal.not_next(self.name, sequence, rows[0]["head"])
        return refusal.fenced(self.name, owned.run_id, owned.epoch)

    async def _list(self, statement: str, run_id: str, after: int, limit: int) -> Sequence[EntryInfo]:
        check_page(after, limit)

        async def read(_: int) -> Sequence[Any]:
            if owned := self._owned.get(run_id):
                with suppress(FencedError):  # an append in doubt is over once the lock is held
                    async with self._session.turn(owned):
                        pass
            return await self._readers.fetch(
                statement, text_bytes(run_id), to_number(after), to_number(limit)
            )

        rows = await self._call(read)
        self._refuse_missing(run_id, rows)
        return [EntryInfo(*row) for row in rows if row["sequence"] is not None]

    async def _posted(self, run_id: str) -> Sequence[Any]:
        """The inbox. An owner that adds nothing learns by this that its session broke, and begins another."""
        owned = self._owned.get(run_id)
        if owned is not None and not self._session.is_busy:
            with suppress(FencedError):
                async with self._session.turn(owned) as line:
                    return await line.fetch(sql.POSTED, text_bytes(run_id))
        return await self._readers.fetch(sql.POSTED, text_bytes(run_id))

    def _claimed(self, run_id: str, epoch: int) -> Owned:
        owned = self._owned.get(run_id)
        if owned is None or owned.epoch != epoch:
            raise refusal.fenced(self.name, run_id, epoch)
        return owned

    def _refuse_missing(self, run_id: str, rows: Sequence[Any]) -> None:
        if not rows:
            raise refusal.no_run(self.name, run_id)
