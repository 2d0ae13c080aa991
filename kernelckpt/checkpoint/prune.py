"""Pruning a run from outside its kernel, or finding out what pruning it would remove."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from kernelckpt.abc import EntryInfo, StorageBackend
from kernelckpt.checkpoint.holder import holder
from kernelckpt.codec.codec import Codec
from kernelckpt.codec.key_ring import KeyRing
from kernelckpt.errors import NotFoundError
from kernelckpt.kernel.clock import SystemClock
from kernelckpt.log import LoadedRun, LogOptions, LogStats, PruneReport, Retention, RunLog, read_run
from kernelckpt.log.pruner import Pruner
from kernelckpt.log.segment_map import SegmentMap
from kernelckpt.log.state_reader import StateReader
from kernelckpt.log.time_slice import TimeSlice


async def prune(
    storage: StorageBackend,
    run_id: str,
    retention: Retention,
    *,
    owner_wait: float = 0.0,
    keys: KeyRing | None = None,
) -> PruneReport:
    """Own a run for as long as it takes to remove what retention does not keep.

    Args:
        storage: where the run is kept.
        run_id: the run; a kernel that owns it prunes by itself.
        retention: what to keep.
        owner_wait: for how many seconds to ask again while its owner is alive.
        keys: those it is encrypted with.

    Raises:
        NotFoundError: no such run, or a pin names no checkpoint that can be restored.
        RunOwnedError: its owner is alive.
        CorruptionError: it is damaged; nothing was removed.
        StorageError: the storage cannot be used.
    """
    await storage.list_entries(run_id, limit=1)  # owning a run that does not exist would create it
    log = await RunLog.open(
        storage,
        run_id,
        holder=holder("a pruning"),
        clock=SystemClock(),
        owner_wait=owner_wait,
        codec=Codec(keys),
    )
    try:
        _check_pins(log.loaded, retention)
        return await log.prune(retention)
    finally:
        await log.aclose()


async def rehearse_prune(
    storage: StorageBackend, run_id: str, retention: Retention, *, keys: KeyRing | None = None
) -> PruneReport:
    """What `prune` would remove now; nothing is changed, and the run's owner may be alive.

    Raises:
        NotFoundError: no such run, or a pin names no checkpoint that can be restored.
        CorruptionError: it is damaged; nothing would be removed.
        StorageError: the storage cannot be used.
    """
    codec = Codec(keys)
    _check_pins(await read_run(storage, run_id, codec=codec), retention)
    segments = SegmentMap(storage, run_id, codec)
    time_slice = TimeSlice(LogOptions().slice_seconds, LogStats())
    newest = await storage.list_newest(run_id, limit=1)
    await segments.refresh(time_slice, newest[-1].sequence if newest else 0)
    pruner = Pruner(
        cast("StorageBackend", _Undeleted(storage)),
        run_id,
        0,
        segments=segments,
        read_facts=StateReader(storage, run_id, codec).facts_of,
        codec=codec,
        time_slice=time_slice,
    )
    return await pruner.prune(retention, ())


def _check_pins(loaded: LoadedRun, retention: Retention) -> None:
    for pin in retention.pins:
        if not 0 < pin <= loaded.sequence:
            message = f"run {loaded.run_id!r} has no checkpoint {pin} to be pinned"
            raise NotFoundError(message, hint="`kernelckpt log RUN` lists its checkpoints")


class _Undeleted:
    """A storage on which deleting does nothing."""

    def __init__(self, storage: StorageBackend) -> None:
        self._storage = storage

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    async def delete(
        self, run_id: str, epoch: int, *, entries: Sequence[EntryInfo] = (), blobs: Sequence[str] = ()
    ) -> None:
        """Keep all of it."""
