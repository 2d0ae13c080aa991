"""Reads the items of streams from where they lie, with few ranged reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kernelckpt.abc import PART_BYTES, Append, Key, StorageBackend
from kernelckpt.codec.change import Reference, decode_changes
from kernelckpt.codec.codec import Codec
from kernelckpt.codec.frame import blob_origin, decode_frame, entry_origin
from kernelckpt.errors import CorruptionError
from kernelckpt.log.run_state import ReadStream, RunState

_GAP_BYTES = 4096


async def read_raw(storage: StorageBackend, run_id: str, place: Reference, length: int) -> bytes:
    """`length` bytes from the beginning of a frame on; fewer only at the end of what it lies in."""
    if place.blob:
        return await storage.read_blob(run_id, place.blob, offset=place.offset, length=length)
    return await storage.read(run_id, place.epoch, place.sequence, offset=place.offset, length=length)


def decode_items(data: bytes, run_id: str, place: Reference, codec: Codec) -> Append:
    """The frame of items that a reference names.

    Raises:
        FormatError: these are not its bytes.
    """
    where = f"{place.blob or f'entry {place.sequence}'}: byte {place.offset}"
    if place.blob:
        origin = blob_origin(run_id, place.blob)
    else:
        origin = entry_origin(run_id, place.epoch, place.sequence)
    frame = decode_frame(data, origin, place.offset, where, codec, tag=place.tag)
    changes = decode_changes(frame, where, codec.steps)
    if len(changes) != 1 or not isinstance(changes[0], Append) or changes[0].start != place.start:
        raise CorruptionError(f"{where}: not the items that were to be there")
    return changes[0]


class StreamReader:
    """Brings the items of a state's streams into memory."""

    def __init__(self, storage: StorageBackend, run_id: str, state: RunState, codec: Codec) -> None:
        """Read for this state; frames it has at hand are not read again."""
        self.bytes_read = 0
        self._storage = storage
        self._run_id = run_id
        self._state = state
        self._codec = codec

    async def read(self) -> dict[Key, list[bytes]]:
        """Every stream's items, in order.

        Raises:
            FormatError, NotFoundError: a frame is damaged or gone.
        """
        at_hand = self._state.at_hand
        wanted = {
            place
            for stream in self._state.streams.values()
            for place in stream.references
            if place not in at_hand
        }
        for run in _runs(wanted):
            await self._read_run(run)
        return {key: self._join(key, stream) for key, stream in self._state.streams.items()}

    async def _read_run(self, places: list[Reference]) -> None:
        first, last = places[0], places[-1]
        data = await read_raw(self._storage, self._run_id, first, last.offset + last.length - first.offset)
        self.bytes_read += len(data)
        for place in places:
            begin = place.offset - first.offset
            piece = data[begin : begin + place.length]
            self._state.at_hand[place] = decode_items(piece, self._run_id, place, self._codec).items

    def _join(self, key: Key, stream: ReadStream) -> list[bytes]:
        items: list[bytes] = []
        for place in stream.references:
            if place.start > len(items):
                raise CorruptionError(f"stream {key}: items {len(items)} to {place.start} are missing")
            items += _new(items, place.start, self._state.at_hand[place], key)
        if len(items) != stream.items:
            raise CorruptionError(f"stream {key}: {len(items)} items instead of {stream.items}")
        for start, repeated in stream.repeats:
            _new(items, start, repeated, key)
        return items


def _new(items: list[bytes], start: int, added: tuple[bytes, ...], key: Key) -> tuple[bytes, ...]:
    known = min(len(items) - start, len(added))
    if tuple(items[start : start + known]) != added[:known]:
        raise CorruptionError(f"stream {key}: two appends disagree from item {start} on")
    return added[known:]


def _runs(places: Iterable[Reference]) -> Iterator[list[Reference]]:
    """Places near each other, to be read at once."""
    run: list[Reference] = []
    for place in sorted(places, key=lambda place: (place.blob, place.sequence, place.offset)):
        if run and not _joins(run, place):
            yield run
            run = []
        run.append(place)
    if run:
        yield run


def _joins(run: list[Reference], place: Reference) -> bool:
    first, last = run[0], run[-1]
    same = (place.blob, place.epoch, place.sequence) == (last.blob, last.epoch, last.sequence)
    near = place.offset - last.offset - last.length <= _GAP_BYTES
    return same and near and place.offset + place.length - first.offset <= PART_BYTES
