"""What changes: records and streams under keys, and the commits that change them."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

Key: TypeAlias = tuple[str, str, int]
"""What a record is kept under: (kind, task, n). `task` is "" for records of the whole kernel."""


class Put(Struct, frozen=True, gc=False):
    """A record is set: a frozen struct, or its encoded bytes."""

    key: Key
    record: Struct | bytes


class Remove(Struct, frozen=True, gc=False):
    """A record, or a whole stream, is gone."""

    key: Key


class Append(Struct, frozen=True, gc=False):
    """Encoded items are added to the stream `key` (its n is the generation), from index `start` on."""

    key: Key
    start: int
    items: tuple[bytes, ...]


Change: TypeAlias = Put | Remove | Append


class Commit(Struct, frozen=True, gc=False):
    """One synchronous change of kernel state.

    Attributes:
        number: 1, 2, ... within the life of this process.
        turn: the kernel turn it happened in.
        changes: what changed, by key; applying them twice is applying them once.
        urgent: whether it asks for a checkpoint; the others ride along with the next one.
        ended_turn: whether it is the end of a turn.
        waits: whether it put a task to wait for the outside.
    """

    number: int
    turn: int
    changes: tuple[Change, ...]
    urgent: bool = True
    ended_turn: bool = False
    waits: bool = False
