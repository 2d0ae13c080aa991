"""The client library's threads: what a process owes them as it ends, and what a forked child has not."""

from __future__ import annotations

import atexit
import os
import time

from kernelckpt.errors import StorageUnavailableError

_REST_SECONDS = 0.1


class _Threads:
    """Whether the library's threads run here, or ran in the process that this one was forked from."""

    started = False
    left_behind = False


def start_threads(name: str) -> None:
    """Say that requests are about to be made.

    Raises:
        StorageUnavailableError: this process was forked from one that had made some.
    """
    check_threads(name)
    _Threads.started = True


def check_threads(name: str) -> None:
    """Refuse requests that would wait for ever, for threads that do not exist in a forked child.

    Raises:
        StorageUnavailableError: this process is such a child.
    """
    if _Threads.left_behind:
        raise StorageUnavailableError(
            f"{name}: this process was forked from one that had used an object store",
            hint="start processes by spawn, or fork before anything opens an object store",
        )


def threads_are_gone() -> bool:
    """Whether this process was forked from one that had made requests."""
    return _Threads.left_behind


def _after_fork() -> None:
    _Threads.left_behind = _Threads.started


def _rest() -> None:
    """Give the threads time to come to rest before the interpreter ends.

    They touch it after they have given a result; one that does so while it ends aborts the process
    (pyo3-async-runtimes, issue 40).
    """
    if _Threads.started and not _Threads.left_behind:
        time.sleep(_REST_SECONDS)


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_rest)
