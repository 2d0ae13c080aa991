"""What an `OSError` of the file storage means to its caller; mapped here and nowhere else."""

from __future__ import annotations

import errno
import os

from kernelckpt.errors import StorageError, StorageFullError, StorageUnavailableError, SyncFailedError

_FULL = {
    errno.ENOSPC: "free space on that file system",
    errno.EDQUOT: "free space or raise the disk quota",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f)",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.ENFILE: "the system has too many open files: close some or raise fs.file-max",
}

_UNUSABLE = {
    errno.ENOENT: "the folder was moved or removed: put it back or choose another one",
    errno.ENOTDIR: "part of the path is a file: choose another folder",
    errno.EISDIR: "a folder stands where a file belongs: move it away",
    errno.ELOOP: "it is a symbolic link: put the file itself there",
    errno.EACCES: "give this user the right to read and write it",
    errno.EPERM: "give this user the right to read and write it",
    errno.EROFS: "it is mounted read-only: remount it or choose another folder",
    errno.ENXIO: "it is not a regular file: move it away",
    errno.ENAMETOOLONG: "choose a folder with a shorter path",
}


def storage_error(error: OSError, path: str) -> StorageError:
    """The typed error for a failed call.

    Args:
        error: what the call raised.
        path: where it happened, unless the error names it.
    """
    where = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else path
    text = f"{where}: {_reason(error)}"
    if error.errno in _FULL:
        return StorageFullError(text, hint=_FULL[error.errno])
    if error.errno in _UNUSABLE:
        return StorageUnavailableError(text, hint=_UNUSABLE[error.errno])
    return StorageError(text, hint="look for messages about that disk in the system's log")


def sync_error(error: OSError, path: str) -> StorageError:
    """The typed error for a failed sync of `path`; what was written there is not to be trusted again."""
    if error.errno in _FULL:
        return storage_error(error, path)
    return SyncFailedError(
        f"{path}: a sync failed: {_reason(error)}",
        hint="the disk may be failing: look for messages about it in the system's log",
    )


def _reason(error: OSError) -> str:
    number = error.errno or 0
    return f"{os.strerror(number)} [{errno.errorcode.get(number, number)}]" if number else str(error)
