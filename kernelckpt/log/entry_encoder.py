"""A batch to the bytes of an entry, a time slice at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from msgspec import Struct

from kernelckpt.abc import Key
from kernelckpt.codec.change import Reference, encode_reference, encode_remove, put_head
from kernelckpt.codec.entry import EntryHeader, EntryMeta, encode_meta
from kernelckpt.codec.envelope import MAX_PAYLOAD_BYTES, Wrapper
from kernelckpt.codec.frame import (
    BASE,
    MAX_TEXT_BYTES,
    NO_DIGEST,
    RECORDS,
    encode_plain,
    entry_origin,
)
from kernelckpt.errors import InvalidValueError
from kernelckpt.log.batch import Batch, PendingItems
from kernelckpt.log.checkpoint_info import CheckpointInfo
from kernelckpt.log.container_writer import FRAME_BYTES, ContainerWriter, FramePlace, Payload
from kernelckpt.log.stream_references import StreamReferences
from kernelckpt.log.time_slice import TimeSlice

RecordEncoder: TypeAlias = Callable[[Struct], bytes]
"""Gives the bytes of a record that was staged as a struct."""

MAX_RECORD_BYTES = MAX_PAYLOAD_BYTES - 4 * MAX_TEXT_BYTES
"""The largest record or item, in bytes."""


class Tip(Struct, frozen=True):
    """The newest entry of a chain; zeros before the first."""

    epoch: int = 0
    sequence: int = 0
    digest: bytes = NO_DIGEST


class Position(Struct, frozen=True):
    """Where an entry goes: its number, and what it follows."""

    run_id: str
    epoch: int
    sequence: int
    previous: Tip
    wall_ms: int


class Attempt(Struct):
    """An entry ready to be appended.

    Attributes:
        batch: what it holds.
        pieces: its bytes.
        meta: its metadata, sealed.
        tip: the end of the chain once it is there.
        references: for each frame of items: its stream, where it lies (encoded, so that little is left to do
            once the entry is durable), and the index its items end before.
        info: how it will be listed.
        doubtful: an earlier try of these bytes may have succeeded, or may yet.
    """

    batch: Batch
    pieces: list[bytes]
    meta: bytes
    tip: Tip
    references: list[tuple[StreamReferences, bytes, int]]
    info: CheckpointInfo
    doubtful: bool = False


def record_bytes(key: Key, record: Struct | bytes, encode: RecordEncoder) -> bytes:
    """A record's bytes.

    Raises:
        InvalidValueError: it is larger than a record may be.
    """
    data = record if isinstance(record, bytes) else encode(record)
    check_size(key, len(data))
    return data


def check_size(key: Key, size: int) -> None:
    """Raise `InvalidValueError` when a record or item of that size cannot be kept under that key."""
    if size > MAX_RECORD_BYTES:
        raise InvalidValueError(
            f"record {key} has {size} bytes, more than {MAX_RECORD_BYTES}",
            path=str(key),
            hint="keep large data outside and a reference to it in the state",
        )
    if 4 * (len(key[0]) + len(key[1])) > MAX_TEXT_BYTES:
        raise InvalidValueError(f"a key of {len(key[1])} characters", path=str(key), hint="use shorter ids")


class EntryEncoder:
    """Encodes one batch for one position."""

    def __init__(
        self,
        batch: Batch,
        position: Position,
        encode: RecordEncoder,
        time_slice: TimeSlice,
        wrapper: Wrapper,
    ) -> None:
        """Prepare the header; `encode` gives the bytes of records staged as structs."""
        self._batch = batch
        self._position = position
        self._encode = encode
        self._slice = time_slice
        self._mac = wrapper.mac
        self._header = EntryHeader(
            kind="base" if batch.facts else "delta",
            run_id=position.run_id,
            epoch=position.epoch,
            sequence=position.sequence,
            previous_epoch=position.previous.epoch,
            previous_sequence=position.previous.sequence,
            previous_digest=position.previous.digest,
            wall_ms=position.wall_ms,
            turn=batch.turn,
            changes=batch.changes,
            key=wrapper.key_id,
        )
        origin = entry_origin(position.run_id, position.epoch, position.sequence)
        self._writer = ContainerWriter(origin, encode_plain(self._header), time_slice, wrapper, bare=True)
        self._references: list[tuple[StreamReferences, bytes, int]] = []

    async def run(self) -> Attempt:
        """The entry.

        Raises:
            InvalidValueError: a record, item or key is too large.
        """
        if self._batch.facts is not None:
            payload = Payload()
            payload.add(encode_plain(self._batch.facts))
            await self._writer.add(BASE, payload)
        await self._add_records()
        await self._add_items()
        return self._finish(self._writer.finish())

    async def _add_records(self) -> None:
        payload = Payload()
        for key, record in self._batch.records.items():
            if record is None or key in self._batch.renewed:
                check_size(key, 0)
                payload.add(encode_remove(key))
            if record is not None:
                data = record_bytes(key, record, self._encode)
                payload.add(put_head(key, len(data)), data)
            if payload.size >= FRAME_BYTES:
                await self._writer.add(RECORDS, payload)
                payload = Payload()
            if self._slice.over:
                await self._slice.rest()
        if payload.size:
            await self._writer.add(RECORDS, payload)

    async def _add_items(self) -> None:
        for key, pending in self._batch.items.items():
            check_size(key, 0)
            place = self._writer.add_few(key, pending.start, pending.items)
            if place is None:
                await self._add_groups(key, pending)
            else:
                self._refer(pending, place, pending.start, len(pending.items))
            if self._slice.over:
                await self._slice.rest()

    async def _add_groups(self, key: Key, pending: PendingItems) -> None:
        start = pending.start
        for items in _groups(key, pending.items):
            place = await self._writer.add_items(key, start, items)
            self._refer(pending, place, start, len(items))
            start += len(items)
            if self._slice.over:
                await self._slice.rest()

    def _refer(self, pending: PendingItems, place: FramePlace, start: int, count: int) -> None:
        epoch, sequence = self._position.epoch, self._position.sequence
        reference = Reference("", epoch, sequence, place.offset, place.length, start, place.tag)
        self._references.append((pending.stream, encode_reference(reference), start + count))

    def _finish(self, digest: bytes) -> Attempt:
        header, position, batch = self._header, self._position, self._batch
        meta = EntryMeta(
            kind=header.kind,
            previous_epoch=header.previous_epoch,
            previous_sequence=header.previous_sequence,
            previous_digest=header.previous_digest,
            digest=digest,
            wall_ms=header.wall_ms,
            turn=header.turn,
            changes=header.changes,
            trigger=batch.trigger,
            state=batch.facts.state if batch.facts else None,
            key=header.key,
        )
        epoch, sequence = position.epoch, position.sequence
        return Attempt(
            batch=batch,
            pieces=self._writer.take(),
            meta=encode_meta(meta, position.run_id, epoch, sequence, self._mac),
            tip=Tip(epoch, sequence, digest),
            references=self._references,
            info=CheckpointInfo.of(meta, epoch, sequence, self._writer.size, commit=batch.commit),
        )


def _groups(key: Key, items: list[bytes]) -> Iterator[list[bytes]]:
    group: list[bytes] = []
    size = 0
    for item in items:
        check_size(key, len(item))
        group.append(item)
        size += len(item)
        if size >= FRAME_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group
