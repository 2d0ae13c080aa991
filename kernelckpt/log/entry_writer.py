"""Writes what is staged, one entry at a time: group commit, restating what failed, giving up in the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NoReturn, TypeAlias

import anyio

from kernelckpt.abc import Change, Clock, Key
from kernelckpt.codec.codec import Codec
from kernelckpt.codec.entry import BaseFacts
from kernelckpt.errors import (
    CheckpointFailedError,
    FencedError,
    KernelCkptError,
    StorageError,
    SyncFailedError,
    UsageError,
)
from kernelckpt.log.appender import Appender
from kernelckpt.log.base_policy import BasePolicy
from kernelckpt.log.batch import Batch
from kernelckpt.log.checkpoint_info import CheckpointInfo
from kernelckpt.log.entry_encoder import Attempt, EntryEncoder, Position, RecordEncoder
from kernelckpt.log.options import LogOptions, LogStats
from kernelckpt.log.progress import Progress
from kernelckpt.log.stream_references import StreamReferences
from kernelckpt.log.time_slice import TimeSlice

_MANY_CHANGES, _SECONDS_PER_CHANGE = 500, 5e-6
"""From so many changes in an entry on, its slices may be longer by so much for each: many agents make many in
each pass of the event loop, and with one short slice in each they would run far ahead of what is written."""

OnFailure: TypeAlias = Callable[[KernelCkptError, int], None]
"""Told of each failed attempt: the error, and how many failed in a row."""


class EntryWriter:
    """Staged changes on their way into the chain.

    Attributes:
        streams: every live stream of the client, with where its durable items lie.
        progress: what is durable.
        newest: the newest checkpoint; None in a run without any.
        pending: what is staged and not being written.
        staged_commit: the newest commit staged.
        stats: counts since the log was opened.
    """

    def __init__(
        self,
        run_id: str,
        appender: Appender,
        *,
        encode: RecordEncoder,
        codec: Codec,
        clock: Clock,
        options: LogOptions,
        stats: LogStats,
        policy: BasePolicy,
        streams: dict[Key, StreamReferences],
        turn: int,
        newest: CheckpointInfo | None,
        on_failure: OnFailure | None,
    ) -> None:
        """Go on at the end of the chain that `appender` knows."""
        self.streams = streams
        self.progress = Progress()
        self.newest = newest
        self.pending = Batch(0, turn)
        self.staged_commit = 0
        self._run_id = run_id
        self._appender = appender
        self._encode = encode
        self._codec = codec
        self._clock = clock
        self._options = options
        self.stats = stats
        self._policy = policy
        self._on_failure = on_failure
        self._lock = anyio.Lock()
        self._unsettled: Attempt | None = None
        self._slice = TimeSlice(options.slice_seconds, stats)

    def stage(self, changes: Sequence[Change], commit: int, turn: int) -> None:
        """Take the changes of one commit into the pending batch.

        Raises:
            UsageError: commits are out of order, or an append leaves a gap; the log has failed then.
        """
        self.progress.check()
        pending = self.pending
        try:
            if commit <= self.staged_commit:
                raise UsageError(
                    f"commit {commit} was staged after {self.staged_commit}", hint="stage in order"
                )
            pending.add(changes, self.streams)
        except UsageError as error:
            # Part of the commit may have been taken in: nothing may be written any more.
            self.progress.fail(error)
            raise
        self.staged_commit = pending.commit = commit
        pending.turn = turn

    async def write(self, *, even_empty: bool = False) -> None:
        """Write all that is staged as one entry; on return it is durable.

        Raises:
            FencedError: a later owner took the run over.
            CheckpointFailedError: it failed too often, or can never succeed.
        """
        async with self._lock:
            self.progress.check()
            await self._settle()
            if self.pending.changes or even_empty:
                await self._write(self._take())
            else:
                self.pending.trigger = ""
                self.progress.advance(self.pending.commit)

    async def write_base(self, facts: BaseFacts, trigger: str) -> CheckpointInfo:
        """Add the entry of a finished base; everything staged before its scan ended must be durable."""
        async with self._lock:
            self.progress.check()
            await self._settle()
            turn = self.newest.turn if self.newest is not None else 0  # what is pending is not in the base
            await self._write(Batch(self.progress.durable, turn, trigger, facts))
            assert self.newest is not None
            return self.newest

    def fail(self, error: BaseException) -> None:
        """Never acknowledge anything again."""
        self.progress.fail(error)

    def _take(self) -> Batch:
        batch = self.pending
        self.pending = Batch(batch.commit, batch.turn)
        return batch

    async def _settle(self) -> None:
        """Finish an append whose caller was cancelled before its outcome was known."""
        attempt = self._unsettled
        if attempt is not None:
            while not await self._try(attempt):
                await self._pause()
            self._unsettled = None

    async def _write(self, batch: Batch) -> None:
        attempt: Attempt | None = None
        try:
            while True:
                attempt = None
                attempt = await self._encoded(batch)
                if await self._try(attempt):
                    return
                await self._pause()
                while attempt.doubtful:
                    # These very bytes may be there, or may yet arrive: no others may take their number.
                    if await self._try(attempt):
                        return
                    await self._pause()
                if batch.facts is None:
                    batch.absorb(self._take())
        except BaseException:
            self._put_back(batch, attempt)
            raise

    def _put_back(self, batch: Batch, attempt: Attempt | None) -> None:
        if attempt is not None and attempt.doubtful:
            self._unsettled = attempt
        elif batch.facts is None:
            batch.absorb(self.pending)
            self.pending = batch

    async def _encoded(self, batch: Batch) -> Attempt:
        position = Position(
            self._run_id,
            self._appender.epoch,
            self._appender.head + 1,
            self._appender.tip,
            self._clock.wall_ms(),
        )
        self._slice.begin_work(longest=(batch.changes - _MANY_CHANGES) * _SECONDS_PER_CHANGE)
        try:
            wrapper = self._codec.wrapper()
            attempt = await EntryEncoder(batch, position, self._encode, self._slice, wrapper).run()
        except Exception as error:  # noqa: BLE001 - what a record raises, it raises at the next try too
            message = f"run {self._run_id!r}: what was staged cannot be encoded: {error}"
            self._give_up(message, getattr(error, "hint", ""), error)
        self._slice.note()
        return attempt

    async def _try(self, attempt: Attempt) -> bool:
        """Whether the entry is durable now; raises when no further try makes sense."""
        try:
            await self._appender.append(attempt)
        except FencedError as error:
            self.fail(error)
            raise
        except StorageError as error:
            self._count_failure(error)
            return False
        except Exception as error:  # noqa: BLE001 - a storage that raises this is not to be trusted
            self._give_up(f"run {self._run_id!r}: the storage raised {error!r}", "", error)
        self._acknowledge(attempt)
        return True

    def _acknowledge(self, attempt: Attempt) -> None:
        """At one go: a base that begins meanwhile would find part of the entry."""
        self._slice.begin()
        for stream, reference, end in attempt.references:
            stream.add(reference, end)
        stats = self.stats
        stats.consecutive_failures = 0
        stats.entries += 1
        stats.changes += attempt.info.changes
        size = sum(map(len, attempt.pieces))
        stats.bytes_written += size
        if attempt.batch.facts is None:
            self._policy.entry_written(size)
        self.newest = attempt.info
        self.progress.advance(attempt.batch.commit)
        self._slice.note()

    def _count_failure(self, error: StorageError) -> None:
        self.stats.failures += 1
        self.stats.consecutive_failures += 1
        if isinstance(error, SyncFailedError):
            self._policy.want()
        consecutive = self.stats.consecutive_failures
        if self._on_failure is not None:
            self._on_failure(error, consecutive)
        if consecutive > self._options.max_consecutive_failures:
            message = (
                f"run {self._run_id!r}: {consecutive} checkpoints failed in a row, the last: {error.message}"
            )
            self._give_up(message, error.hint or "make the storage usable, then start again", error)

    def _give_up(self, message: str, hint: str, cause: BaseException) -> NoReturn:
        failure = CheckpointFailedError(message, hint=hint)
        failure.__cause__ = cause
        self.fail(failure)
        raise failure

    async def _pause(self) -> None:
        options = self._options
        seconds = options.retry_first * 2 ** max(self.stats.consecutive_failures - 1, 0)
        await self._clock.sleep(min(seconds, options.retry_longest))
        self.progress.check()
