"""One SQLite database as a storage: a file for all runs, one thread that writes, and one that reads.

Every change is a transaction that has the lock of writers from its beginning: epoch, owner and head are
compared and moved in the one that adds the entry. Each commit is synced (WAL, synchronous=FULL).

    PATH                 the database; made by the first run
    PATH-wal, PATH-shm   SQLite's own, while somebody has it open: part of the database, not to be removed
    PATH-owners/<token>  held with a lock by the owner of a run, for as long as it lives; what it acknowledged
    PATH-new-<random>    a database being made; left over when its maker was killed
"""

# ruff: noqa: D102 - the contract is written once, in abc.py

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from anyio import move_on_after
from msgspec import structs

from kernelckpt.abc import BlobInfo, Claim, EntryInfo, PostedMessage, StorageBackend
from kernelckpt.storage import refusal
from kernelckpt.storage.check import check_entry, check_name, check_page, check_part, check_range
from kernelckpt.storage.file.error import storage_error
from kernelckpt.storage.file.medium import medium_notes, refuse_network
from kernelckpt.storage.file.ops import FileOps
from kernelckpt.storage.fork import leave_to_parent
from kernelckpt.storage.sqlite.doomed import DoomedRows
from kernelckpt.storage.sqlite.error import sqlite_error, too_large
from kernelckpt.storage.sqlite.file import Connect, SqliteFile
from kernelckpt.storage.sqlite.owner import Ownership
from kernelckpt.storage.sqlite.row import BlobRow, Rows, RunRow
from kernelckpt.storage.sqlite.thread import SqliteThread
from kernelckpt.storage.text import text_bytes
from kernelckpt.storage.url import local_url, open_local

T = TypeVar("T")

_CLOSE_SECONDS = 10.0
"""How long closing waits for a call that the disk has not answered."""


async def open_sqlite(url: str) -> SqliteStorage:
    """Open the storage of a `sqlite:` URL; the file is made by the first run.

    Raises:
        StorageUrlError: the URL names no file.
        StorageUnavailableError: the file cannot be read, is no database of ours, lies on a network file
            system that was not allowed, or SQLite cannot keep its promises there.
        UnsupportedVersionError: a newer version made it.
    """
    return await open_local(url, SqliteStorage)


class SqliteStorage(StorageBackend):
    """Runs kept in a local SQLite database. Safe against `kill -9` and power loss on a local file system.

    A forked child that inherits one can read with it, but owns nothing: `FencedError` on the first write.
    """

    durable = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        allow_network_fs: bool = False,
        ops: FileOps | None = None,
        connect: Connect = sqlite3.connect,
    ) -> None:
        """Touch nothing yet.

        Args:
            path: the database; made when the first run is.
            allow_network_fs: use it even on a network file system, or one in user space.
            ops: the file system's calls, as far as they are not SQLite's, to be replaced in tests.
            connect: makes connections, to be replaced in tests.
        """
        self.path = str(Path(path).absolute())
        self.name = local_url("sqlite", self.path)
        self._ops = ops or FileOps()
        self._allow_network_fs = allow_network_fs
        self._ownership = Ownership(self.name, self._ops, self.path)
        make = partial(SqliteFile, self.path, self.name, self._ops, connect)
        self._writer, self._reader = SqliteThread(partial(make, writes=True)), SqliteThread(make)
        self._closed = False
        self._leaving: asyncio.Task[None] | None = None
        leave_to_parent(self)

    def after_fork(self) -> None:
        """In a forked child: own nothing, and leave the connections alone."""
        self._ownership.leave_to_parent()
        self._writer.after_fork()
        self._reader.after_fork()

    async def check(self) -> None:
        """Raise unless the file is ours or not there yet, on a file system that can be relied on."""
        await self._call(self._reader, self._look_at_medium)
        await self._call(self._reader, SqliteFile.open)

    async def acquire(self, run_id: str, holder: str, *, takeover: bool = False) -> Claim:
        check_name(run_id, "run id")
        return await self._acquire(run_id, holder, None, takeover=takeover)

    async def acquire_as(self, run_id: str, holder: str, claim: Claim) -> None:
        check_name(run_id, "run id")
        await self._acquire(run_id, holder, claim)

    async def release(self, run_id: str, epoch: int) -> None:
        await self._call(self._writer, lambda _: self._ownership.release(run_id, epoch))

    async def append(
        self, run_id: str, epoch: int, sequence: int, entry: Sequence[bytes], meta: bytes
    ) -> None:
        check_entry(entry, meta)

        def add(rows: Rows, run: RunRow) -> None:
            if sequence != run.head + 1:
                raise refusal.not_next(self.name, sequence, run.head)
            rows.add_entry(run, sequence, entry, meta)
            rows.put_run(structs.replace(run, head=sequence))

        await self._own(run_id, epoch, add, head=sequence)

    async def list_entries(self, run_id: str, *, after: int = 0, limit: int = 1000) -> Sequence[EntryInfo]:
        check_page(after, limit)
        return await self._look(run_id, lambda rows, run: rows.list_entries(run, after, limit))

    async def list_newest(self, run_id: str, *, limit: int = 1000) -> Sequence[EntryInfo]:
        check_page(0, limit)
        return await self._look(run_id, lambda rows, run: rows.newest_entries(run, limit))

    async def read(
        self, run_id: str, epoch: int, sequence: int, *, offset: int = 0, length: int | None = None
    ) -> bytes:
        check_range(offset, length)

        def read(rows: Rows, run: RunRow) -> bytes:
            found = rows.read_entry(run, epoch, sequence, offset, length)
            if found is None:
                raise refusal.no_entry(self.name, epoch, sequence)
            return found

        return await self._look(run_id, read)

    async def write_part(self, run_id: str, epoch: int, name: str, index: int, data: Sequence[bytes]) -> None:
        check_name(name, "blob name")

        def add(rows: Rows, run: RunRow) -> None:
            blob = _unfinished(rows, run, name) or BlobRow(text_bytes(name))
            check_part(index, blob.parts, data)
            rows.add_pieces(run, blob, data)
            size = blob.size + sum(map(len, data))
            rows.put_blob(run, structs.replace(blob, parts=blob.parts + 1, size=size))

        await self._own(run_id, epoch, add)

    async def finish_blob(self, run_id: str, epoch: int, name: str) -> BlobInfo:
        def finish(rows: Rows, run: RunRow) -> BlobInfo:
            blob = _unfinished(rows, run, name)
            if blob is None:
                raise refusal.no_parts(self.name, name)
            rows.put_blob(run, structs.replace(blob, whole=True))
            return BlobInfo(name, blob.size)

        return await self._own(run_id, epoch, finish)

    async def read_blob(self, run_id: str, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        check_range(offset, length)

        def read(rows: Rows, run: RunRow) -> bytes:
            blob = rows.find_blob(run, name)
            if blob is None or not blob.whole:
                raise refusal.no_blob(self.name, name)
            return rows.read_blob(run, blob, offset, length)

        return await self._look(run_id, read)

    async def list_blobs(self, run_id: str) -> Sequence[BlobInfo]:
        return await self._look(run_id, lambda rows, run: rows.list_blobs(run))

    async def overview(
        self, run_id: str, *, limit: int = 1000
    ) -> tuple[Sequence[EntryInfo], Sequence[BlobInfo]]:
        check_page(0, limit)
        return await self._look(
            run_id, lambda rows, run: (rows.newest_entries(run, limit), rows.list_blobs(run))
        )

    async def delete(
        self, run_id: str, epoch: int, *, entries: Sequence[EntryInfo] = (), blobs: Sequence[str] = ()
    ) -> None:
        numbers = [entry.sequence for entry in entries]

        def delete(rows: Rows, run: RunRow) -> None:
            rows.delete_entries(run, numbers)
            newest = max(number for number in (run.removed, *numbers) if number <= run.head)
            rows.put_run(structs.replace(rows.delete_blobs(run, blobs), removed=newest))

        await self._own(run_id, epoch, delete, shrink=True)

    async def post(self, run_id: str, message_id: str, data: bytes) -> bool:
        check_name(message_id, "message id")
        return await self._change(run_id, lambda rows, run: rows.post(run, message_id, data))

    async def posted(self, run_id: str) -> Sequence[PostedMessage]:
        return await self._look(run_id, lambda rows, run: rows.posted(run))

    async def delete_posted(self, run_id: str, message_ids: Sequence[str]) -> None:
        await self._change(run_id, lambda rows, run: rows.delete_posted(run, message_ids))

    async def list_runs(self) -> Sequence[str]:
        def look(file: SqliteFile) -> Sequence[str]:
            db = file.open()
            if db is None:
                return ()
            with file.transaction(db):
                return Rows(db, self.name).list_runs()

        return await self._call(self._reader, look)

    async def delete_run(self, run_id: str) -> None:
        def delete(rows: Rows, run: RunRow) -> int:
            self._ownership.refuse_alive(run_id, run)
            rows.delete_run(run)
            return run.owner

        owner = await self._change(run_id, delete, kind=DoomedRows, shrink=True)
        await self._call(self._writer, lambda _: self._ownership.forget(owner))

    async def aclose(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._leaving = asyncio.create_task(self._leave())
        with move_on_after(_CLOSE_SECONDS):  # a disk that never answers keeps its threads, not their user
            await asyncio.shield(self._leaving)  # cancelled or not, the runs are let go

    async def _leave(self) -> None:
        """Let the runs go, then close one connection after the other: the last one takes the log with it."""
        try:
            await self._writer.call(lambda _: self._ownership.release_all())
            await self._reader.call(SqliteFile.close)
            await self._writer.call(SqliteFile.close)
        finally:
            self._writer.shutdown()
            self._reader.shutdown()

    async def _call(self, thread: SqliteThread, function: Callable[[SqliteFile], T]) -> T:
        """Run a function in a thread; errors of SQLite and of the system leave it typed."""
        if self._closed:
            raise refusal.closed(self.name)

        def work(file: SqliteFile) -> T:
            try:
                return function(file)
            except sqlite3.Error as error:
                raise sqlite_error(error, self.name) from error
            except OSError as error:
                raise storage_error(error, self.path) from error
            except OverflowError as error:
                raise too_large(self.name) from error

        return await thread.call(work)

    async def _acquire(
        self, run_id: str, holder: str, claim: Claim | None, *, takeover: bool = False
    ) -> Claim:
        def acquire(file: SqliteFile) -> Claim:
            self._look_at_medium(file)
            return self._ownership.acquire(run_id, holder, claim, file, takeover=takeover)

        return await self._call(self._writer, acquire)

    async def _look(self, run_id: str, job: Callable[[Rows, RunRow], T]) -> T:
        """Read something of a run, all of it as it is at one moment."""

        def look(file: SqliteFile) -> T:
            db = file.open()
            if db is None:
                raise refusal.no_run(self.name, run_id)
            with file.transaction(db):
                rows = Rows(db, self.name)
                return job(rows, self._existing(run_id, rows.find_run(run_id)))

        return await self._call(self._reader, look)

    async def _change(
        self,
        run_id: str,
        job: Callable[[Rows, RunRow], T],
        *,
        kind: type[Rows] = Rows,
        shrink: bool = False,
    ) -> T:
        """Change something of a run, whoever owns it."""

        def change(rows: Rows, run: RunRow | None) -> T:
            return job(rows, self._existing(run_id, run))

        return await self._call(self._writer, partial(self._write, run_id, change, kind=kind, shrink=shrink))

    async def _own(
        self,
        run_id: str,
        epoch: int,
        job: Callable[[Rows, RunRow], T],
        *,
        shrink: bool = False,
        head: int = 0,
    ) -> T:
        """Change something of a run as its owner; `head` is the entry that was added by it."""

        def own(file: SqliteFile) -> T:
            self._ownership.check(run_id, epoch)
            done = self._write(run_id, change, file, shrink=shrink)
            if head:
                self._ownership.mark(run_id, head)
            return done

        def change(rows: Rows, run: RunRow | None) -> T:
            if run is None:
                raise refusal.fenced(self.name, run_id, epoch)
            self._ownership.check(run_id, epoch, run)
            return job(rows, run)

        return await self._call(self._writer, own)

    def _write(
        self,
        run_id: str,
        change: Callable[[Rows, RunRow | None], T],
        file: SqliteFile,
        *,
        kind: type[Rows] = Rows,
        shrink: bool,
    ) -> T:
        db = file.open()
        if db is None:
            raise refusal.no_run(self.name, run_id)
        with file.transaction(db, write=True):
            rows = kind(db, self.name)
            done = change(rows, rows.find_run(run_id))
        file.tend(db, shrink=shrink)
        return done

    def _look_at_medium(self, _file: SqliteFile) -> None:
        kind = self._ops.file_system(self.path)
        if not self._allow_network_fs:
            refuse_network(kind, self.path, "sqlite")
        self.notes = medium_notes(kind, self.path)

    def _existing(self, run_id: str, run: RunRow | None) -> RunRow:
        if run is None:
            raise refusal.no_run(self.name, run_id)
        return run


def _unfinished(rows: Rows, run: RunRow, name: str) -> BlobRow | None:
    blob = rows.find_blob(run, name)
    if blob is not None and blob.whole:
        raise refusal.name_taken(name)
    return blob
