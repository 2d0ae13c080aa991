"""What a forked child may keep of its parent's storages: nothing that writes, no lock, and no connection."""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class Inherited(Protocol):
    """Something that a forked child finds in its memory although it belongs to the parent."""

    def after_fork(self) -> None:
        """Called in the child, before anything else runs there."""


_known: WeakSet[Inherited] = WeakSet()


def leave_to_parent(inherited: Inherited) -> None:
    """Have `after_fork` called in every child that is forked while the object lives."""
    _known.add(inherited)


def _after_fork() -> None:
    for inherited in list(_known):
        inherited.after_fork()


os.register_at_fork(after_in_child=_after_fork)
