"""A database file of SQLite: made whole, opened only when it is ours, with settings that are read back."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import PurePath
from secrets import token_hex
from typing import TypeAlias
from urllib.parse import quote_from_bytes

from kernelckpt.errors import StorageUnavailableError, UnknownOutcomeError, UnsupportedVersionError
from kernelckpt.storage.file.ops import FileOps
from kernelckpt.storage.file.owner import exists
from kernelckpt.storage.file.root import make_folders
from kernelckpt.storage.sqlite.error import commit_error
from kernelckpt.storage.sqlite.row import SCHEMA

Connect: TypeAlias = Callable[..., sqlite3.Connection]
"""`sqlite3.connect`, or what stands in for it."""

APPLICATION_ID = 0x6B636B70
VERSION = 1
BUSY_MS = 5000
WAL_BYTES = 16 * 1024 * 1024
"""A longer write-ahead log is cut off at the next checkpoint."""

_CHANGES = 512
"""Rows that one connection changes between two checkpoints."""

_PATIENCE = 16
"""So many times as many, after a checkpoint that had to leave the log as it is."""

_CHECKPOINT_BUSY_MS = 1000
_FREE_PAGES = 256
_VACUUM_PAGES = 2048

_SETTINGS = (
    ("busy_timeout", str(BUSY_MS)),
    ("journal_mode", "wal"),
    ("synchronous", "2"),  # FULL: in this journal mode, each commit is synced
    ("wal_autocheckpoint", "0"),  # see `SqliteFile`
)
"""Without these nothing is promised: each is read back, and refused when it did not take."""

_WISHES = (
    ("fullfsync", "1"),  # macOS
    ("checkpoint_fullfsync", "1"),
    ("cell_size_check", "1"),
    ("trusted_schema", "0"),
    ("mmap_size", "0"),
    ("secure_delete", "2"),  # else each page that is given up is written once more
    ("journal_size_limit", str(WAL_BYTES)),
)


class SqliteFile:
    """One connection to a database, opened when it is first used; of one thread.

    Checkpoints wait for the lock of writers. That is why SQLite's own, after a commit, are off: before
    version 3.51.3, one that runs while another connection begins the log anew may take commits for copied
    that are not (sqlite.org/wal.html, "the WAL-reset bug").
    """

    def __init__(self, path: str, name: str, ops: FileOps, connect: Connect, *, writes: bool = False) -> None:
        """Touch nothing yet.

        Args:
            path: absolute.
            name: the storage, for messages.
            ops: the file system's calls.
            connect: makes a connection.
            writes: whether it is used to change anything.
        """
        self._path = path
        self._name = name
        self._ops = ops
        self._connect = connect
        self._writes = writes
        self._db: sqlite3.Connection | None = None
        self._inode = 0
        self._next_changes = _CHANGES
        self._tolerated_bytes = WAL_BYTES

    def open(self, *, make: bool = False) -> sqlite3.Connection | None:
        """The connection; None when there is no file, unless it is to be made.

        Raises:
            StorageUnavailableError: it is not ours, or cannot be used as it must be, or was moved.
            UnsupportedVersionError: a newer version made it.
        """
        if self._db is not None:
            self._refuse_moved()
            return self._db
        self._path = os.path.realpath(self._path)  # as SQLite names its other files
        if not exists(self._ops, self._path):
            if not make:
                return None
            self._make()
        self._inode = self._found_inode()
        self._refuse_foreign()
        db = self._connect(_uri(self._path, "rw"), uri=True, isolation_level=None)
        try:
            db.text_factory = bytes
            self._settle(db)
            self._check_version(db)
            self._refuse_moved()
            if self._writes:
                # Whoever made the file may have been killed before its name was durable.
                self._ops.fsync_folder(str(PurePath(self._path).parent))
                # The newest commit found may be of one that was killed after its sync had failed: the system
                # believes its pages to be clean. A checkpoint writes them elsewhere, and syncs that.
                self._checkpoint(db, cut=True)
        except BaseException:
            db.close()
            raise
        self._db = db
        return db

    def made(self) -> sqlite3.Connection:
        """The connection to a database that is made when there is none."""
        db = self.open(make=True)
        assert db is not None
        return db

    def close(self) -> None:
        """Close the connection; the next use opens another one."""
        db, self._db = self._db, None
        if db is not None:
            with suppress(sqlite3.Error):
                db.close()

    @contextmanager
    def transaction(self, db: sqlite3.Connection, *, write: bool = False) -> Iterator[None]:
        """Commit what the block does, durably when it writes; or undo it when it raises.

        Raises:
            UnknownOutcomeError: it may or may not have been committed.
        """
        try:
            db.execute("BEGIN IMMEDIATE" if write else "BEGIN")
            yield
            self._commit(db, write=write)
        except BaseException:
            # Not closed: whoever opened it then might take a commit for good that was never synced.
            with suppress(sqlite3.Error):
                db.execute("ROLLBACK")
            raise
        if write:
            self._refuse_lost()

    def tend(self, db: sqlite3.Connection, *, shrink: bool) -> None:
        """Keep log and file short, after something was committed: what fails here is tried again later."""
        with suppress(sqlite3.Error):
            size = self._wal_bytes()
            if size > self._tolerated_bytes or db.total_changes >= self._next_changes:
                self._checkpoint(db, cut=size > WAL_BYTES)
            if shrink:
                self._give_back(db)

    def _checkpoint(self, db: sqlite3.Connection, *, cut: bool) -> None:
        """Bring the write-ahead log into the database, and begin it anew; cut off what is too long.

        Not while somebody reads in what is older: then it grows by so much until the next try.
        """
        db.execute(f"PRAGMA busy_timeout = {_CHECKPOINT_BUSY_MS}")
        try:
            busy = int(_value(db, f"PRAGMA wal_checkpoint({'TRUNCATE' if cut else 'RESTART'})"))
        finally:
            db.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
        self._tolerated_bytes = WAL_BYTES + (self._wal_bytes() if busy else 0)
        self._next_changes = db.total_changes + _CHANGES * (_PATIENCE if busy else 1)

    def _give_back(self, db: sqlite3.Connection) -> None:
        """Return pages that nothing is in to the file system, when they are most of the file."""
        free, pages = (int(_value(db, f"PRAGMA {name}")) for name in ("freelist_count", "page_count"))
        if free > max(_FREE_PAGES, pages // 2):
            db.executescript(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})")  # `execute` ends after one page

    def _commit(self, db: sqlite3.Connection, *, write: bool) -> None:
        try:
            db.execute("COMMIT")
        except sqlite3.Error as error:
            if not write:
                raise
            raise commit_error(error, self._name) from error

    def _wal_bytes(self) -> int:
        try:
            return self._ops.stat(f"{self._path}-wal").size
        except FileNotFoundError:
            return 0

    def _found_inode(self) -> int:
        facts = self._ops.stat(self._path)
        if facts.kind != "file":
            raise StorageUnavailableError(f"{self._name}: not a regular file", hint="name another file")
        return facts.inode

    def _refuse_moved(self) -> None:
        try:
            if self._found_inode() == self._inode:
                return
        except FileNotFoundError:
            pass
        raise StorageUnavailableError(
            f"{self._name}: the file was moved, removed or replaced while it was open",
            hint="put it back, or open the storage again",
        )

    def _refuse_lost(self) -> None:
        try:
            self._refuse_moved()
        except StorageUnavailableError as error:
            raise UnknownOutcomeError(error.message, hint=error.hint) from error

    def _make(self) -> None:
        """Make an empty database beside the place of the file, and put it there whole.

        A file left over by one that was killed at it is of no use to anybody.
        """
        make_folders(self._ops, str(PurePath(self._path).parent))
        temporary = f"{self._path}-new-{token_hex(8)}"
        self._ops.close(self._ops.create(temporary))
        try:
            self._fill(temporary)
            with suppress(FileExistsError):  # somebody else was faster
                self._ops.link(temporary, self._path)
        finally:
            self._ops.unlink(temporary)

    def _fill(self, temporary: str) -> None:
        with closing(self._connect(_uri(temporary, "rw"), uri=True, isolation_level=None)) as db:
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")
            self._settle(db)
            db.execute("BEGIN")
            for statement in SCHEMA:
                db.execute(statement)
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {VERSION}")
            db.execute("COMMIT")
        fd = self._ops.open(temporary, write=True)  # nobody has locks on it that closing it would end
        try:
            self._ops.fsync(fd)
        finally:
            self._ops.close(fd)

    def _settle(self, db: sqlite3.Connection) -> None:
        for setting, value in (*_WISHES, *_SETTINGS):
            db.execute(f"PRAGMA {setting} = {value}").fetchall()
        for setting, value in _SETTINGS:
            if (found := _value(db, f"PRAGMA {setting}")) != value:
                raise StorageUnavailableError(
                    f"{self._name}: {setting} is {found} and not {value}, without which nothing is durable",
                    hint="choose a local file system on which SQLite can use its write-ahead log",
                )

    def _refuse_foreign(self) -> None:
        """Look at the database's first page as a file that never changes: without a lock, or a trace."""
        with closing(self._connect(_uri(self._path, "ro&immutable=1"), uri=True)) as db:
            self._check_version(db)

    def _check_version(self, db: sqlite3.Connection) -> None:
        if int(_value(db, "PRAGMA application_id")) != APPLICATION_ID:
            raise StorageUnavailableError(
                f"{self._name}: a foreign file: not made by kernelckpt", hint="name another or a new file"
            )
        found = int(_value(db, "PRAGMA user_version"))
        if found != VERSION:
            raise UnsupportedVersionError(
                f"{self._name}: has layout version {found}, this kernelckpt reads {VERSION}",
                hint="use the kernelckpt that made it, or a newer one",
                found=found,
                supported=VERSION,
            )


def _uri(path: str, mode: str) -> str:
    """What SQLite opens without making it."""
    return f"file:{quote_from_bytes(os.fsencode(path))}?mode={mode}"


def _value(db: sqlite3.Connection, statement: str) -> str:
    rows = db.execute(statement).fetchall()
    found = rows[0][0] if rows else ""
    return found.decode("utf-8", "replace") if isinstance(found, bytes) else str(found)
