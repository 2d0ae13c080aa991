"""What an error of SQLite means to its caller; mapped here and nowhere else."""

from __future__ import annotations

import sqlite3

from kernelckpt.errors import (
    CorruptionError,
    InvalidValueError,
    KernelCkptError,
    StorageError,
    StorageFullError,
    StorageUnavailableError,
    SyncFailedError,
    UnknownOutcomeError,
)

_PRIMARY = 0xFF
"""The bits of a result code that its extended codes share; see sqlite.org/rescode.html."""

_HELD = "another process holds it: look for one that is frozen within a transaction"
_UNUSABLE = {
    sqlite3.SQLITE_AUTH: "give this user the right to read and write it",
    sqlite3.SQLITE_BUSY: _HELD,
    sqlite3.SQLITE_CANTOPEN: "give this user the right to read and write the file and its folder",
    sqlite3.SQLITE_LOCKED: _HELD,
    sqlite3.SQLITE_NOLFS: "choose a file system that holds large files",
    sqlite3.SQLITE_NOTADB: "it is no SQLite database, or its first page is damaged: name another file",
    sqlite3.SQLITE_PERM: "give this user the right to read and write it",
    sqlite3.SQLITE_PROTOCOL: _HELD,
    sqlite3.SQLITE_READONLY: "give this user the right to write the file and its folder",
}
_FULL = {
    sqlite3.SQLITE_FULL: "free space on that file system, or raise the quota",
    sqlite3.SQLITE_IOERR_SHMSIZE: "free space on that file system, or raise the quota",
}
_SYNC = {sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC}
_NOT_COMMITTED = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL}
_LOG_HINT = "look for messages about that disk in the system's log"


def result_code(error: sqlite3.Error) -> int:
    """The extended result code; 0 for an error that SQLite has no part in."""
    return getattr(error, "sqlite_errorcode", 0)


def sqlite_error(error: sqlite3.Error, name: str) -> KernelCkptError:
    """The typed error for a failed call; what it was to do was not done.

    Args:
        error: what SQLite raised.
        name: the storage, for the message.
    """
    code = result_code(error)
    text = f"{name}: {_reason(error)}"
    if hint := _FULL.get(code) or _FULL.get(code & _PRIMARY):
        return StorageFullError(text, hint=hint)
    if code in _SYNC:
        return SyncFailedError(text, hint=_LOG_HINT)
    if hint := _UNUSABLE.get(code & _PRIMARY):
        return StorageUnavailableError(text, hint=hint)
    if code & _PRIMARY == sqlite3.SQLITE_CORRUPT:
        return damaged(name, _reason(error))
    if code & _PRIMARY == sqlite3.SQLITE_TOOBIG:
        return too_large(name)
    return StorageError(text, hint=_LOG_HINT)


def commit_error(error: sqlite3.Error, name: str) -> KernelCkptError:
    """The typed error for a failed COMMIT: unless it failed for want of space or a lock, nobody knows.

    The record that commits may be written whole before its sync fails, and count if the process ends then.
    """
    if result_code(error) & _PRIMARY in _NOT_COMMITTED:
        return sqlite_error(error, name)
    return UnknownOutcomeError(f"{name}: a commit failed: {_reason(error)}", hint=_LOG_HINT)


def too_large(name: str) -> InvalidValueError:
    """A message or a number that SQLite does not hold."""
    return InvalidValueError(
        f"{name}: a message or a number is too large for SQLite",
        hint="a message has less than 1 GB, a number less than 64 bits",
        path="data",
    )


def damaged(name: str, reason: str, *lost: str) -> CorruptionError:
    """Something acknowledged is not what was written."""
    return CorruptionError(
        f"{name}: {reason}", hint="restore the database from a backup", lost=lost or (name,)
    )


def _reason(error: sqlite3.Error) -> str:
    return f"{error} [{getattr(error, 'sqlite_errorname', type(error).__name__)}]"
