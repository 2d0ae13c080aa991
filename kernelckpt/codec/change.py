"""Payloads of frames: changes by key, items of a stream, and references to items."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from kernelckpt.abc import Append, Change, Key, Put, Remove
from kernelckpt.codec.envelope import MAX_PAYLOAD_BYTES
from kernelckpt.codec.frame import (
    FRAME_TAG_BYTES,
    ITEMS,
    RECORDS,
    UNREADABLE,
    Frame,
    bin_head,
    encode_plain,
    new_unpacker,
)
from kernelckpt.codec.version import UPGRADES, UpgradeStep, upgrade
from kernelckpt.errors import DecodeError

_REMOVED, _SET, _STREAM = 3, 4, 5


class Reference(Struct, frozen=True):
    """Where one frame of items lies.

    Attributes:
        blob: the blob it is in; "" when it is in an entry.
        epoch: the entry's epoch; 0 for a blob.
        sequence: the entry's number; 0 for a blob.
        offset: where the frame begins in the entry or blob.
        length: the frame's length, in bytes.
        start: the index of its first item in the stream.
        tag: the beginning of the frame's digest if it is encrypted, else empty: who can read the reference
            knows which frame is meant, and another one of that place is none.
    """

    blob: str
    epoch: int
    sequence: int
    offset: int
    length: int
    start: int
    tag: bytes = b""


class StreamIndex(Struct, frozen=True):
    """A stream as a base keeps it: how many items, and where they lie (packed references)."""

    key: Key
    items: int
    references: bytes


def put_head(key: Key, size: int) -> bytes:
    """All that comes before the bytes of a record that is set; `size` is their number."""
    return b"\x94" + encode_plain(key)[1:] + bin_head(size)


def encode_remove(key: Key) -> bytes:
    """A record, or a stream, that is gone."""
    return encode_plain(key)


def items_head(key: Key, start: int, count: int) -> bytes:
    """All that comes before the items of a frame, each of which follows behind its `bin_head`."""
    return b"\x95" + encode_plain((*key, start))[1:] + _array_head(count)


def encode_index(index: StreamIndex) -> bytes:
    """A stream's line in a base."""
    return encode_plain((*index.key, index.items, index.references))


def encode_reference(reference: Reference) -> bytes:
    """A reference in packed form, 8 to 35 bytes for an entry."""
    tail: tuple[int | bytes, ...] = (reference.offset, reference.length, reference.start)
    if reference.tag:
        tail = (*tail, reference.tag)
    if reference.blob:
        return encode_plain((reference.blob, *tail))
    return encode_plain((reference.epoch, reference.sequence, *tail))


def decode_changes(frame: Frame, where: str, steps: Mapping[int, UpgradeStep] = UPGRADES) -> Sequence[Change]:
    """The changes in a frame of records or of items, brought to the present version.

    Raises:
        DecodeError: the payload is not what its type says.
    """
    if frame.type == RECORDS:
        changes: Sequence[Change] = [_change(value, where) for value in _objects(frame.payload, where, _SET)]
    elif frame.type == ITEMS:
        changes = [_append(frame.payload, where)]
    else:
        raise DecodeError(f"{where}: a frame of type {frame.type} holds no changes", path=where)
    return upgrade(changes, frame.version, steps)


def decode_index(frame: Frame, where: str) -> list[StreamIndex]:
    """The streams that a frame of a base lists."""
    found = []
    for value in _objects(frame.payload, where, _STREAM):
        if (
            len(value) != _STREAM
            or not _is_key(value)
            or not _is_count(value[3])
            or type(value[4]) is not bytes
        ):
            raise DecodeError(f"{where}: not a stream's line", path=where)
        found.append(StreamIndex(value[:3], value[3], value[4]))
    return found


def each_reference(packed: bytes | bytearray, where: str) -> Iterator[Reference]:
    """Packed references one after the other, in order."""
    for value in _objects(packed, where, _STREAM + 1):
        has_tag = bool(value) and type(value[-1]) is bytes and len(value[-1]) == FRAME_TAG_BYTES
        *place, tag = value if has_tag else (*value, b"")
        if len(place) == _STREAM and all(map(_is_count, place)):
            epoch, sequence, offset, length, start = place
            yield Reference("", epoch, sequence, offset, length, start, tag)
        elif len(place) == _SET and type(place[0]) is str and place[0] and all(map(_is_count, place[1:])):
            blob, offset, length, start = place
            yield Reference(blob, 0, 0, offset, length, start, tag)
        else:
            raise DecodeError(f"{where}: not a reference", path=where)


def _change(value: tuple[Any, ...], where: str) -> Put | Remove:
    if not _is_key(value):
        raise DecodeError(f"{where}: a change without a key", path=where)
    if len(value) == _REMOVED:
        return Remove(value)
    if len(value) != _SET or type(value[3]) is not bytes:
        raise DecodeError(f"{where}: not a change", path=where)
    return Put(value[:3], value[3])


def _append(payload: bytes, where: str) -> Append:
    values = list(_objects(payload, where, MAX_PAYLOAD_BYTES))
    if len(values) != 1 or len(values[0]) != 5 or not _is_key(values[0]):
        raise DecodeError(f"{where}: not the items of a stream", path=where)
    *_, start, items = values[0]
    if not _is_count(start) or type(items) is not tuple or not all(type(item) is bytes for item in items):
        raise DecodeError(f"{where}: not the items of a stream", path=where)
    return Append(values[0][:3], start, items)


def _objects(payload: bytes | bytearray, where: str, array: int) -> Iterator[tuple[Any, ...]]:
    unpacker = new_unpacker(len(payload), array=min(array, max(len(payload), _STREAM)))
    end = 0
    try:
        unpacker.feed(payload)
        for value in unpacker:
            if type(value) is not tuple:
                raise DecodeError(f"{where}: not an array", path=where)
            end = unpacker.tell()
            yield value
    except UNREADABLE as error:
        raise DecodeError(f"{where}: {type(error).__name__}: {error}", path=where) from error
    if end != len(payload):
        raise DecodeError(f"{where}: its objects do not span its bytes", path=where)


def _is_key(value: tuple[Any, ...]) -> bool:
    return len(value) >= 3 and type(value[0]) is str and type(value[1]) is str and type(value[2]) is int


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _array_head(count: int) -> bytes:
    if count < 16:
        return bytes((0x90 | count,))
    if count < 1 << 16:
        return b"\xdc" + count.to_bytes(2, "big")
    return b"\xdd" + count.to_bytes(4, "big")
