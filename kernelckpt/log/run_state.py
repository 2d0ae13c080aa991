"""The records and streams of a run while they are put together from a base and the changes after it."""

from __future__ import annotations

from collections.abc import Iterable

from kernelckpt.abc import Append, Change, Key, Put
from kernelckpt.codec.change import Reference, StreamIndex, encode_reference
from kernelckpt.errors import CorruptionError
from kernelckpt.log.stream_references import StreamReferences


class RunState:
    """Records and streams after the changes applied so far.

    Attributes:
        records: every record.
        streams: every stream, as the places of its items.
        at_hand: frames of items that were read on the way, by place.
        repeats: for each stream, appends that repeat what it had already.
        gaps: streams that an append left a gap in. A base may list a stream that was removed and begun
            anew while it was scanned; changes to the former one make no sense then, until the removal.
    """

    def __init__(self) -> None:
        """Nothing."""
        self.records: dict[Key, bytes] = {}
        self.streams: dict[Key, StreamReferences] = {}
        self.at_hand: dict[Reference, tuple[bytes, ...]] = {}
        self.repeats: dict[Key, list[tuple[int, tuple[bytes, ...]]]] = {}
        self.gaps: dict[Key, str] = {}

    def index(self, indexes: Iterable[StreamIndex]) -> None:
        """Take in the streams that a base lists."""
        for index in indexes:
            items = index.items
            self.streams[index.key] = StreamReferences(index.references, items, items, in_base=True)

    def apply(self, change: Change, place: Reference | None, where: str) -> None:
        """Apply one change; `place` says where the items of an append lie."""
        if isinstance(change, Append):
            assert place is not None
            self._append(change, place, where)
            return
        if self.streams and change.key in self.streams:
            self._drop(change.key)
        if self.gaps:
            self.gaps.pop(change.key, None)
        if isinstance(change, Put):
            assert isinstance(change.record, bytes)
            self.records[change.key] = change.record
        else:
            self.records.pop(change.key, None)

    def check(self) -> None:
        """Raise `CorruptionError` if a stream has a gap."""
        for key, gap in self.gaps.items():
            raise CorruptionError(f"stream {key}: {gap}")

    def _drop(self, key: Key) -> None:
        del self.streams[key]
        self.repeats.pop(key, None)

    def _append(self, change: Append, place: Reference, where: str) -> None:
        stream = self.streams.setdefault(change.key, StreamReferences())
        if change.start > stream.durable:
            self.gaps[change.key] = f"{where}: items begin at {change.start}, the stream has {stream.durable}"
            return
        self.at_hand[place] = change.items
        if change.start < stream.durable:
            self.repeats.setdefault(change.key, []).append((change.start, change.items))
        end = change.start + len(change.items)
        if end > stream.durable:
            stream.add(encode_reference(place), end)
