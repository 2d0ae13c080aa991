"""Builds entries and blobs: payloads in pieces, framed and hashed a time slice at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from anyio import to_thread
from msgspec import Struct

from kernelckpt.abc import Key
from kernelckpt.codec.change import encode_items, items_head
from kernelckpt.codec.envelope import PLAIN, Wrapper
from kernelckpt.codec.frame import (
    BARE_HEADER,
    ITEMS,
    bin_head,
    closing,
    container_digest,
    encode_plain,
    frame_digest,
    frame_head,
    frame_place,
    frame_tag,
)
from kernelckpt.log.time_slice import TimeSlice

FRAME_BYTES = 64 * 1024
"""A frame is closed once its payload has this size."""

_JOIN_BYTES = 16 * 1024
_PIECE_BYTES = 1024 * 1024
"""What is joined to pieces of this size: between two of them a storage's thread needs the interpreter, and
waits for it while the event loop is busy; and to copy larger ones would hold that up."""

_SMALL_BYTES = FRAME_BYTES
"""Items that come to no more are encoded and hashed at one go, as most are."""

_HASH_BYTES = 2047
"""Hashed at one go: from 2048 bytes on hashlib lets other threads have the interpreter, and until one of them
gives it back the event loop is held, for longer than the hashing takes."""

_THREAD_BYTES = {False: 256 * 1024, True: 8 * 1024}
"""Payloads from this size on are wrapped beside the event loop; compressing takes longer than encrypting."""


class FramePlace(Struct, frozen=True):
    """Where a frame lies in its container, and what a reference to it holds of its digest."""

    offset: int
    length: int
    tag: bytes


class Payload:
    """Bytes in pieces: small ones are joined, large ones are kept as they are.

    Attributes:
        size: how many bytes.
    """

    def __init__(self) -> None:
        """Nothing yet."""
        self.size = 0
        self._pieces: list[bytes] = []
        self._small: list[bytes] = []
        self._small_size = 0

    def add(self, *pieces: bytes) -> None:
        """Add these bytes at the end."""
        for data in pieces:
            size = len(data)
            self.size += size
            if size < _JOIN_BYTES:
                self._small.append(data)
                self._small_size += size
            else:
                self._join()
                self._pieces.append(data)
        if self._small_size >= _PIECE_BYTES:
            self._join()

    def pieces(self) -> list[bytes]:
        """All pieces, in order."""
        self._join()
        return self._pieces

    def _join(self) -> None:
        if self._small:
            self._pieces.append(b"".join(self._small))
            self._small, self._small_size = [], 0


class ContainerWriter:
    """A container under construction; `take` hands out the pieces that are ready."""

    def __init__(
        self, origin: bytes, header: bytes, time_slice: TimeSlice, wrapper: Wrapper, *, bare: bool = False
    ) -> None:
        """Begin with the header.

        Args:
            origin: what ties the frames to this container.
            header: the header, under the container's digest.
            time_slice: told of progress.
            wrapper: wraps payloads; for this container alone.
            bare: write neither the header nor the digest: both are kept elsewhere.
        """
        self._bare = bare
        self._origin = origin
        self._slice = time_slice
        self._ready = Payload()
        self._taken = 0
        self._wrapper = wrapper
        self._digest = container_digest(header, wrapper.mac)
        self._frames = 0
        self._ready.add(encode_plain(BARE_HEADER) if bare else header)

    @property
    def size(self) -> int:
        """Its length so far, in bytes."""
        return self._taken + self._ready.size

    @property
    def waiting(self) -> int:
        """Bytes not yet taken."""
        return self._ready.size

    async def add_items(self, key: Key, start: int, items: Sequence[bytes]) -> FramePlace:
        """Add a frame of items; returns where it lies."""
        place = self.add_few(key, start, items)
        if place is not None:
            return place
        payload = Payload()
        payload.add(items_head(key, start, len(items)))
        for item in items:
            payload.add(bin_head(len(item)), item)
        return await self.add(ITEMS, payload)

    def add_few(self, key: Key, start: int, items: Sequence[bytes]) -> FramePlace | None:
        """Add a frame of items at one go; None, and nothing is added, if they are too many for that."""
        if self._wrapper.changes_payloads or sum(map(len, items)) > _SMALL_BYTES:
            return None
        payload = encode_items(key, start, items)
        offset, size = self.size, len(payload)
        hasher = frame_digest(self._origin, offset, ITEMS, size)
        for chunk in _chunks((payload,)):
            hasher.update(chunk)
        self._put_frame(ITEMS, hasher.digest(), size, payload)
        return FramePlace(offset, self.size - offset, b"")

    async def add(self, kind: int, payload: Payload) -> FramePlace:
        """Add a frame; returns where it lies."""
        offset = self.size
        encoding, pieces = await self._wrap(kind, payload)
        size = sum(map(len, pieces))
        hasher = frame_digest(self._origin, offset, kind, size, encoding=encoding)
        for chunk in _chunks(pieces):
            hasher.update(chunk)
            if self._slice.over:
                await self._slice.rest()
        digest = hasher.digest()
        self._put_frame(kind, digest, size, *pieces, encoding=encoding)
        return FramePlace(offset, self.size - offset, frame_tag(digest, encoding))

    def finish(self) -> bytes:
        """Add the closing; returns the container's digest."""
        raw, digest = closing(self._digest, self._frames, bare=self._bare)
        self._ready.add(raw)
        return digest

    def take(self) -> list[bytes]:
        """The pieces that were not taken yet; few, for a storage handles each of them."""
        ready, self._ready = self._ready, Payload()
        self._taken += ready.size
        return ready.pieces()

    async def _wrap(self, kind: int, payload: Payload) -> tuple[int, Sequence[bytes]]:
        """The encoding of a payload, and the pieces to write."""
        pieces = payload.pieces()
        if not self._wrapper.changes_payloads:
            return PLAIN, pieces
        place = frame_place(self._origin, self.size, kind)
        if payload.size < _THREAD_BYTES[self._wrapper.compresses]:
            encoding, data = self._wrapper.wrap(b"".join(pieces), self.size, place)
        else:
            self._slice.note()
            encoding, data = await to_thread.run_sync(self._wrapper.wrap, b"".join(pieces), self.size, place)
            self._slice.begin()
        return encoding, [data]

    def _put_frame(self, kind: int, digest: bytes, size: int, *pieces: bytes, encoding: int = PLAIN) -> None:
        """Put a frame, and have the container's digest depend on its digest."""
        self._ready.add(frame_head(kind, digest, size, encoding=encoding), *pieces)
        self._digest.update(digest)
        self._frames += 1


def _chunks(pieces: Iterable[bytes]) -> Iterable[bytes | memoryview]:
    for piece in pieces:
        if len(piece) <= _HASH_BYTES:
            yield piece
        else:
            view = memoryview(piece)
            for begin in range(0, len(piece), _HASH_BYTES):
                yield view[begin : begin + _HASH_BYTES]
