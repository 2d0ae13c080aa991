"""Which entries are deleted together, and which of them are bases; kept up to date by listing what is new."""

from __future__ import annotations

from bisect import bisect_right

from msgspec import Struct

from kernelckpt.abc import EntryInfo, StorageBackend
from kernelckpt.codec.codec import Codec
from kernelckpt.codec.entry import EntryMeta
from kernelckpt.log.chain import ChainEntry
from kernelckpt.log.listing import to_link
from kernelckpt.log.time_slice import TimeSlice

_PAGE = 1000
_GROUP_ENTRIES = 256
_GROUP_BYTES = 1024 * 1024


class Segment(Struct):
    """Entries that are deleted together.

    Attributes:
        name: what the storage calls it.
        epoch: the owner that wrote them.
        first: its lowest number.
        last: its highest number.
        entries: how many there are.
        size: their bytes.
        kept: holds something set aside or damaged, which is never deleted.
        made_up: each of its entries stands alone in the storage; they are only counted together.
    """

    name: str
    epoch: int
    first: int
    last: int
    entries: int = 0
    size: int = 0
    kept: bool = False
    made_up: bool = False

    def takes(self, info: EntryInfo) -> bool:
        """Whether the next entry belongs to it: named so, or of the same owner where entries stand alone."""
        if info.segment:
            return info.segment == self.name
        has_room = self.entries < _GROUP_ENTRIES and self.size < _GROUP_BYTES
        return self.made_up and has_room and info.epoch == self.epoch


class SegmentMap:
    """The segments of a run, oldest first, and the entries of its bases.

    Attributes:
        segments: all that are listed.
        bases: the bases on the chain, oldest first.
    """

    def __init__(self, storage: StorageBackend, run_id: str, codec: Codec) -> None:
        """Nothing is listed yet."""
        self.segments: list[Segment] = []
        self.bases: list[ChainEntry] = []
        self._storage = storage
        self._run_id = run_id
        self._codec = codec
        self._known = 0

    async def refresh(self, time_slice: TimeSlice, up_to: int) -> None:
        """List what was added since the last time, up to a number: without it, who adds as fast is chased."""
        while self._known < up_to and (
            page := await self._storage.list_entries(self._run_id, after=self._known, limit=_PAGE)
        ):
            time_slice.begin()
            for info in page:
                self._add(info)
                self._known = info.sequence
                if time_slice.over:
                    await time_slice.rest()
            time_slice.note()

    def find(self, sequence: int) -> Segment | None:
        """The segment that holds an entry, if it is listed."""
        index = bisect_right(self.segments, sequence, key=lambda segment: segment.first) - 1
        if index < 0 or self.segments[index].last < sequence:
            return None
        return self.segments[index]

    def forget(self, gone: set[str]) -> None:
        """Drop segments that were deleted, and the bases whose entries were in them."""
        self.segments = [segment for segment in self.segments if segment.name not in gone]
        self.bases = [base for base in self.bases if self.find(base.sequence) is not None]

    async def entries_of(self, segment: Segment) -> list[EntryInfo]:
        """The entries of a segment, listed anew."""
        found: list[EntryInfo] = []
        after = segment.first - 1
        while after < segment.last and (
            page := await self._storage.list_entries(self._run_id, after=after, limit=_PAGE)
        ):
            found += [info for info in page if info.sequence <= segment.last]
            after = page[-1].sequence
        return found

    def _add(self, info: EntryInfo) -> None:
        link = to_link(info, self._run_id, self._codec)  # may raise: before anything is counted
        segment = self._segment(info)
        segment.last = info.sequence
        segment.entries += 1
        segment.size += info.size
        if link.meta is None or link.damage:
            segment.kept = True
        if link.meta is not None:
            self._set_aside(link.meta, info.sequence)
            if link.is_base:
                self.bases.append(ChainEntry(link, link.meta))

    def _segment(self, info: EntryInfo) -> Segment:
        last = self.segments[-1] if self.segments else None
        if last is not None and last.takes(info):
            return last
        name = info.segment or f"{info.epoch}.{info.sequence}"
        self.segments.append(
            Segment(name, info.epoch, info.sequence, info.sequence, made_up=not info.segment)
        )
        return self.segments[-1]

    def _set_aside(self, meta: EntryMeta, sequence: int) -> None:
        """What an entry jumps over, back to the one it follows, is on no chain any more."""
        after = meta.previous_sequence
        if after + 1 == sequence:
            return
        for segment in reversed(self.segments):
            if segment.last <= after:
                break
            if segment.first < sequence:
                segment.kept = True
        self.bases = [base for base in self.bases if not after < base.sequence < sequence]
