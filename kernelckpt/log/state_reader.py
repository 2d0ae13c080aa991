"""Reads the state that a plan names: the base's blob, then the entries after it, all of it verified."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial

from msgspec import Struct

from kernelckpt.abc import Append, Key, StorageBackend
from kernelckpt.codec.change import Reference, decode_changes, decode_index
from kernelckpt.codec.codec import PLAIN_CODEC, Codec
from kernelckpt.codec.entry import (
    BaseFacts,
    BlobHeader,
    BlobPointer,
    check_entry_header,
    check_header,
    decode_facts,
    header_of,
    implied_header,
)
from kernelckpt.codec.frame import (
    BASE,
    FEED_BYTES,
    RECORDS,
    STREAMS,
    ContainerDecoder,
    Frame,
    blob_origin,
    entry_origin,
)
from kernelckpt.errors import CorruptionError, FormatError, NotFoundError
from kernelckpt.log.chain import ChainEntry, Damage, Plan
from kernelckpt.log.options import LogStats
from kernelckpt.log.read_ahead import ReadAhead, Reading
from kernelckpt.log.run_state import RunState
from kernelckpt.log.stream_reader import Extent, StreamReader, Streams
from kernelckpt.log.time_slice import READ_SECONDS, TimeSlice
from kernelckpt.log.unread_streams import UnreadStreams

_READ_BYTES = 4 * FEED_BYTES


class Later(Struct, frozen=True):
    """Which streams of a large run are read when they are needed.

    Attributes:
        kinds: streams of these kinds,
        above_bytes: if all that a base refers to is more than so many bytes.
    """

    kinds: frozenset[str]
    above_bytes: int


class StateReader:
    """Reads one state; a new one is needed for each try.

    Attributes:
        state: what was put together.
        facts: those of the base, if there is one.
        unread: the streams that were left for later; None if there are none.
        bytes_read: how much was read for it.
    """

    def __init__(self, storage: StorageBackend, run_id: str, codec: Codec = PLAIN_CODEC) -> None:
        """Nothing is read yet."""
        self.state = RunState()
        self.facts: BaseFacts | None = None
        self.unread: UnreadStreams | None = None
        self.bytes_read = 0
        self._storage = storage
        self._run_id = run_id
        self._codec = codec
        self._slice = TimeSlice(READ_SECONDS, LogStats())

    async def read(self, plan: Plan, later: Later | None = None) -> Streams:
        """Put the state together; returns the items of its streams, but for those that are left `unread`.

        Args:
            plan: what to read.
            later: which streams may be left for later; None for none.

        Raises:
            Damage: something it needs is damaged or missing.
        """
        if plan.base is not None:
            await self._guard(plan.base, self._read_base(plan.base), base=True)
        deltas = [entry for entry in plan.entries if entry.meta.kind == "delta"]
        async with ReadAhead(self._reading(entry) for entry in deltas) as ahead:
            for entry in deltas:
                exact = plan.base is None or entry.sequence > plan.base.sequence
                await self._guard(entry, self._read_delta(entry, ahead.next(), exact=exact))
        return await self._read_streams(plan, later)

    async def facts_of(self, entry: ChainEntry) -> BaseFacts:
        """The facts in the entry of a base.

        Raises:
            FormatError, NotFoundError: the entry is damaged or gone.
        """
        where = f"entry {entry.sequence}"
        _, read = self._reading(entry)
        frames = [frame async for frame in self._entry_frames(entry, read())]
        if len(frames) != 1 or frames[0].type != BASE:
            raise CorruptionError(f"{where}: not the entry of a base")
        facts = decode_facts(frames[0].payload, where)
        if facts.state != entry.meta.state:
            raise CorruptionError(f"{where}: it names another blob than its metadata")
        return facts

    async def _read_streams(self, plan: Plan, later: Later | None) -> Streams:
        eager, unread = await self._split(later)
        reader = self._new_pass(eager, _wanted)
        at = plan.base or plan.target
        try:
            self.state.check()
            found = await reader.read_all()
        except (FormatError, NotFoundError) as error:
            missing = isinstance(error, NotFoundError)
            raise Damage(at.sequence, error.message, missing=missing, base=plan.base is not None) from error
        finally:
            self.bytes_read += reader.bytes_read
        if unread:
            self.unread = UnreadStreams(self._run_id, unread, self.state.streams, self._new_pass)
        return found

    async def _split(self, later: Later | None) -> tuple[dict[Key, Extent], dict[Key, Extent]]:
        """The streams to read now, and those to leave for later."""
        live = self.state.streams
        now: dict[Key, Extent] = {}
        left: dict[Key, Extent] = {}
        kinds: frozenset[str] = frozenset()
        if later is not None and self.facts is not None and _live_bytes(self.facts) > later.above_bytes:
            kinds = later.kinds
        self._slice.begin()
        for key, references in live.items():
            is_left = references.in_base and key[0] in kinds
            (left if is_left else now)[key] = Extent(references, references.durable)
            if self._slice.over:
                await self._slice.rest()
        return now, left

    def _new_pass(self, streams: Mapping[Key, Extent], is_wanted: Callable[[Key], bool]) -> StreamReader:
        return StreamReader(
            streams,
            is_wanted,
            storage=self._storage,
            run_id=self._run_id,
            codec=self._codec,
            time_slice=self._slice,
            at_hand=self.state.at_hand,
            repeats=self.state.repeats,
        )

    async def _read_base(self, entry: ChainEntry) -> None:
        self.facts = await self.facts_of(entry)
        pointer = self.facts.state
        records = streams = 0
        async for frame in self._blob_frames(pointer):
            where = f"blob {pointer.name}: byte {frame.offset}"
            if frame.type == STREAMS:
                indexes = decode_index(frame, where)
                streams += len(indexes)
                self.state.index(indexes)
            elif frame.type == RECORDS:
                records += self._apply(frame, entry, where)
            else:
                raise CorruptionError(f"{where}: a frame of type {frame.type} in the blob of a base")
            if self._slice.over:
                await self._slice.rest()
        if (records, streams) != (self.facts.records, self.facts.streams):
            raise CorruptionError(
                f"blob {pointer.name}: {records} records and {streams} streams instead of "
                f"{self.facts.records} and {self.facts.streams}"
            )

    async def _read_delta(self, entry: ChainEntry, reading: Awaitable[bytes], *, exact: bool) -> None:
        async for frame in self._entry_frames(entry, reading):
            self._apply(frame, entry, f"entry {entry.sequence}: byte {frame.offset}")
            if self._slice.over:
                await self._slice.rest()
        if exact:
            self.state.check()

    def _apply(self, frame: Frame, entry: ChainEntry, where: str) -> int:
        place = None
        changes = decode_changes(frame, where, self._codec.steps)
        for change in changes:
            if isinstance(change, Append):
                epoch, sequence = entry.tip.epoch, entry.sequence
                place = Reference("", epoch, sequence, frame.offset, frame.length, change.start, frame.tag)
            self.state.apply(change, place, where)
        return len(changes)

    async def _guard(self, entry: ChainEntry, work: Awaitable[None], *, base: bool = False) -> None:
        try:
            await work
        except NotFoundError as error:
            raise Damage(entry.sequence, error.message, missing=True, base=base) from error
        except FormatError as error:
            raise Damage(entry.sequence, error.message, base=base) from error

    def _reading(self, entry: ChainEntry) -> Reading:
        read = partial(self._storage.read, self._run_id, entry.tip.epoch, entry.sequence)
        return entry.link.info.size, read

    async def _entry_frames(self, entry: ChainEntry, reading: Awaitable[bytes]) -> AsyncIterator[Frame]:
        epoch, sequence = entry.tip.epoch, entry.sequence
        where = f"entry {sequence}"
        data = await reading
        self._slice.begin()
        self.bytes_read += len(data)
        header = header_of(entry.meta, self._run_id, epoch, sequence)
        decoder = ContainerDecoder(
            entry_origin(self._run_id, epoch, sequence),
            where,
            self._codec,
            key_id=entry.meta.key,
            implied=implied_header(header),
        )
        view = memoryview(data)
        for begin in range(0, len(data), FEED_BYTES):
            for frame in decoder.feed(view[begin : begin + FEED_BYTES]):
                yield frame
        digest = decoder.finish()
        check_entry_header(decoder.header, entry.meta, header, where)
        if digest != entry.meta.digest:
            raise CorruptionError(f"{where}: its digest is not the one listed")

    async def _blob_frames(self, pointer: BlobPointer) -> AsyncIterator[Frame]:
        where = f"blob {pointer.name}"
        decoder = ContainerDecoder(
            blob_origin(self._run_id, pointer.name), where, self._codec, key_id=pointer.key
        )
        size = 0
        while data := await self._storage.read_blob(
            self._run_id, pointer.name, offset=size, length=_READ_BYTES
        ):
            self._slice.begin()
            size += len(data)
            self.bytes_read += len(data)
            view = memoryview(data)
            for begin in range(0, len(data), FEED_BYTES):
                for frame in decoder.feed(view[begin : begin + FEED_BYTES]):
                    yield frame
        digest = decoder.finish()
        expected = BlobHeader(
            version=decoder.header[1],
            run_id=self._run_id,
            name=pointer.name,
            since=pointer.since,
            key=pointer.key,
        )
        check_header(decoder.header, expected, where)
        if digest != pointer.digest or size != pointer.size:
            raise CorruptionError(f"{where}: it is not the one its entry names")


def _live_bytes(facts: BaseFacts) -> int:
    """The bytes of all frames of items that a base refers to."""
    return sum(entries.live for entries in facts.entries) + sum(blob.live for blob in facts.blobs)


def _wanted(_: Key) -> bool:
    """Nobody removes a stream while all are read."""
    return True
