"""Payloads of frames: changes by key, items of a stream, and references to items."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, TypeVar

import msgpack  # type: ignore[import-untyped]  # it ships no annotations
from msgspec import UNSET, Meta, MsgspecError, Struct, UnsetType
from msgspec.msgpack import Decoder

from kernelckpt.abc import Append, Change, Key, Put, Remove
from kernelckpt.codec.frame import (
    FRAME_TAG_BYTES,
    ITEMS,
    MAX_TEXT_BYTES,
    RECORDS,
    UNREADABLE,
    Frame,
    bin_head,
    encode_plain,
    new_unpacker,
)
from kernelckpt.codec.version import UPGRADES, UpgradeStep, upgrade
from kernelckpt.errors import DecodeError

_IN_BLOB, _IN_ENTRY = 4, 5
"""How many fields a reference has, without its tag."""

_L = TypeVar("_L", bound=Struct)
_Count = Annotated[int, Meta(ge=0)]
_Text = Annotated[str, Meta(max_length=MAX_TEXT_BYTES)]


class Reference(Struct, frozen=True, gc=False):
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


class StreamIndex(Struct, frozen=True, gc=False):
    """A stream as a base keeps it: how many items, and where they lie (packed references)."""

    key: Key
    items: int
    references: bytes


class _Record(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """A line of a frame of records: set to its data, or removed."""

    kind: _Text
    task: _Text
    number: int
    data: bytes | UnsetType = UNSET


class _Items(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """The one object in a frame of items."""

    kind: _Text
    task: _Text
    number: int
    start: _Count
    items: tuple[bytes, ...]


class _Index(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """A line of a frame of streams."""

    kind: _Text
    task: _Text
    number: int
    items: _Count
    references: bytes


_one_in_entry = Decoder(tuple[_Count, _Count, _Count, _Count, _Count])
_records = Decoder(list[_Record])
_items = Decoder(_Items)
_indexes = Decoder(list[_Index])


def put_head(key: Key, size: int) -> bytes:
    """All that comes before the bytes of a record that is set; `size` is their number."""
    return b"\x94" + encode_plain(key)[1:] + bin_head(size)


def encode_remove(key: Key) -> bytes:
    """A record, or a stream, that is gone."""
    return encode_plain(key)


def encode_items(key: Key, start: int, items: Sequence[bytes]) -> bytes:
    """A whole frame of items; what `items_head` and `bin_head` begin is the same, piece by piece."""
    return encode_plain((*key, start, items))


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
        changes: Sequence[Change] = [_change(line) for line in _lines(_records, frame.payload, where)]
    elif frame.type == ITEMS:
        changes = [_append(frame.payload, where)]
    else:
        raise DecodeError(f"{where}: a frame of type {frame.type} holds no changes", path=where)
    return upgrade(changes, frame.version, steps)


def decode_index(frame: Frame, where: str) -> list[StreamIndex]:
    """The streams that a frame of a base lists."""
    return [
        StreamIndex((line.kind, line.task, line.number), line.items, line.references)
        for line in _lines(_indexes, frame.payload, where)
    ]


def each_reference(packed: bytes | bytearray, stream: object) -> Iterable[Reference]:
    """The packed references of a stream, one after the other in order; errors name the stream."""
    try:  # one that was written at once: no unpacker is made for it
        return (Reference("", *_one_in_entry.decode(packed)),)
    except MsgspecError:
        return _each_reference(packed, f"stream {stream}")


def _each_reference(packed: bytes | bytearray, where: str) -> Iterator[Reference]:
    for value in _objects(packed, where):
        has_tag = bool(value) and type(value[-1]) is bytes and len(value[-1]) == FRAME_TAG_BYTES
        *place, tag = value if has_tag else (*value, b"")
        if len(place) == _IN_ENTRY and all(map(_is_count, place)):
            epoch, sequence, offset, length, start = place
            yield Reference("", epoch, sequence, offset, length, start, tag)
        elif len(place) == _IN_BLOB and type(place[0]) is str and place[0] and all(map(_is_count, place[1:])):
            blob, offset, length, start = place
            yield Reference(blob, 0, 0, offset, length, start, tag)
        else:
            raise DecodeError(f"{where}: not a reference", path=where)


def _change(line: _Record) -> Put | Remove:
    key = (line.kind, line.task, line.number)
    return Remove(key) if line.data is UNSET else Put(key, line.data)


def _append(payload: bytes | memoryview, where: str) -> Append:
    try:
        line = _items.decode(payload)
    except UNREADABLE as error:
        raise DecodeError(f"{where}: not the items of a stream: {error}", path=where) from error
    return Append((line.kind, line.task, line.number), line.start, line.items)


def _lines(decoder: Decoder[list[_L]], payload: bytes | memoryview, where: str) -> list[_L]:
    """The objects of a payload, decoded in one call: counted first, for they lie in it without a head."""
    unpacker = new_unpacker(len(payload))
    unpacker.feed(payload)
    count = 0
    try:
        while unpacker.tell() < len(payload):
            unpacker.skip()
            count += 1
        return decoder.decode(b"\xdd" + count.to_bytes(4, "big") + payload)
    except msgpack.OutOfData as error:
        raise DecodeError(f"{where}: its objects do not span its bytes", path=where) from error
    except UNREADABLE as error:
        raise DecodeError(f"{where}: {type(error).__name__}: {error}", path=where) from error


def _objects(packed: bytes | bytearray, where: str) -> Iterator[tuple[Any, ...]]:
    unpacker = new_unpacker(len(packed), array=_IN_ENTRY + 1)
    end = 0
    try:
        unpacker.feed(packed)
        for value in unpacker:
            if type(value) is not tuple:
                raise DecodeError(f"{where}: not an array", path=where)
            end = unpacker.tell()
            yield value
    except UNREADABLE as error:
        raise DecodeError(f"{where}: {type(error).__name__}: {error}", path=where) from error
    if end != len(packed):
        raise DecodeError(f"{where}: its objects do not span its bytes", path=where)


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _array_head(count: int) -> bytes:
    if count < 16:
        return bytes((0x90 | count,))
    if count < 1 << 16:
        return b"\xdc" + count.to_bytes(2, "big")
    return b"\xdd" + count.to_bytes(4, "big")
