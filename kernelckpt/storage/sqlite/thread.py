"""A thread that alone uses one connection to a database, and what becomes of it when the process forks."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar
from weakref import WeakSet

from aiofiles.os import wrap

from kernelckpt.storage.sqlite.file import SqliteFile

T = TypeVar("T")

_FORK_SECONDS = 10.0
"""How long a fork waits for a call to the database to end."""


class SqliteThread:
    """Runs functions one after the other: a cancelled call is finished by the thread, or never begun.

    Nothing of SQLite is used while the process forks, so that the child finds no mutex taken for ever.
    """

    def __init__(self, make: Callable[[], SqliteFile]) -> None:
        """Start nothing yet; `make` gives an unopened file."""
        self._make = make
        self.gate = threading.Lock()
        self._begin()
        _known.add(self)

    def after_fork(self) -> None:
        """In a forked child: work with a thread and a connection of the child's own."""
        self.gate = threading.Lock()
        self._begin()

    async def call(self, function: Callable[[SqliteFile], T]) -> T:
        """Run a function in the thread."""
        file = self.file

        def work() -> T:
            with self.gate:
                return function(file)

        return await wrap(work)(executor=self._executor)

    def shutdown(self) -> None:
        """End the thread after the calls it was given."""
        self._executor.shutdown(wait=False)

    def _begin(self) -> None:
        self.file = self._make()
        # SQLite's connections must not be used in a forked child, nor closed there. A frame of a thread that
        # a fork has ended is never freed, nor what it holds.
        self._executor = ThreadPoolExecutor(
            1, thread_name_prefix="kernelckpt-sqlite", initializer=_hold, initargs=(self.file,)
        )


_known: WeakSet[SqliteThread] = WeakSet()
_waiting: list[threading.Lock] = []


def _hold(file: SqliteFile) -> None:
    """Nothing: the thread keeps its arguments for as long as it lives."""


def _before_fork() -> None:
    gates = [thread.gate for thread in list(_known)]
    _waiting.extend(gate for gate in gates if gate.acquire(timeout=_FORK_SECONDS))


def _after_fork_in_parent() -> None:
    while _waiting:
        _waiting.pop().release()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_waiting.clear)
