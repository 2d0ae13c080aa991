"""The records and streams of a run while they are put together from a base and the changes after it."""

from __future__ import annotations

from collections.abc import Iterable

from kernelckpt.abc import Append, Change, Key, Put
from kernelckpt.codec.change import Reference, StreamIndex, each_reference
from kernelckpt.errors import CorruptionError
from kernelckpt.log.stream_references import StreamReferences


class ReadStream:
    """One stream: where its items lie, and appends that repeat what it had already."""

    __slots__ = ("items", "references", "repeats")

    def __init__(self) -> None:
        """A stream without items."""
        self.items = 0
        self.references: list[Reference] = []
        self.repeats: list[tuple[int, tuple[bytes, ...]]] = []


class RunState:
    """Records and streams after the changes applied so far.

    Attributes:
        records: every record.
        streams: every stream, as the places of its items.
        at_hand: frames of items that were read on the way, by place.
        gaps: streams that an append left a gap in. A base may list a stream that was removed and begun
            anew while it was scanned; changes to the former one make no sense then, until the removal.
    """

    def __init__(self) -> None:
        """Nothing."""
        self.records: dict[Key, bytes] = {}
        self.streams: dict[Key, ReadStream] = {}
        self.at_hand: dict[Reference, tuple[bytes, ...]] = {}
        self.gaps: dict[Key, str] = {}

    def index(self, indexes: Iterable[StreamIndex], where: str) -> None:
        """Take in the streams that a base lists."""
        for index in indexes:
            stream = ReadStream()
            stream.items = index.items
            stream.references = list(each_reference(index.references, where))
            self.streams[index.key] = stream

    def apply(self, change: Change, place: Reference | None, where: str) -> None:
        """Apply one change; `place` says where the items of an append lie."""
        if isinstance(change, Append):
            assert place is not None
            self._append(change, place, where)
            return
        self.streams.pop(change.key, None)
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

    def packed(self) -> dict[Key, StreamReferences]:
        """The references of all streams, for the writer that goes on from here."""
        found = {}
        for key, stream in self.streams.items():
            references = found[key] = StreamReferences()
            for reference in stream.references:
                references.add(reference, stream.items)
        return found

    def _append(self, change: Append, place: Reference, where: str) -> None:
        stream = self.streams.setdefault(change.key, ReadStream())
        if change.start > stream.items:
            self.gaps[change.key] = f"{where}: items begin at {change.start}, the stream has {stream.items}"
            return
        self.at_hand[place] = change.items
        if change.start < stream.items:
            stream.repeats.append((change.start, change.items))
        end = change.start + len(change.items)
        if end > stream.items:
            stream.items = end
            stream.references.append(place)
