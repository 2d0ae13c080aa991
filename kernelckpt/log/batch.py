"""Changes staged but not yet durable, coalesced by key; each batch becomes one entry."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from kernelckpt.abc import Append, Change, Key, Put
from kernelckpt.codec.entry import BaseFacts
from kernelckpt.errors import UsageError
from kernelckpt.log.stream_references import StreamReferences


class PendingItems(Struct, gc=False, eq=False):
    """Items for one stream, from index `start` on; a stream that is removed meanwhile is another one."""

    stream: StreamReferences
    start: int
    items: list[bytes]


class Batch:
    """What one entry will hold.

    Attributes:
        records: the newest form of each record; None where it, or a stream of that key, was removed.
        renewed: keys of records that were removed and set again: the removal is written too, for what is set
            anew comes behind what is older when the state is read.
        items: what was appended to each stream; written after the records.
        commit: the newest commit in it.
        turn: kernel turns so far.
        trigger: what asked for it.
        facts: for the entry of a base, what it says; such a batch holds no change.
    """

    def __init__(self, commit: int, turn: int, trigger: str = "", facts: BaseFacts | None = None) -> None:
        """An empty batch that continues after this commit."""
        self.records: dict[Key, Struct | bytes | None] = {}
        self.renewed: set[Key] = set()
        self._removed: set[Key] = set()
        self.items: dict[Key, PendingItems] = {}
        self.commit = commit
        self.turn = turn
        self.trigger = trigger
        self.facts = facts

    @property
    def changes(self) -> int:
        """How many records, removals and appends it holds."""
        return len(self.records) + len(self.items)

    def add(self, changes: Sequence[Change], streams: dict[Key, StreamReferences]) -> None:
        """Take changes in; `streams` follows the client's view of the streams.

        Raises:
            UsageError: an append leaves a gap.
        """
        records, removed = self.records, self._removed
        for change in changes:
            key = change.key
            if isinstance(change, Append):
                self._append(change, streams)
            elif isinstance(change, Put) and key not in streams and not (removed and key in removed):
                records[key] = change.record  # what `_set` does for most
            else:
                self._set(key, change.record if isinstance(change, Put) else None)
                streams.pop(key, None)

    def absorb(self, newer: Batch) -> None:
        """Take in a batch that was staged after this one; what is newer wins, key by key."""
        for key, record in newer.records.items():
            if key in newer.renewed:
                self._set(key, None)
            self._set(key, record)
        for key, pending in newer.items.items():
            mine = self.items.setdefault(key, pending)
            if mine is not pending:
                mine.items.extend(pending.items)
        self.commit = newer.commit
        self.turn = newer.turn
        self.trigger = newer.trigger or self.trigger

    def _set(self, key: Key, record: Struct | bytes | None) -> None:
        if record is None:
            self._removed.add(key)
        elif key in self._removed:
            self._removed.remove(key)
            del self.records[key]
            self.renewed.add(key)
        self.records[key] = record
        self.items.pop(key, None)

    def _append(self, change: Append, streams: dict[Key, StreamReferences]) -> None:
        key, items = change.key, change.items
        pending = self.items.get(key)
        stream = streams.get(key) if pending is None else pending.stream
        staged = 0 if stream is None else stream.staged
        known = staged - change.start
        if known < 0:
            raise UsageError(
                f"append to {key} at {change.start}, which has {staged} items",
                hint="append where the stream ends",
            )
        if known:
            items = items[known:]
        if not items:
            return
        if stream is None:
            stream = streams[key] = StreamReferences()
        if pending is None:
            self.items[key] = PendingItems(stream, staged, list(items))
        else:
            pending.items += items
        stream.staged = staged + len(items)
