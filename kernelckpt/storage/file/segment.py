"""A segment file of the file storage: how entries are framed, and how the frames are found again.

After a header record, each entry is three msgpack objects of fixed layout: `[sequence, size, meta, crc]`,
the body as one `bin`, and its crc. Every crc starts from the segment's identity, so that a frame that was
moved, or that is part of an entry's own bytes, is never taken for one.
"""

from __future__ import annotations

import errno
import struct
import zlib
from collections.abc import Callable, Sequence

from msgspec import Struct

from kernelckpt.errors import CorruptionError
from kernelckpt.storage.file.ops import FileOps
from kernelckpt.storage.file.record import decode_record, encode_record

_KIND = "kernelckpt-segment"
MAX_BODY_BYTES = 0xFFFFFFFF
HEADER_BYTES = 128
"""No segment header is longer."""
_HEAD = struct.Struct(">BBQBQBH")  # array of 4, uint64, uint64, bin16
_LONG = struct.Struct(">BL")  # bin32 or uint32
_HEAD_MARKS = (0x94, 0xCF, 0xCF, 0xC5)
FRAME_MARK = _HEAD_MARKS[0]
_BIN32, _UINT32 = 0xC6, 0xCE
_CHUNK_BYTES = 1024 * 1024


class Place(Struct, frozen=True):
    """Where an entry's frame lies: its start, its body and its end, in bytes from the file's start."""

    start: int
    body: int
    size: int
    head_crc: int

    @property
    def end(self) -> int:
        """Where the next frame begins."""
        return self.body + self.size + _LONG.size


def segment_seed(run_digest: bytes, epoch: int, number: int) -> int:
    """Where the crcs of a segment start from."""
    return zlib.crc32(run_digest + struct.pack(">QQ", epoch, number))


def encode_segment_header(run_digest: bytes, epoch: int, number: int, first: int) -> bytes:
    """The first bytes of a segment whose first entry will be numbered `first`."""
    return encode_record(_KIND, run_digest, epoch, number, first)


def decode_segment_header(
    data: bytes, run_digest: bytes, epoch: int, number: int, where: str
) -> tuple[int, int]:
    """The number of a segment's first entry, and the header's length; zeros when it is not this segment's.

    Raises:
        UnsupportedVersionError: a newer version wrote it.
    """
    try:
        fields, end = decode_record(data[:HEADER_BYTES], _KIND, (bytes, int, int, int), where)
    except CorruptionError:
        return 0, 0
    return (fields[3], end) if fields[:3] == [run_digest, epoch, number] else (0, 0)


def decode_frame_head(
    read: Callable[[int, int], bytes], at: int, seed: int
) -> tuple[int, bytes, Place] | None:
    """Sequence, metadata and place of the frame that begins at a position, if its head is sound.

    Args:
        read: gives up to so many bytes from a position: `read(at, size)`.
        at: the position.
        seed: the segment's.
    """
    head = read(at, _HEAD.size)
    if len(head) < _HEAD.size:
        return None
    array, first, sequence, second, size, binary, meta_size = _HEAD.unpack(head)
    if (array, first, second, binary) != _HEAD_MARKS or size > MAX_BODY_BYTES:
        return None
    rest = read(at + _HEAD.size, meta_size + 2 * _LONG.size)
    crc = zlib.crc32(rest[:meta_size], zlib.crc32(head, seed))
    if rest[meta_size:] != _LONG.pack(_UINT32, crc) + _LONG.pack(_BIN32, size):
        return None
    return sequence, rest[:meta_size], Place(at, at + _HEAD.size + len(rest), size, crc)


def frame_pieces(seed: int, sequence: int, entry: Sequence[bytes], meta: bytes) -> list[bytes]:
    """An entry's frame, as pieces to be written without joining them."""
    size = sum(map(len, entry))
    marks = _HEAD_MARKS
    head = _HEAD.pack(marks[0], marks[1], sequence, marks[2], size, marks[3], len(meta)) + meta
    head_crc = zlib.crc32(head, seed)
    body_crc = head_crc
    for piece in entry:
        body_crc = zlib.crc32(piece, body_crc)
    opening = head + _LONG.pack(_UINT32, head_crc) + _LONG.pack(_BIN32, size)
    return [opening, *(piece for piece in entry if piece), _LONG.pack(_UINT32, body_crc)]


def write_all(ops: FileOps, fd: int, pieces: Sequence[bytes], offset: int) -> int:
    """Write all the pieces at `offset`, however few bytes a call takes; returns where they end."""
    left: list[bytes | memoryview] = [piece for piece in pieces if piece]
    while left:
        taken = ops.pwritev(fd, left, offset)
        if taken <= 0:
            raise OSError(errno.EIO, "a write took no bytes")
        offset += taken
        left = _without(left, taken)
    return offset


def read_all(ops: FileOps, fd: int, size: int, offset: int) -> bytes:
    """Read `size` bytes at `offset`, however few a call gives; fewer only at the end of the file."""
    pieces: list[bytes] = []
    while size > 0:
        piece = ops.pread(fd, size, offset)
        if not piece:
            break
        pieces.append(piece)
        offset += len(piece)
        size -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def body_is_sound(ops: FileOps, fd: int, place: Place) -> bool:
    """Whether the body of a frame and its crc are what was written."""
    crc, at = place.head_crc, place.body
    while at < place.body + place.size:
        piece = read_all(ops, fd, min(_CHUNK_BYTES, place.body + place.size - at), at)
        if not piece:
            return False
        crc = zlib.crc32(piece, crc)
        at += len(piece)
    return read_all(ops, fd, _LONG.size, at) == _LONG.pack(_UINT32, crc)


def read_body(ops: FileOps, fd: int, place: Place, offset: int, length: int | None) -> bytes | None:
    """Bytes of an entry from `offset`, or None when they are not what was written.

    Only a read of the whole body is checked against its crc; a shorter one has none of its own.
    """
    begin = min(offset, place.size)
    size = place.size - begin if length is None else min(length, place.size - begin)
    data = read_all(ops, fd, size, place.body + begin)
    if len(data) < size:
        return None
    if size == place.size:
        crc = _LONG.pack(_UINT32, zlib.crc32(data, place.head_crc))
        return data if read_all(ops, fd, _LONG.size, place.body + size) == crc else None
    return data


def _without(pieces: list[bytes | memoryview], taken: int) -> list[bytes | memoryview]:
    for index, piece in enumerate(pieces):
        if taken < len(piece):
            return [memoryview(piece)[taken:], *pieces[index + 1 :]]
        taken -= len(piece)
    return []
