"""Writes a container as a blob, a small part at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kernelckpt.abc import PART_BYTES, Key, StorageBackend
from kernelckpt.codec.entry import BlobHeader, BlobPointer
from kernelckpt.codec.envelope import Wrapper
from kernelckpt.codec.frame import blob_origin, encode_plain
from kernelckpt.log.container_writer import ContainerWriter, FramePlace, Payload
from kernelckpt.log.time_slice import TimeSlice

_PART_BYTES = 256 * 1024


class BlobWriter:
    """One blob under construction.

    Attributes:
        name: the blob.
        frames: how many frames it has.
    """

    def __init__(
        self,
        storage: StorageBackend,
        run_id: str,
        epoch: int,
        name: str,
        *,
        since: int,
        time_slice: TimeSlice,
        wrapper: Wrapper,
    ) -> None:
        """Nothing is written before the first part is full."""
        self.name = name
        self.frames = 0
        self._storage = storage
        self._run_id = run_id
        self._epoch = epoch
        self._since = since
        self._key_id = wrapper.key_id
        self._slice = time_slice
        header = encode_plain(BlobHeader(run_id=run_id, name=name, since=since, key=wrapper.key_id))
        self._container = ContainerWriter(blob_origin(run_id, name), header, time_slice, wrapper)
        self._parts = 0

    async def add(self, kind: int, payload: Payload) -> FramePlace:
        """Add a frame; returns where it lies in the blob."""
        return await self._added(await self._container.add(kind, payload))

    async def add_items(self, key: Key, start: int, items: Sequence[bytes]) -> FramePlace:
        """Add a frame of items; returns where it lies in the blob."""
        return await self._added(await self._container.add_items(key, start, items))

    async def _added(self, place: FramePlace) -> FramePlace:
        self.frames += 1
        if self._container.waiting >= _PART_BYTES:
            await self._flush()
        return place

    async def finish(self) -> BlobPointer:
        """Make the blob whole and durable.

        Raises:
            FencedError, StorageError: it is not there, and its name must not be used again.
        """
        digest = self._container.finish()
        await self._flush()
        self._slice.note()
        info = await self._storage.finish_blob(self._run_id, self._epoch, self.name)
        self._slice.begin()
        return BlobPointer(self.name, info.size, digest, self._since, self._key_id)

    async def _flush(self) -> None:
        for part in _parts(self._container.take()):
            self._slice.note()
            await self._storage.write_part(self._run_id, self._epoch, self.name, self._parts, part)
            self._slice.begin()
            self._parts += 1


def _parts(pieces: list[bytes]) -> Iterator[list[bytes]]:
    """Pieces in groups no larger than a part; only a frame larger than a part is divided."""
    part: list[bytes] = []
    size = 0
    for piece in pieces:
        for begin in range(0, len(piece), PART_BYTES):
            data = piece[begin : begin + PART_BYTES] if len(piece) > PART_BYTES else piece
            if size + len(data) > PART_BYTES:
                yield part
                part, size = [], 0
            part.append(data)
            size += len(data)
    if part:
        yield part
