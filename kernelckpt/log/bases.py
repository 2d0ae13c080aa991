"""The bases of an owned run: writing one beside the deltas, and pruning what none of them needs."""

from __future__ import annotations

import anyio

from kernelckpt.abc import StorageBackend
from kernelckpt.codec.codec import Codec
from kernelckpt.errors import EncryptionError, FencedError, FormatError, StorageError
from kernelckpt.log.appender import Appender
from kernelckpt.log.base_policy import BasePolicy
from kernelckpt.log.base_writer import BaseWriter, Scan, Sparse, find_sparse
from kernelckpt.log.blob_writer import BlobWriter
from kernelckpt.log.checkpoint_info import CheckpointInfo
from kernelckpt.log.entry_encoder import RecordEncoder
from kernelckpt.log.entry_writer import EntryWriter
from kernelckpt.log.options import LogOptions
from kernelckpt.log.pruner import BASE_BLOB, ITEMS_BLOB, Pruner
from kernelckpt.log.read_run import LoadedRun
from kernelckpt.log.retention import PruneReport, Retention
from kernelckpt.log.segment_map import SegmentMap
from kernelckpt.log.state_reader import StateReader
from kernelckpt.log.time_slice import TimeSlice

_REST = 4.0
"""While others want the loop, a base gets a fifth of it."""


class Bases:
    """Writes and prunes bases, one at a time, for the owner of a run."""

    def __init__(
        self,
        storage: StorageBackend,
        run_id: str,
        appender: Appender,
        *,
        writer: EntryWriter,
        policy: BasePolicy,
        loaded: LoadedRun,
        options: LogOptions,
        encode: RecordEncoder,
        codec: Codec,
    ) -> None:
        """Go on from the run as it was loaded; entries go through `writer`."""
        self._storage = storage
        self._run_id = run_id
        self._appender = appender
        self._writer = writer
        self._policy = policy
        self._options = options
        self._encode = encode
        self._codec = codec
        self._bad_bases = loaded.bad_bases
        self._facts = loaded.facts
        self._segments = SegmentMap(storage, run_id, codec)
        self._written = 0
        self._lock = anyio.Lock()

    async def write(self, scan: Scan, trigger: str, *, copy_items: bool) -> CheckpointInfo:
        """See `RunLog.write_base`."""
        async with self._lock:
            self._writer.progress.check()
            try:
                return await self._write(scan, trigger, copy_items=copy_items)
            except FencedError as error:
                self._writer.fail(error)
                raise
            except (StorageError, FormatError, EncryptionError):
                self._writer.stats.failures += 1
                self._policy.base_failed()
                raise

    async def prune(self, retention: Retention) -> PruneReport:
        """See `RunLog.prune`."""
        async with self._lock:
            self._writer.progress.check()
            time_slice = self._time_slice()
            await self._segments.refresh(time_slice, self._appender.head)
            pruner = Pruner(
                self._storage,
                self._run_id,
                self._appender.epoch,
                segments=self._segments,
                read_facts=StateReader(self._storage, self._run_id, self._codec).facts_of,
                codec=self._codec,
                time_slice=time_slice,
            )
            try:
                return await pruner.prune(retention, self._bad_bases)
            except FencedError as error:
                self._writer.fail(error)
                raise

    async def _write(self, scan: Scan, trigger: str, *, copy_items: bool) -> CheckpointInfo:
        since = self._appender.tip.sequence
        stats = self._writer.stats
        entries, size = stats.entries, stats.bytes_written
        time_slice = self._time_slice()
        await self._segments.refresh(time_slice, self._appender.head)
        sparse = Sparse(up_to=since) if copy_items else await self._find_sparse()
        base = self._base_writer(since, sparse, time_slice)
        facts = await base.write(scan, since)
        # The scan may have seen what is only staged: the base must not count before that is durable.
        await self._writer.write()
        info = await self._writer.write_base(facts, trigger)
        for stream, replaced, packed in base.moved:
            stream.move(replaced, packed)
        self._facts = facts
        stats.bases += 1
        stats.base_bytes += info.size
        self._policy.base_written(facts, stats.entries - entries - 1, stats.bytes_written - size)
        return info

    def _base_writer(self, since: int, sparse: Sparse, time_slice: TimeSlice) -> BaseWriter:
        self._written += 1
        number = f"{self._appender.epoch}-{self._written}"
        state, items = (
            BlobWriter(
                self._storage,
                self._run_id,
                self._appender.epoch,
                kind + number,
                since=since,
                time_slice=time_slice,
                wrapper=self._codec.wrapper(),
            )
            for kind in (BASE_BLOB, ITEMS_BLOB)
        )
        return BaseWriter(
            state,
            items,
            storage=self._storage,
            run_id=self._run_id,
            streams=self._writer.streams,
            segments=self._segments,
            sparse=sparse,
            encode=self._encode,
            codec=self._codec,
            time_slice=time_slice,
        )

    async def _find_sparse(self) -> Sparse:
        return await find_sparse(
            self._storage, self._run_id, self._facts, self._segments, self._options.sparse_below
        )

    def _time_slice(self) -> TimeSlice:
        return TimeSlice(self._options.slice_seconds, self._writer.stats, rest=_REST)
