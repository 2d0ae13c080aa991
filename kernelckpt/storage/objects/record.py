"""What is in an object: a header that says whose it is and how long, then its metadata and its body."""

from __future__ import annotations

import os
import zlib
from struct import Struct as Layout

from msgspec import Struct

from kernelckpt.errors import UnsupportedVersionError

ENTRY, CLAIM, OWNER, RELEASED, MESSAGE, RUN, DOOMED = range(1, 8)
"""Kinds: an entry; a placeholder for the next one; who owns the run, or has given it up; a message of the
inbox; a run; a run that is being deleted."""

VERSION = 1
TOMBSTONE = b"kckpt tombstone\n"
"""Keeps a number taken whose content was deleted."""

TORN = "torn"
_MAGIC = b"kckp"
_FIXED = Layout(">4sBB16sQQQHIQI")
HEADER_BYTES = _FIXED.size + 4


class Record(Struct, frozen=True):
    """The content of an object.

    Attributes:
        kind: what it is, as `ENTRY`.
        epoch: the owner that wrote it.
        sequence: its number.
        began: the first number of its epoch; of a placeholder, the number that the next entry gets.
        meta: the writer's metadata; of placeholders and owners, which client wrote it.
        body: its bytes, as far as they are at hand.
        size: how long the body is.
        attempt: 16 random bytes, so that two objects are never alike.
        flaw: empty; `TORN` when it ends too early; else what is wrong with it.
    """

    kind: int = ENTRY
    epoch: int = 0
    sequence: int = 0
    began: int = 0
    meta: bytes = b""
    body: bytes = b""
    size: int = 0
    attempt: bytes = b""
    flaw: str = ""

    @property
    def start(self) -> int:
        """Where the body begins."""
        return HEADER_BYTES + len(self.meta)


def encode(record: Record) -> bytes:
    """The bytes of a new object."""
    body, meta = record.body, record.meta
    head = _FIXED.pack(
        _MAGIC,
        VERSION,
        record.kind,
        record.attempt or os.urandom(16),
        record.epoch,
        record.sequence,
        record.began,
        len(meta),
        zlib.crc32(meta),
        len(body),
        zlib.crc32(body),
    )
    return b"".join((head, zlib.crc32(head).to_bytes(4, "big"), meta, body))


def decode(data: bytes, total: int) -> Record:
    """What an object holds of which the first bytes are given, and how long it is.

    Raises:
        UnsupportedVersionError: it was written by a newer version.
    """
    if total < HEADER_BYTES:
        return Record(kind=0, flaw=TORN)
    check = int.from_bytes(data[_FIXED.size : HEADER_BYTES], "big")
    if data[:4] != _MAGIC or (data[4] <= VERSION and zlib.crc32(data[: _FIXED.size]) != check):
        return Record(kind=0, flaw="its header is damaged")
    _, version, kind, attempt, epoch, sequence, began, width, *sums = _FIXED.unpack_from(data)
    if version > VERSION:
        message = f"an object of version {version}, this package reads {VERSION}"
        raise UnsupportedVersionError(
            message, hint="install a newer kernelckpt", found=version, supported=VERSION
        )
    start = HEADER_BYTES + width
    meta, body = data[HEADER_BYTES:start], data[start:]
    meta_sum, size, body_sum = sums
    flaw = ""
    if total < start + size:
        flaw = TORN
    elif total > start + size:
        flaw = f"it has {total - start - size} bytes too many"
    elif zlib.crc32(meta) != meta_sum:
        flaw = "its metadata are damaged"
    elif len(body) == size and zlib.crc32(body) != body_sum:
        flaw = "its body is damaged"
    return Record(kind, epoch, sequence, began, meta, body, size, attempt, flaw)
