"""Reads the items of streams from where they lie, with few ranged reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from heapq import merge
from itertools import chain, count, pairwise
from typing import TypeAlias

from anyio import Lock, create_task_group, to_thread
from msgspec import Struct

from kernelckpt.abc import Append, Key, StorageBackend
from kernelckpt.codec.change import Reference, decode_changes, each_reference
from kernelckpt.codec.codec import Codec
from kernelckpt.codec.frame import blob_origin, decode_frame, entry_origin
from kernelckpt.errors import CorruptionError, KernelCkptError
from kernelckpt.log.stream_references import StreamReferences
from kernelckpt.log.time_slice import TimeSlice

_GAP_BYTES = 4096
_READ_BYTES = 4 * 1024 * 1024
_CHUNK = 2000
"""How many places are sorted at once: all of a large run would hold the event loop for too long."""

_AT_ONCE, _SHORT_AT_ONCE, _SHORT_BYTES = 2, 16, 1024 * 1024
"""How many reads are under way at a time: more of them, as long as they come to less than so many bytes."""

_BESIDE_BYTES = 128 * 1024
"""So many bytes are decoded in a thread: what takes the time is hashing, which lets the event loop go on."""

Items: TypeAlias = tuple[bytes, ...]
"""The items of one frame."""

Streams: TypeAlias = dict[Key, list[bytes]]
"""The items of streams."""

Repeats: TypeAlias = Mapping[Key, Sequence[tuple[int, Items]]]
"""Appends that repeat what a stream had already: from which item on, and the items."""

_Place: TypeAlias = "tuple[str, int, int, int, Reference, _Stream, int]"
"""Where something lies, for sorting, and a number of its own; the place, of which stream, and its index."""


async def read_raw(storage: StorageBackend, run_id: str, place: Reference, length: int) -> bytes:
    """`length` bytes from the beginning of a frame on; fewer only at the end of what it lies in."""
    if place.blob:
        return await storage.read_blob(run_id, place.blob, offset=place.offset, length=length)
    return await storage.read(run_id, place.epoch, place.sequence, offset=place.offset, length=length)


def decode_items(data: bytes | memoryview, run_id: str, place: Reference, codec: Codec) -> Append:
    """The frame of items that a reference names.

    Raises:
        FormatError: these are not its bytes.
    """
    if place.blob:
        where, origin = f"{place.blob}: byte {place.offset}", blob_origin(run_id, place.blob)
    else:
        where = f"entry {place.sequence}: byte {place.offset}"
        origin = entry_origin(run_id, place.epoch, place.sequence)
    frame = decode_frame(data, origin, place.offset, where, codec, tag=place.tag)
    changes = decode_changes(frame, where, codec.steps)
    if len(changes) != 1 or not isinstance(changes[0], Append) or changes[0].start != place.start:
        raise CorruptionError(f"{where}: not the items that were to be there")
    return changes[0]


class Extent(Struct, frozen=True, gc=False):
    """A stream up to some item: its references, and how many of its items."""

    references: StreamReferences
    items: int


class _Stream:
    """A stream that is being read: where its items lie, or what was found there."""

    __slots__ = ("items", "key", "left", "parts")

    def __init__(self, key: Key, extent: Extent) -> None:
        """Read what lies where the references say by now."""
        self.key = key
        self.items = extent.items
        places = each_reference(extent.references.packed, key)
        self.parts: list[Reference | Append] = [place for place in places if place.start < extent.items]
        self.left = len(self.parts)

    def take(self, index: int, part: Append) -> bool:
        """Note what lies at a place; whether that was the last one."""
        self.parts[index] = part
        self.left -= 1
        return not self.left

    def join(self, repeats: Iterable[tuple[int, Items]]) -> list[bytes]:
        """All items in order."""
        items: list[bytes] = []
        for part in self.parts:
            assert isinstance(part, Append)
            if part.start > len(items):
                raise CorruptionError(f"stream {self.key}: items {len(items)} to {part.start} are missing")
            items += part.items if part.start == len(items) else _new(items, part.start, part.items, self.key)
        if len(items) != self.items:
            raise CorruptionError(f"stream {self.key}: {len(items)} items instead of {self.items}")
        for start, repeated in repeats:
            _new(items, start, repeated, self.key)
        return items


class StreamReader:
    """Goes over streams once, in few large reads in the order in which they lie; others run meanwhile.

    Attributes:
        bytes_read: how much was read.
    """

    def __init__(
        self,
        streams: Mapping[Key, Extent],
        is_wanted: Callable[[Key], bool],
        *,
        storage: StorageBackend,
        run_id: str,
        codec: Codec,
        time_slice: TimeSlice,
        at_hand: Mapping[Reference, Items],
        repeats: Repeats,
    ) -> None:
        """Nothing is read yet.

        Args:
            streams: what to read.
            is_wanted: asked of a stream when it is its turn: whether it is still to be read.
            storage: where from.
            run_id: the run.
            codec: what is at hand to read it.
            time_slice: how long to work at a time.
            at_hand: frames that need not be read again.
            repeats: appends that repeat items, which must be the same.
        """
        self.bytes_read = 0
        self._streams = streams
        self._is_wanted = is_wanted
        self._storage = storage
        self._run_id = run_id
        self._codec = codec
        self._slice = time_slice
        self._at_hand = at_hand
        self._repeats = repeats
        self._runs: Iterator[list[_Place]] | None = None
        self._turn = Lock()  # one run after the other: two threads would wait for each other at each frame

    async def read_all(self) -> Streams:
        """Every stream's items.

        Raises:
            FormatError, NotFoundError: a frame is damaged or gone.
        """
        found: Streams = {}
        while (part := await self.next(_SHORT_AT_ONCE)) is not None:
            found.update(part)
        return {key: found[key] for key in self._streams if key in found}

    async def next(self, at_once: int = _AT_ONCE) -> Streams | None:
        """Streams that are whole by the next reads; None when there was nothing left to read.

        Args:
            at_once: so many of them at most; whoever comes in between waits for those that are under way.

        Raises:
            FormatError, NotFoundError: a frame is damaged or gone.
        """
        self._slice.begin()
        if self._runs is None:
            return await self._prepare()
        runs = _some(self._runs, at_once)
        if not runs:
            return None
        whole: Streams = {}
        errors: list[KernelCkptError] = []
        async with create_task_group() as group:
            for run in runs:
                group.start_soon(self._read_run, run, whole, errors)
        if errors:
            raise errors[0]
        return whole

    async def _prepare(self) -> Streams:
        """Sort what is to be read, in parts; what is at hand already is whole at once."""
        whole: Streams = {}
        chunks: list[list[_Place]] = [[]]
        number = count()
        for key in list(self._streams):
            extent = self._streams.get(key)
            if extent is None:
                continue
            stream = _Stream(key, extent)
            for index, place in enumerate(stream.parts):
                assert isinstance(place, Reference)
                items = self._at_hand.get(place) if self._at_hand else None
                if items is None:
                    found = (place.blob, place.sequence, place.offset, next(number), place, stream, index)
                    chunks[-1].append(found)
                elif stream.take(index, Append(key, place.start, items)):
                    whole[key] = self._joined(stream)
            if not stream.parts:
                whole[key] = self._joined(stream)
            if len(chunks[-1]) >= _CHUNK:
                chunks[-1].sort()
                chunks.append([])
            if self._slice.over:
                await self._slice.rest()
        chunks[-1].sort()
        self._runs = _runs(_merged(chunks))
        return whole

    async def _read_run(self, run: list[_Place], whole: Streams, errors: list[KernelCkptError]) -> None:
        run = [found for found in run if self._is_wanted(found[5].key)]
        if not run:
            return
        try:
            self._slice.note()
            data = await read_raw(self._storage, self._run_id, run[0][4], _length(run))
            self.bytes_read += len(data)
            async with self._turn:
                await self._take(run, data, whole)
        except KernelCkptError as error:
            errors.append(error)

    async def _take(self, run: list[_Place], data: bytes, whole: Streams) -> None:
        """Note what lies at these places, and the streams that are whole by it."""
        beside = len(data) >= _BESIDE_BYTES
        parts = await to_thread.run_sync(self._decode, run, data) if beside else self._decode(run, data)
        self._slice.begin()
        for found, part in zip(run, parts, strict=True):
            stream = found[5]
            if stream.take(found[6], part):
                whole[stream.key] = self._joined(stream)
            if self._slice.over:
                await self._slice.rest()

    def _decode(self, run: list[_Place], data: bytes) -> list[Append]:
        view, start = memoryview(data), run[0][4].offset
        return [
            decode_items(view[place.offset - start :][: place.length], self._run_id, place, self._codec)
            for _, _, _, _, place, _, _ in run
        ]

    def _joined(self, stream: _Stream) -> list[bytes]:
        return stream.join(self._repeats.get(stream.key, ()))


def _new(items: list[bytes], start: int, added: tuple[bytes, ...], key: Key) -> tuple[bytes, ...]:
    known = min(len(items) - start, len(added))
    if tuple(items[start : start + known]) != added[:known]:
        raise CorruptionError(f"stream {key}: two appends disagree from item {start} on")
    return added[known:]


def _drained(chunk: list[_Place]) -> Iterator[_Place]:
    """What a list holds, let go of one by one: to let go of all at the end would hold the event loop."""
    chunk.reverse()
    while chunk:
        yield chunk.pop()


def _merged(chunks: list[list[_Place]]) -> Iterable[_Place]:
    """The places of sorted lists in order; those that a base has listed as they lie need no comparing."""
    drained = map(_drained, chunks)
    lie_in_order = all(before[-1] < after[0] for before, after in pairwise(filter(None, chunks)))
    return chain.from_iterable(drained) if lie_in_order else merge(*drained)


def _runs(places: Iterable[_Place]) -> Iterator[list[_Place]]:
    """Places near each other, to be read at once."""
    run: list[_Place] = []
    for found in places:
        if run and not _joins(run[0][4], run[-1][4], found[4]):
            yield run
            run = []
        run.append(found)
    if run:
        yield run


def _some(runs: Iterator[list[_Place]], at_once: int) -> list[list[_Place]]:
    """The runs to be read next, at the same time: a storage may be far away."""
    some: list[list[_Place]] = []
    size = 0
    while len(some) < _AT_ONCE or (len(some) < at_once and size < _SHORT_BYTES):
        run = next(runs, None)
        if run is None:
            break
        some.append(run)
        size += _length(run)
    return some


def _length(run: list[_Place]) -> int:
    first, last = run[0][4], run[-1][4]
    return last.offset + last.length - first.offset


def _joins(first: Reference, last: Reference, place: Reference) -> bool:
    end = place.offset + place.length
    is_near = place.offset - last.offset - last.length <= _GAP_BYTES and end - first.offset <= _READ_BYTES
    return is_near and (place.sequence, place.epoch, place.blob) == (last.sequence, last.epoch, last.blob)
