"""Finding the entries in a segment file again, and telling what is missing between and after them."""

from __future__ import annotations

from msgspec import Struct

from kernelckpt.abc import EntryInfo
from kernelckpt.storage.file.name import segment_name
from kernelckpt.storage.file.ops import FileOps
from kernelckpt.storage.file.segment import (
    FRAME_MARK,
    HEADER_BYTES,
    Place,
    body_is_sound,
    decode_frame_head,
    decode_segment_header,
    encode_segment_header,
    read_all,
    segment_seed,
)

_WINDOW_BYTES = 8 * 1024
_CHUNK_BYTES = 1024 * 1024


class Segment(Struct):
    """What was found in a segment file.

    Attributes:
        epoch: its owner.
        number: its number among the owner's segments.
        inode: the file it was read from.
        seed: where its crcs start from.
        first: the sequence its owner meant to write first; 0 when the header is unreadable.
        entries: what it holds, in order, damaged entries between sound ones included.
        places: where each sound entry lies, by sequence.
        end: where its sound part ends.
        scanned: the size the file had when it was last looked at.
        torn: why the bytes after `end` are no entry; empty when there are none.
    """

    epoch: int
    number: int
    inode: int
    seed: int
    first: int
    entries: list[EntryInfo]
    places: dict[int, Place]
    end: int
    scanned: int = -1
    torn: str = ""

    @property
    def name(self) -> str:
        """The name of its file."""
        return segment_name(self.epoch, self.number)

    @property
    def begin(self) -> int:
        """The first number it was meant to hold; 0 when that cannot be known."""
        return self.first or (self.entries[0].sequence if self.entries else 0)

    @property
    def next_sequence(self) -> int:
        """The number that a torn entry at its end would have; 0 when that cannot be known."""
        return self.entries[-1].sequence + 1 if self.entries else self.first


def scan_segment(
    ops: FileOps, fd: int, run_digest: bytes, number: tuple[int, int], known: Segment | None
) -> Segment:
    """Find the entries of a segment, going on from what is known of it already.

    Bodies are not read, but for that of the last entry: each earlier one was acknowledged before the next
    was begun, and only the last may be a write that a crash cut short.

    Raises:
        UnsupportedVersionError: a newer version wrote it.
    """
    facts = ops.fstat(fd)
    if known is not None and known.inode == facts.inode and known.scanned <= facts.size:
        found = known
    else:
        found = _open_segment(ops, fd, run_digest, number, facts.inode)
    if found.scanned != facts.size:
        _Scan(ops, fd, facts.size, run_digest, found).run()
        found.scanned = facts.size
    return found


def _open_segment(ops: FileOps, fd: int, run_digest: bytes, number: tuple[int, int], inode: int) -> Segment:
    data = read_all(ops, fd, HEADER_BYTES, 0)
    # Without a header the frames vouch for themselves: each crc starts from the segment's identity.
    first, end = decode_segment_header(data, run_digest, *number, segment_name(*number))
    return Segment(*number, inode, segment_seed(run_digest, *number), first, [], {}, end)


class _Scan:
    """One pass over the unknown part of a segment."""

    def __init__(self, ops: FileOps, fd: int, size: int, run_digest: bytes, found: Segment) -> None:
        self.ops = ops
        self.fd = fd
        self.size = size
        self.run_digest = run_digest
        self.found = found
        self.last = found.entries[-1].sequence if found.entries else 0
        self.window = b""
        self.window_at = 0

    def run(self) -> None:
        """Add what lies after `found.end`."""
        found, last = self.found, None
        at = found.end
        found.torn = ""
        while at < self.size:
            here = self.frame_at(at)
            if here is None:
                here = self.frame_after(at)
            if here is None:
                found.torn = "the bytes after it are no entry"
                break
            if last is not None:
                self.add(*last)
            last = here
            self.last = here[0].sequence
            at = here[1].end
        if last is not None:
            self.add_last(*last)

    def frame_at(self, at: int) -> tuple[EntryInfo, Place] | None:
        """The frame that begins at a position, if a whole one does."""
        found = decode_frame_head(self.bytes_at, at, self.found.seed)
        if found is None or found[2].end > self.size:
            return None
        sequence, meta, place = found
        if sequence <= self.last:
            return None  # an older frame, repeated within the bytes of an entry
        return EntryInfo(self.found.epoch, sequence, place.size, meta, self.found.name), place

    def frame_after(self, at: int) -> tuple[EntryInfo, Place] | None:
        """The first frame that begins after a position that should have held one."""
        start = at + 1
        while start < self.size:
            chunk = read_all(self.ops, self.fd, _CHUNK_BYTES, start)
            if not chunk:
                return None
            near = chunk.find(FRAME_MARK)
            while near >= 0:
                if (here := self.frame_at(start + near)) is not None:
                    return here
                near = chunk.find(FRAME_MARK, near + 1)
            start += len(chunk)
        return None

    def add(self, entry: EntryInfo, place: Place) -> None:
        """Take a frame as sound, and what should lie before it as damaged."""
        found = self.found
        if place.start != found.end:
            self.add_damaged(entry.sequence, place.start)
        found.entries.append(entry)
        found.places[entry.sequence] = place
        found.end = place.end

    def add_last(self, entry: EntryInfo, place: Place) -> None:
        """Take the last frame only when its body is what was written."""
        if body_is_sound(self.ops, self.fd, place):
            self.add(entry, place)
            return
        if place.start != self.found.end:
            self.add_damaged(entry.sequence, place.start)
            self.found.end = place.start
        self.found.torn = "its body is not what was written"

    def add_damaged(self, upto: int, start: int) -> None:
        """Say that the entries before `upto` cannot be read; their bytes end at `start`."""
        found = self.found
        first = found.next_sequence
        if not first:  # the header is damaged too: its length tells whether anything else is
            header = encode_segment_header(self.run_digest, found.epoch, found.number, upto)
            first = upto if len(header) == start else max(upto - 1, 1)
        for sequence in range(first, upto):
            reason = f"unreadable bytes at {found.end} of {found.name}"
            found.entries.append(EntryInfo(found.epoch, sequence, 0, b"", found.name, reason))

    def bytes_at(self, at: int, size: int) -> bytes:
        """Bytes of the file, read a window at a time."""
        begin = at - self.window_at
        if begin < 0 or begin + size > len(self.window):
            self.window = read_all(self.ops, self.fd, max(size, _WINDOW_BYTES), at)
            self.window_at, begin = at, 0
        return self.window[begin : begin + size]
