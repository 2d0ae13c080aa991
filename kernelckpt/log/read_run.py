"""Reads a run as of its newest or an earlier checkpoint; refuses damage, or falls back loudly."""

from __future__ import annotations

from typing import Literal, TypeAlias

import anyio.lowlevel
from msgspec import Struct

from kernelckpt.abc import Key, StorageBackend
from kernelckpt.codec.codec import PLAIN_CODEC, Codec
from kernelckpt.codec.entry import BaseFacts
from kernelckpt.errors import CorruptionError, NotFoundError
from kernelckpt.log.chain import ChainEntry, Damage, Plan, plan
from kernelckpt.log.checkpoint_info import CheckpointInfo
from kernelckpt.log.entry_encoder import Tip
from kernelckpt.log.listing import Link, Listing
from kernelckpt.log.options import LogStats
from kernelckpt.log.state_reader import Later, StateReader
from kernelckpt.log.stream_references import StreamReferences
from kernelckpt.log.time_slice import READ_SECONDS, TimeSlice
from kernelckpt.log.unfinished_copy import refuse_unfinished, source_of_unfinished
from kernelckpt.log.unread_streams import UnreadStreams

OnCorruption: TypeAlias = Literal["refuse", "fall_back"]

_TRIES = 4
_REFUSED = 'to go on from the last good checkpoint as a new branch, set on_corruption="fall_back"'
_DONE_AGAIN = "what was done in entries that are left out, turns and their calls, is done again"
_NOTHING_LEFT = "restore the storage from a copy, or begin a run under another id"


class LoadedRun(Struct, kw_only=True):
    """A run as of one checkpoint: what `RestoredState` asks for, and where a writer goes on.

    Attributes:
        run_id: the run.
        records: every record, encoded.
        streams: every stream, as its encoded items in order.
        references: where the items of each stream lie.
        unread: the streams that were left to be read when they are needed; None if there are none.
        tip: the entry it is the state of; zeros for a run without entries.
        newest: the newest number listed; above the tip when something was left out.
        wall_ms: when that entry was encoded, in milliseconds since 1970; None without entries.
        turn: kernel turns so far.
        base: the number of the base it was read from; 0 when from the beginning.
        facts: what that base says of itself.
        deltas: how many entries were read after the base.
        delta_bytes: their bytes.
        bad_bases: numbers of bases that were found damaged.
        notes: what was left out and why; to be shown to the user.
        bytes_read: how much was read.
        last: the entry itself; None without entries.
    """

    run_id: str
    records: dict[Key, bytes]
    streams: dict[Key, list[bytes]]
    references: dict[Key, StreamReferences]
    unread: UnreadStreams | None = None
    tip: Tip = Tip()
    newest: int = 0
    wall_ms: int | None = None
    turn: int = 0
    base: int = 0
    facts: BaseFacts | None = None
    deltas: int = 0
    delta_bytes: int = 0
    bad_bases: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    bytes_read: int = 0
    last: ChainEntry | None = None

    @property
    def info(self) -> CheckpointInfo | None:
        """How that entry is listed; None without entries."""
        if self.last is None:
            return None
        entry = self.last.link.info
        return CheckpointInfo.of(self.last.meta, entry.epoch, entry.sequence, entry.size)

    @property
    def epoch(self) -> int:
        """The epoch of the entry it is the state of."""
        return self.tip.epoch

    @property
    def sequence(self) -> int:
        """The number of the entry it is the state of; 0 for a run without entries."""
        return self.tip.sequence

    @property
    def digest(self) -> bytes:
        """The digest of the entry it is the state of."""
        return self.tip.digest

    def drop_state(self) -> None:
        """Let go of records and items once the client has taken them over."""
        self.records = {}
        self.streams = {}
        self.unread = None

    async def drain(self) -> None:
        """The same little by little; a client that still looks at them sees them go."""
        time_slice = TimeSlice(READ_SECONDS, LogStats())
        for kept in (self.records, self.streams):
            while kept:
                kept.popitem()
                if time_slice.over:
                    await time_slice.rest()
        self.drop_state()
        self.unread = None


async def read_run(
    storage: StorageBackend,
    run_id: str,
    at: int | None = None,
    on_corruption: OnCorruption = "refuse",
    *,
    head: int = 0,
    codec: Codec = PLAIN_CODEC,
    later: Later | None = None,
) -> LoadedRun:
    """Read a run without owning it; nothing is changed.

    Args:
        storage: where it is.
        run_id: the run.
        at: the number of the checkpoint; the newest by default.
        on_corruption: "refuse" raises; "fall_back" takes the newest checkpoint that is whole, says in
            `notes` what was left out, and changes nothing.
        head: the newest number known to have been acknowledged; a listing that ends before is damage.
        codec: what is at hand to read it.
        later: which streams may be left `unread`; None for none. What is damaged in them is found later.

    Raises:
        NotFoundError: no such run, or no such checkpoint (any more).
        CorruptionError: something is damaged or missing; `lost` says what would be lost without it.
        UnsupportedVersionError: it was written by a newer version.
        UnfinishedCopyError: copying it to here was not finished.
    """
    await refuse_unfinished(storage, run_id)
    for attempt in range(_TRIES):
        reading = _Reading(storage, run_id, head, codec, later)
        try:
            return await reading.run(at)
        except Damage as damage:
            # Pruning may have removed what was listed a moment ago; a new listing shows what replaced it.
            if damage.missing and attempt + 1 < _TRIES:
                await anyio.lowlevel.checkpoint()
                continue
            return await reading.meet(damage, at, on_corruption)
    raise AssertionError


async def is_current(storage: StorageBackend, loaded: LoadedRun, head: int, codec: Codec) -> bool:
    """Whether a run that was read whole is still what reading it again would give.

    Its newest entry names, by digests, everything before it: if that is the same one, all is. `head` is the
    newest number known to have been acknowledged.
    """
    newest = await Listing(storage, loaded.run_id, codec).newest()
    if newest is None or newest.meta is None or newest.damage or loaded.notes or loaded.bad_bases:
        return False
    if await source_of_unfinished(storage, loaded.run_id) is not None:
        return False  # reading it again says so
    tip = Tip(newest.info.epoch, newest.info.sequence, newest.meta.digest)
    return tip == loaded.tip and newest.info.sequence == loaded.newest >= head


class _Reading:
    """One try at reading a run, on one listing."""

    def __init__(
        self, storage: StorageBackend, run_id: str, head: int, codec: Codec, later: Later | None
    ) -> None:
        self._storage = storage
        self._run_id = run_id
        self._head = head
        self._codec = codec
        self._later = later
        self._listing = Listing(storage, run_id, codec)
        self._newest: Link | None = None

    async def run(self, at: int | None) -> LoadedRun:
        self._newest = newest = await self._listing.newest()
        listed = newest.info.sequence if newest else 0
        if at is not None and (at < 1 or await self._listing.get(at) is None):
            raise NotFoundError(
                f"run {self._run_id!r} has no checkpoint {at}",
                hint="`kernelckpt log RUN` lists those it has",
            )
        if at is None and listed < self._head:
            raise Damage(self._head, "it was acknowledged and is missing", missing=True)
        if newest is None:
            return LoadedRun(run_id=self._run_id, records={}, streams={}, references={})
        if at is None:
            return await self._load(listed, ())
        return await self._load_earlier(at)

    async def _load_earlier(self, at: int) -> LoadedRun:
        """The state as of `at`: from the beginning, or from an older base, where pruning removed its base."""
        pruned: list[int] = []
        while True:
            try:
                return await self._load(at, tuple(pruned))
            except Damage as damage:
                gone = damage.base and damage.missing and damage.sequence not in pruned
                if not gone or not await self._was_pruned(damage.sequence):
                    raise
                pruned.append(damage.sequence)

    async def meet(self, damage: Damage, at: int | None, on_corruption: OnCorruption) -> LoadedRun:
        """Refuse, or fall back, once it is certain that something is wrong."""
        if at is not None and damage.missing and await self._was_pruned(damage.sequence):
            raise NotFoundError(
                f"checkpoint {at} of run {self._run_id!r} can no longer be restored: {damage}",
                hint="pruning removed what it rests on; pin a checkpoint to keep it restorable",
            ) from damage
        try:
            fallback = await self._fall_back(damage, at)
        except CorruptionError:
            if on_corruption == "fall_back":
                raise
            fallback = None
        lost = self._lost(fallback)
        if on_corruption == "refuse" or fallback is None:
            raise CorruptionError(
                f"run {self._run_id!r}: {damage}; without it: {'; '.join(lost)}",
                hint=_REFUSED if fallback else _NOTHING_LEFT,
                lost=lost,
            ) from damage
        fallback.notes = (f"run {self._run_id!r} is damaged: {damage}", *lost, _DONE_AGAIN)
        return fallback

    async def _fall_back(self, damage: Damage, at: int | None) -> LoadedRun:
        listed = self._newest.info.sequence if self._newest else 0
        target = listed if at is None else at
        bad_bases: list[int] = []
        while True:
            if damage.base:
                bad_bases.append(damage.sequence)
            elif damage.sequence <= listed:
                target = await self._predecessor(damage.sequence)
            if target == 0:
                raise CorruptionError(
                    f"run {self._run_id!r}: {damage}, and nothing before it is whole", hint=_NOTHING_LEFT
                ) from damage
            try:
                return await self._load(target, tuple(bad_bases))
            except Damage as found:
                damage = found

    async def _predecessor(self, sequence: int) -> int:
        link = await self._listing.get(sequence)
        if link is not None and link.meta is not None:
            return link.meta.previous_sequence
        before = await self._listing.before(sequence)
        return before.info.sequence if before else 0

    async def _was_pruned(self, sequence: int) -> bool:
        """Whether a newer base makes it possible that retention removed this entry."""
        link = self._newest
        while link is not None and link.info.sequence > sequence:
            state = link.meta.state if link.meta is not None else None
            if state is not None and state.since >= sequence:
                return True
            link = await self._listing.before(link.info.sequence)
        return False

    async def _load(self, target: int, bad_bases: tuple[int, ...]) -> LoadedRun:
        path = await plan(self._listing, target, bad_bases=bad_bases)
        reader = StateReader(self._storage, self._run_id, self._codec)
        streams = await reader.read(path, self._later)
        deltas = [entry for entry in path.entries if entry.meta.kind == "delta"]
        return LoadedRun(
            run_id=self._run_id,
            records=reader.state.records,
            streams=streams,
            references=reader.state.streams,
            unread=reader.unread,
            tip=path.target.tip,
            newest=self._newest.info.sequence if self._newest else 0,
            wall_ms=path.target.meta.wall_ms,
            turn=path.target.meta.turn,
            base=_base_number(path),
            facts=reader.facts,
            deltas=len(deltas),
            delta_bytes=sum(entry.link.info.size for entry in deltas),
            bad_bases=bad_bases,
            bytes_read=reader.bytes_read,
            last=path.target,
        )

    def _lost(self, fallback: LoadedRun | None) -> tuple[str, ...]:
        newest = max(self._head, self._newest.info.sequence if self._newest else 0)
        if fallback is None:
            return (f"all of the run, entries 1 to {newest}",)
        if fallback.sequence == newest:
            return ("nothing is lost, an older base and the entries after it are whole",)
        lost = f"entries {fallback.sequence + 1} to {newest} are left out"
        if self._newest is not None and self._newest.meta is not None:
            lost += f", kernel turns {fallback.turn} to {self._newest.meta.turn}"
        return (lost,)


def _base_number(path: Plan) -> int:
    return path.base.sequence if path.base is not None else 0
