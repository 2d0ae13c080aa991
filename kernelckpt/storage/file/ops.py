"""The calls `FileStorage` makes to the operating system, so that another file system can stand in for it."""

# ruff: noqa: PTH101, PTH102, PTH104, PTH106, PTH108, PTH208 - these are the system's own calls, on names as text

from __future__ import annotations

import fcntl
import os
import stat
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from msgspec import Struct

from kernelckpt.storage.file.medium import mounted_type

_SAFE = os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_PIECES = 512
"""Pieces given to one `pwritev`; systems refuse more than 1024."""


class FileFacts(Struct, frozen=True):
    """What is known of a path or descriptor without reading it; sizes in bytes, `links` the names of it."""

    kind: Literal["file", "folder", "other"]
    size: int
    inode: int
    modified_ns: int
    links: int = 1


class FileOps:
    """The real file system. Every call either does what it says or raises `OSError`; none retries.

    Files are made with mode 0600 and folders with 0700 whatever the umask, and no last component of a path
    is followed when it is a symbolic link.
    """

    def create(self, path: str) -> int:
        """Make a new file, open for reading and writing; `FileExistsError` when the name is taken."""
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | _SAFE, 0o600)
        os.fchmod(fd, 0o600)
        return fd

    def open(self, path: str, *, write: bool = False) -> int:
        """Open an existing file."""
        # Without O_NONBLOCK, opening a pipe that somebody put there would wait for ever.
        return os.open(path, (os.O_RDWR if write else os.O_RDONLY) | os.O_NONBLOCK | _SAFE)

    def close(self, fd: int) -> None:
        """Close a descriptor."""
        os.close(fd)

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        """Up to `size` bytes from `offset`; fewer near the end of the file, or for no reason."""
        return os.pread(fd, size, offset)

    def pwritev(self, fd: int, pieces: Sequence[bytes | memoryview], offset: int) -> int:
        """Write pieces at `offset`; returns how many bytes were taken, which may be fewer than given."""
        return os.pwritev(fd, pieces[:_MAX_PIECES], offset)

    def fdatasync(self, fd: int) -> None:
        """Bring the data and the size of a file to the medium."""
        os.fdatasync(fd)

    def fsync(self, fd: int) -> None:
        """Bring a file to the medium."""
        os.fsync(fd)

    def fsync_folder(self, path: str) -> None:
        """Bring the names in a folder to the medium."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def lock(self, fd: int, *, shared: bool = False) -> bool:
        """Take the file's lock without waiting; false when another holds it. It ends with its holder."""
        try:
            fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def unlock(self, fd: int) -> None:
        """Give the lock up, also for a forked child that inherited the descriptor."""
        fcntl.flock(fd, fcntl.LOCK_UN)

    def wall_ns(self) -> int:
        """Nanoseconds since 1970; used to sort what is posted, for nothing else."""
        return time.time_ns()

    def stat(self, path: str) -> FileFacts:
        """The facts of a path; a symbolic link is "other"."""
        return _facts(os.lstat(path))

    def fstat(self, fd: int) -> FileFacts:
        """The facts of an open file."""
        return _facts(os.fstat(fd))

    def link(self, source: str, target: str) -> None:
        """Give a file a second name; `FileExistsError` when it is taken."""
        os.link(source, target, follow_symlinks=False)

    def rename(self, source: str, target: str) -> None:
        """Move a file or folder within its folder."""
        os.rename(source, target)

    def unlink(self, path: str) -> None:
        """Remove a name."""
        os.unlink(path)

    def mkdir(self, path: str) -> None:
        """Make a folder."""
        os.mkdir(path, 0o700)
        os.chmod(path, 0o700)

    def rmdir(self, path: str) -> None:
        """Remove an empty folder."""
        os.rmdir(path)

    def file_system(self, path: str) -> str:
        """The type of the file system that a path lies on, or would; "" where the system does not tell."""
        try:
            told = Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape")
        except OSError:
            return ""
        return mounted_type(told, os.path.realpath(path))

    def listdir(self, path: str) -> list[str]:
        """The names in a folder, in no order."""
        return os.listdir(path)


def _facts(found: os.stat_result) -> FileFacts:
    kind: Literal["file", "folder", "other"] = "other"
    if stat.S_ISREG(found.st_mode):
        kind = "file"
    elif stat.S_ISDIR(found.st_mode):
        kind = "folder"
    return FileFacts(kind, found.st_size, found.st_ino, found.st_mtime_ns, found.st_nlink)
