"""Branches of a straight-line function: the asyncio tasks that it begins, told apart alike in each rerun."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import TypeAlias

Path: TypeAlias = tuple[int, ...]
"""The number of a branch among those begun by the same one, from the function down; () for the function."""


class _Branch:
    """One asyncio task of a function, and how many others it has begun that have asked for something."""

    __slots__ = ("begun", "path", "task")

    def __init__(self, task: asyncio.Task[object] | None, path: Path) -> None:
        self.task = task
        self.path = path
        self.begun = 0


_current: ContextVar[_Branch | None] = ContextVar("_current", default=None)
"""The branch that the running code is; in a task that has asked for nothing yet, the one that began it."""


def begin() -> None:
    """The running task is the function's own."""
    _current.set(_Branch(asyncio.current_task(), ()))


def current() -> Path:
    """The branch that the running code is. Branches are numbered in the order of what they ask for first."""
    task, known = asyncio.current_task(), _current.get()
    if known is None or known.task is not task:
        above = known or _Branch(None, ())
        above.begun += 1
        known = _Branch(task, (*above.path, above.begun))
        _current.set(known)
    return known.path
