"""Removes what no kept checkpoint rests on: whole segments and blobs, never a part of a chain."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from math import inf

from kernelckpt.abc import BlobInfo, EntryInfo, StorageBackend
from kernelckpt.codec.codec import Codec
from kernelckpt.codec.entry import BaseFacts, BlobPointer
from kernelckpt.errors import NotFoundError
from kernelckpt.log.chain import ChainEntry, Damage, plan
from kernelckpt.log.listing import Listing
from kernelckpt.log.retention import PruneReport, Retention
from kernelckpt.log.segment_map import Segment, SegmentMap
from kernelckpt.log.time_slice import TimeSlice

BASE_BLOB, ITEMS_BLOB = "base-", "items-"
"""How the names of a log's blobs begin."""


class Pruner:
    """Prunes one run for its owner, while nothing else writes or removes blobs."""

    def __init__(
        self,
        storage: StorageBackend,
        run_id: str,
        epoch: int,
        *,
        segments: SegmentMap,
        read_facts: Callable[[ChainEntry], Awaitable[BaseFacts]],
        codec: Codec,
        time_slice: TimeSlice,
    ) -> None:
        """Prune by this map, which is up to date; `read_facts` reads the entry of a base."""
        self._storage = storage
        self._run_id = run_id
        self._epoch = epoch
        self._segments = segments
        self._read_facts = read_facts
        self._codec = codec
        self._slice = time_slice
        self._needed: list[tuple[float, float]] = []
        self._blobs: set[str] = set()

    async def prune(self, retention: Retention, bad_bases: Collection[int]) -> PruneReport:
        """Remove what retention does not keep.

        Raises:
            NotFoundError: a pin names no checkpoint that can be restored; nothing was removed.
            CorruptionError: the entry of a kept base is damaged; nothing was removed.
            FencedError: a later owner took the run over.
        """
        if retention.keep_all:
            return PruneReport()
        blobs = await self._storage.list_blobs(self._run_id)
        whole = {blob.name for blob in blobs}
        bad = {base.sequence for base in self._segments.bases if _state(base).name not in whole}
        bad.update(bad_bases)
        bases = [base for base in self._segments.bases if base.sequence not in bad]
        if not bases:
            return PruneReport()
        kept = bases[-retention.bases :]
        for base in kept:
            await self._keep(base)
        self._needed.append((_state(kept[0]).since + 1, self._segments.segments[-1].last))
        for pin in retention.pins:
            if pin < kept[0].sequence:
                await self._keep_pin(pin, bad)
        return await self._delete(blobs, retention)

    async def _keep(self, base: ChainEntry) -> None:
        facts = await self._read_facts(base)
        self._needed += [(entries.first, entries.last) for entries in facts.entries]
        self._blobs.add(facts.state.name)
        self._blobs.update(blob.name for blob in facts.blobs)

    async def _keep_pin(self, pin: int, bad_bases: Collection[int]) -> None:
        try:
            found = await plan(Listing(self._storage, self._run_id, self._codec), pin, bad_bases=bad_bases)
        except Damage as damage:
            raise NotFoundError(
                f"checkpoint {pin} of run {self._run_id!r} is pinned, but cannot be restored: {damage}",
                hint="remove the pin",
            ) from damage
        if found.base is not None:
            await self._keep(found.base)
        self._needed.append((found.entries[0].sequence, pin))

    async def _free(self, *, keep_aside: bool) -> list[Segment]:
        """Segments that hold nothing needed. Both lists are in order, so one pass over each is enough."""
        free = []
        needed = iter(sorted(self._needed))
        first, last = next(needed, (inf, inf))
        self._slice.begin()
        for segment in self._segments.segments:
            while last < segment.first:
                first, last = next(needed, (inf, inf))
            if segment.last < first and not (segment.kept and keep_aside):
                free.append(segment)
            if self._slice.over:
                await self._slice.rest()
        return free

    async def _delete(self, blobs: Sequence[BlobInfo], retention: Retention) -> PruneReport:
        free = await self._free(keep_aside=retention.set_aside)
        entries: list[EntryInfo] = []
        for segment in free:
            entries += await self._segments.entries_of(segment)
        unused = [
            blob
            for blob in blobs
            if blob.name.startswith((BASE_BLOB, ITEMS_BLOB)) and blob.name not in self._blobs
        ]
        await self._storage.delete(
            self._run_id, self._epoch, entries=entries, blobs=[blob.name for blob in unused]
        )
        self._segments.forget({segment.name for segment in free})
        size = sum(entry.size for entry in entries) + sum(blob.size for blob in unused)
        return PruneReport(len(entries), len(unused), size)


def _state(base: ChainEntry) -> BlobPointer:
    assert base.meta.state is not None
    return base.meta.state
