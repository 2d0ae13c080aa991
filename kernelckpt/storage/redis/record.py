"""What is kept beside the bytes of entries and blobs in Redis: who wrote them, and how long they are."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from kernelckpt.abc import EntryInfo
from kernelckpt.storage.redis.key import RunKeys

_ENTRY = struct.Struct(">QQ")


def entry_value(epoch: int, size: int, meta: bytes) -> bytes:
    """What the stream of a run says of an entry."""
    return _ENTRY.pack(epoch, size) + meta


def read_entry(item: tuple[bytes, list[bytes]]) -> EntryInfo:
    """An entry, from its id in the stream and what the stream says."""
    (key, (_, value)) = item
    sequence = int(key.partition(b"-")[0])
    if len(value) < _ENTRY.size:
        return EntryInfo(0, sequence, 0, b"", damage="what is kept of it is too short")
    epoch, size = _ENTRY.unpack_from(value)
    return EntryInfo(epoch, sequence, size, value[_ENTRY.size :])


def part_sizes(value: bytes) -> tuple[int, list[int]]:
    """The epoch that wrote a blob, and the sizes of its parts."""
    epoch, _, sizes = value.partition(b":")
    return int(epoch), [int(size) for size in sizes.split(b",")]


def part_keys(keys: RunKeys, name: bytes, value: bytes) -> list[bytes]:
    """The keys of a blob's parts."""
    epoch, sizes = part_sizes(value)
    return [keys.part(epoch, name, index) for index in range(len(sizes))]


def part_ranges(sizes: list[int], offset: int, length: int | None) -> Iterator[tuple[int, int, int]]:
    """Which bytes of which parts a range of a blob is: index, first, and the one behind the last."""
    end = sum(sizes) if length is None else offset + length
    start = 0
    for index, size in enumerate(sizes):
        first, behind = max(offset - start, 0), min(end - start, size)
        if first < behind:
            yield index, first, behind
        start += size
