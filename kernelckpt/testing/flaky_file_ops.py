"""A file system as a process of a simulated machine meets it: slow, full or failing, cut off when killed."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from msgspec import Struct

from kernelckpt.testing.sim_fs import SimFileSystem
from kernelckpt.testing.sim_loop import SimLoop
from kernelckpt.testing.sim_process import SimKilledError, SimProcess

_SYNCS = frozenset({"fdatasync", "fsync", "fsync_folder"})
_CHANGES = frozenset({"create", "pwritev", "link", "rename", "unlink", "mkdir", "rmdir"})
_NEEDS_SPACE = frozenset({"create", "pwritev", "link", "mkdir"})


class FileFaults(Struct, frozen=True, kw_only=True):
    """How a disk behaves; shares are of the calls concerned, 0 to 1.

    Attributes:
        seconds: how long a call takes on the average.
        pauses: share of the calls during which others run.
        stalls: share that take `stall_seconds`, or up to half as long again or less.
        stall_seconds: how long that is.
        reads: share of the calls that read, and fail.
        changes: share of the calls that change something, and fail.
        full: share of the calls that need space, and find none; a write may take a part first.
        syncs: share of the syncs that fail: what the file was to make durable never is by a later one.
    """

    seconds: float = 0.001
    pauses: float = 0.5
    stalls: float = 0.0
    stall_seconds: float = 90.0
    reads: float = 0.0
    changes: float = 0.0
    full: float = 0.0
    syncs: float = 0.0


class FlakyFileOps:
    """What `FileStorage` takes as `ops`, for one process on a `SimFileSystem`, within a `SimLoop`.

    When the process is killed, its files are closed, and calls it still makes raise `SimKilledError`.

    Attributes:
        faults: how the disk behaves; may be changed at any time.
        failed: how many calls were made to fail.
    """

    def __init__(
        self, fs: SimFileSystem, loop: SimLoop, process: SimProcess, faults: FileFaults | None = None
    ) -> None:
        """Pass calls on to `fs` as the faults allow."""
        self.faults = faults or FileFaults()
        self.failed = 0
        self._fs = fs
        self._loop = loop
        self._process = process
        self._fds: dict[int, str] = {}
        self._is_full = False
        process.at_kill.append(self._close_all)

    def __getattr__(self, call: str) -> Callable[..., Any]:
        target = getattr(self._fs, call)

        def run(*arguments: Any, **options: Any) -> Any:
            self._let_pass()
            self._meet_fault(call, arguments)
            if call == "pwritev" and (self._is_full or self._hits(self.faults.full)):
                return self._write_part(target, *arguments)
            result = target(*arguments, **options)
            if call in ("create", "open"):
                self._fds[result] = arguments[0]
            elif call == "close":
                self._fds.pop(arguments[0], None)
            self._let_pass()
            return result

        return run

    def _let_pass(self) -> None:
        faults = self.faults
        if self._hits(faults.stalls):
            self._loop.pause(faults.stall_seconds * self._loop.chance.uniform(0.5, 1.5))
        elif self._hits(faults.pauses):
            self._loop.pause(self._loop.chance.expovariate(1 / faults.seconds))
        if self._process.state == "killed":
            raise SimKilledError

    def _meet_fault(self, call: str, arguments: tuple[Any, ...]) -> None:
        faults = self.faults
        if call in _SYNCS:
            if self._hits(faults.syncs):
                if call != "fsync_folder":
                    self._fs.fail_sync(arguments[0])
                self._fail(errno.EIO, arguments)
        elif call in _CHANGES:
            if self._hits(faults.changes):
                self._fail(errno.EIO, arguments)
            if call in _NEEDS_SPACE and call != "pwritev" and self._hits(faults.full):
                self._fail(errno.ENOSPC, arguments)
        elif call not in ("close", "unlock", "wall_ns") and self._hits(faults.reads):
            self._fail(errno.EIO, arguments)

    def _write_part(self, write: Callable[..., int], fd: int, pieces: Any, offset: int) -> int:
        """A disk that becomes full within a write: a part is taken, or nothing; the next one fails."""
        data = b"".join(pieces)
        taken = self._loop.chance.randrange(len(data)) if data and not self._is_full else 0
        self._is_full = taken > 0
        if not taken:
            self._fail(errno.ENOSPC, (fd,))
        return write(fd, [data[:taken]], offset)

    def _fail(self, number: int, arguments: tuple[Any, ...]) -> None:
        self.failed += 1
        first = arguments[0] if arguments else None
        path = self._fds.get(first) if isinstance(first, int) else first
        raise OSError(number, os.strerror(number), path)

    def _hits(self, share: float) -> bool:
        return share > 0 and self._loop.chance.random() < share

    def _close_all(self) -> None:
        for fd in self._fds:
            with suppress(OSError):
                self._fs.close(fd)
        self._fds.clear()
