"""Writes a base: the live records from a scan, and for each stream the places where its items lie."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from msgspec import Struct

from kernelckpt.abc import Append, Key, StorageBackend
from kernelckpt.codec.change import (
    Reference,
    StreamIndex,
    each_reference,
    encode_index,
    encode_reference,
    put_head,
)
from kernelckpt.codec.codec import Codec
from kernelckpt.codec.entry import BaseFacts, BlobPointer, LiveBlob, LiveEntries
from kernelckpt.codec.frame import RECORDS, STREAMS
from kernelckpt.errors import CorruptionError
from kernelckpt.log.blob_writer import BlobWriter
from kernelckpt.log.container_writer import FRAME_BYTES, Payload
from kernelckpt.log.entry_encoder import RecordEncoder, record_bytes
from kernelckpt.log.segment_map import SegmentMap
from kernelckpt.log.stream_reader import decode_items, read_raw
from kernelckpt.log.stream_references import StreamReferences
from kernelckpt.log.time_slice import TimeSlice

Scan: TypeAlias = Iterable[tuple[Key, Struct | bytes | None]]
"""All live records of the client; None stands for "this key is a stream"."""


class Sparse(Struct, frozen=True):
    """Where little is alive, or nothing shall be left: items there are copied.

    Attributes:
        entries: the first numbers of segments.
        blobs: names of blobs.
        up_to: every entry up to this number, and every blob.
    """

    entries: frozenset[int] = frozenset()
    blobs: frozenset[str] = frozenset()
    up_to: int = 0


async def find_sparse(
    storage: StorageBackend, run_id: str, facts: BaseFacts | None, segments: SegmentMap, below: float
) -> Sparse:
    """Where less than the share `below` was alive when the last base was written.

    Only segments that ended before that base count: a younger one is still being filled, or needed whole.
    """
    if facts is None:
        return Sparse()
    sizes = {blob.name: blob.size for blob in await storage.list_blobs(run_id)}
    found = ((entries, segments.find(entries.first)) for entries in facts.entries)
    return Sparse(
        frozenset(
            entries.first
            for entries, segment in found
            if segment and segment.last <= facts.state.since and entries.live < below * segment.size
        ),
        frozenset(blob.name for blob in facts.blobs if blob.live < below * sizes.get(blob.name, 0)),
    )


class BaseWriter:
    """Writes the blobs of one base while the client goes on.

    Attributes:
        moved: streams whose items were copied, with how many bytes of their references that replaces.
    """

    def __init__(
        self,
        state: BlobWriter,
        items: BlobWriter,
        *,
        storage: StorageBackend,
        run_id: str,
        streams: Mapping[Key, StreamReferences],
        segments: SegmentMap,
        sparse: Sparse,
        encode: RecordEncoder,
        codec: Codec,
        time_slice: TimeSlice,
    ) -> None:
        """Write records and references to `state`, and what is copied out of sparse places to `items`."""
        self.moved: list[tuple[StreamReferences, int, bytes]] = []
        self._state = state
        self._items = items
        self._storage = storage
        self._run_id = run_id
        self._streams = streams
        self._segments = segments
        self._sparse = sparse
        self._encode = encode
        self._codec = codec
        self._slice = time_slice
        self._records = Payload()
        self._indexes = Payload()
        self._counts = {RECORDS: 0, STREAMS: 0}
        self._live_entries: dict[int, int] = {}
        self._live_blobs: dict[str, int] = {}
        self._last_numbers: dict[int, int] = {}

    async def write(self, scan: Scan, since: int) -> BaseFacts:
        """Write all that the scan gives; on return both blobs are whole and durable.

        Raises:
            FencedError, StorageError: the base is not there; its blobs are left-overs.
            CorruptionError: items to be copied are damaged.
        """
        self._slice.begin()
        for key, record in scan:
            if record is None:
                await self._add_stream(key, since)
            else:
                await self._add_record(key, record)
            if self._slice.over:
                await self._slice.rest()
        self._records = await self._close(self._records, RECORDS)
        self._indexes = await self._close(self._indexes, STREAMS)
        if self._items.frames:
            await self._items.finish()
        return self._facts(await self._state.finish())

    async def _add_record(self, key: Key, record: Struct | bytes) -> None:
        data = record_bytes(key, record, self._encode)
        self._records.add(put_head(key, len(data)), data)
        self._counts[RECORDS] += 1
        if self._records.size >= FRAME_BYTES:
            self._records = await self._close(self._records, RECORDS)

    async def _add_stream(self, key: Key, since: int) -> None:
        stream = self._streams.get(key)
        if stream is None or not stream.durable:
            return
        packed, items = bytes(stream.packed), stream.durable
        places = bytearray()
        moved = False
        for found in each_reference(packed, key):
            place = found
            if self._is_sparse(found):
                place = await self._copy(found)
                moved = True
            self._count_live(place, since)
            places += encode_reference(place)
            if self._slice.over:
                await self._slice.rest()
        if moved:
            self.moved.append((stream, len(packed), bytes(places)))
            packed = bytes(places)
        self._indexes.add(encode_index(StreamIndex(key, items, packed)))
        self._counts[STREAMS] += 1
        if self._indexes.size >= FRAME_BYTES:
            self._indexes = await self._close(self._indexes, STREAMS)

    async def _close(self, payload: Payload, kind: int) -> Payload:
        if payload.size:
            await self._state.add(kind, payload)
        return Payload()

    def _is_sparse(self, place: Reference) -> bool:
        if place.blob:
            return place.blob in self._sparse.blobs or self._sparse.up_to > 0
        if place.sequence <= self._sparse.up_to:
            return True
        if not self._sparse.entries:
            return False
        segment = self._segments.find(place.sequence)
        return segment is not None and segment.first in self._sparse.entries

    def _count_live(self, place: Reference, since: int) -> None:
        if place.blob:
            self._live_blobs[place.blob] = self._live_blobs.get(place.blob, 0) + place.length
        elif place.sequence <= since:
            segment = self._segments.find(place.sequence)
            if segment is None:
                raise CorruptionError(
                    f"entry {place.sequence} of run {self._run_id!r} is gone but still needed"
                )
            self._live_entries[segment.first] = self._live_entries.get(segment.first, 0) + place.length
            self._last_numbers[segment.first] = segment.last

    async def _copy(self, place: Reference) -> Reference:
        self._slice.note()
        data = await read_raw(self._storage, self._run_id, place, place.length)
        self._slice.begin()
        append: Append = decode_items(data, self._run_id, place, self._codec)
        copied = await self._items.add_items(append.key, append.start, append.items)
        return Reference(self._items.name, 0, 0, copied.offset, copied.length, append.start, copied.tag)

    def _facts(self, state: BlobPointer) -> BaseFacts:
        return BaseFacts(
            state=state,
            records=self._counts[RECORDS],
            streams=self._counts[STREAMS],
            entries=tuple(
                LiveEntries(first, self._last_numbers[first], live)
                for first, live in sorted(self._live_entries.items())
            ),
            blobs=tuple(LiveBlob(name, live) for name, live in sorted(self._live_blobs.items())),
        )
