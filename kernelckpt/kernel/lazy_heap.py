"""The table's index: slots ordered by a key of their row, stale entries dropped when they are met."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush

from msgspec import Struct

from kernelckpt.model.tcb import Tcb


class Slot(Struct, gc=False, eq=False):
    """A row's place in the order of insertion; `row` is None once it was removed.

    `is_timed` is false while it waits for no time and has not ended.
    """

    number: int
    row: Tcb | None
    is_timed: bool = True


_Entry = tuple[int, int, Slot]


class LazyHeap:
    """Slots by (key of the row, order of insertion).

    An entry counts while its slot's row still has the key it was added with, so a change of a row costs one
    push and nothing is searched for. Stale entries never outnumber the others for long.
    """

    def __init__(self, key_of: Callable[[Tcb], int | None]) -> None:
        """`key_of` says where a row belongs; None for rows that do not belong here."""
        self._key_of = key_of
        self._entries: list[_Entry] = []
        self._purge_at = 64

    def add(self, slot: Slot, old: Tcb | None) -> None:
        """Take note of a slot whose row has just replaced `old` (None: it is new)."""
        key = None if slot.row is None else self._key_of(slot.row)
        if key is not None and (old is None or self._key_of(old) != key):
            self.push(key, slot)

    def push(self, key: int, slot: Slot) -> None:
        """Add an entry."""
        heappush(self._entries, (key, slot.number, slot))
        if len(self._entries) > self._purge_at:
            self._purge()

    def first(self) -> Slot | None:
        """The valid slot of the smallest key, the earliest inserted among equals."""
        while self._entries:
            if self._is_valid(self._entries[0]):
                return self._entries[0][2]
            heappop(self._entries)
        return None

    def first_key(self) -> int | None:
        """The smallest valid key."""
        return None if self.first() is None else self._entries[0][0]

    def pop(self) -> None:
        """Drop the entry that `first` returned."""
        heappop(self._entries)

    def up_to(self, key: int) -> Iterator[Slot]:
        """The valid slots of keys up to this one, each once, in no order; costs what it yields."""
        seen: set[int] = set()
        reached = [0]
        while reached:
            index = reached.pop()
            if index >= len(self._entries) or self._entries[index][0] > key:
                continue
            entry = self._entries[index]
            if self._is_valid(entry) and entry[1] not in seen:
                seen.add(entry[1])
                yield entry[2]
            reached += (2 * index + 1, 2 * index + 2)

    def _is_valid(self, entry: _Entry) -> bool:
        key, _, slot = entry
        return slot.row is not None and self._key_of(slot.row) == key

    def _purge(self) -> None:
        kept = {entry[:2]: entry for entry in self._entries if self._is_valid(entry)}
        self._entries = list(kept.values())
        heapify(self._entries)
        self._purge_at = max(64, 2 * len(self._entries))
