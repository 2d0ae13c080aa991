"""The log of one owned run: staging, durable checkpoints, bases and pruning, behind one object."""

from __future__ import annotations

from collections.abc import Sequence

import anyio

from kernelckpt.abc import Change, Claim, Clock, StorageBackend
from kernelckpt.codec.codec import PLAIN_CODEC, Codec
from kernelckpt.codec.entry import MAX_TRIGGER_BYTES
from kernelckpt.codec.frame import encode_plain
from kernelckpt.errors import UsageError
from kernelckpt.log.appender import Appender
from kernelckpt.log.base_policy import BasePolicy
from kernelckpt.log.base_writer import Scan
from kernelckpt.log.bases import Bases
from kernelckpt.log.checkpoint_info import CheckpointInfo
from kernelckpt.log.entry_encoder import RecordEncoder
from kernelckpt.log.entry_writer import EntryWriter, OnFailure
from kernelckpt.log.options import LogOptions, LogStats
from kernelckpt.log.ownership import acquire
from kernelckpt.log.read_run import LoadedRun, OnCorruption, is_current, read_run
from kernelckpt.log.retention import PruneReport, Retention
from kernelckpt.log.state_reader import Later

_RELEASE_SECONDS = 10.0


class RunLog:
    """A run, owned: what is staged becomes durable in order, or the log fails for good.

    Attributes:
        run_id: the run.
        epoch: the owner's number.
        loaded: the run as it was found; `loaded.drop_state()` frees its records once they are taken over.
        stats: counts since it was opened.
    """

    def __init__(
        self,
        storage: StorageBackend,
        claim: Claim,
        loaded: LoadedRun,
        *,
        encode: RecordEncoder,
        clock: Clock,
        options: LogOptions,
        on_failure: OnFailure | None,
        codec: Codec,
    ) -> None:
        """Go on from `loaded` under `claim`; use `open`."""
        self.run_id = loaded.run_id
        self.epoch = claim.epoch
        self.loaded = loaded
        self.stats = LogStats()
        self._storage = storage
        self._policy = BasePolicy(options, loaded)
        appender = Appender(
            storage,
            self.run_id,
            claim.epoch,
            max(claim.head, loaded.newest),
            loaded.tip,
            stats=self.stats,
            seconds=options.append_seconds,
        )
        self._writer = EntryWriter(
            self.run_id,
            appender,
            encode=encode,
            codec=codec,
            clock=clock,
            options=options,
            stats=self.stats,
            policy=self._policy,
            streams=loaded.references,
            turn=loaded.turn,
            newest=loaded.info,
            on_failure=on_failure,
        )
        self._bases = Bases(
            storage,
            self.run_id,
            appender,
            writer=self._writer,
            policy=self._policy,
            loaded=loaded,
            options=options,
            encode=encode,
            codec=codec,
        )
        self._idle: anyio.Event | None = None
        self._stopped: anyio.Event | None = None
        self._closing = False

    @classmethod
    async def open(
        cls,
        storage: StorageBackend,
        run_id: str,
        *,
        holder: str,
        clock: Clock,
        encode: RecordEncoder = encode_plain,
        owner_wait: float = 30.0,
        takeover: bool = False,
        on_corruption: OnCorruption = "refuse",
        options: LogOptions | None = None,
        on_failure: OnFailure | None = None,
        codec: Codec = PLAIN_CODEC,
        known: LoadedRun | None = None,
        later: Later | None = None,
    ) -> RunLog:
        """Become the run's owner and read it; a run that does not exist is created.

        Args:
            storage: where it is kept; stays open when the log is closed.
            run_id: the run.
            holder: who asks, for the error message of others.
            clock: the source of time.
            encode: gives the bytes of records that are staged as structs.
            owner_wait: for how many seconds to ask again while its owner is alive.
            takeover: do not ask, fence the present owner.
            on_corruption: see `read_run`.
            options: when bases pay, and how failures are met.
            on_failure: told of each failed attempt: the error, and how many failed in a row.
            codec: how it is written, and what is at hand to read it.
            known: the run as it was read a moment ago; it is not read again unless something was added since.
            later: see `read_run`.

        Raises:
            RunOwnedError: its owner is alive.
            CorruptionError: acknowledged bytes are damaged or missing.
            UnsupportedVersionError: it was written by a newer version.
            EncryptionError: it is not encrypted with a key at hand, or should be.
            StorageError: the storage cannot be used.
        """
        claim = await acquire(storage, run_id, holder, owner_wait=owner_wait, takeover=takeover, clock=clock)
        try:
            if known is not None and await is_current(storage, known, claim.head, codec):
                loaded = known
            else:
                loaded = await read_run(
                    storage, run_id, on_corruption=on_corruption, head=claim.head, codec=codec, later=later
                )
        except BaseException:
            await _release(storage, run_id, claim.epoch)
            raise
        return cls(
            storage,
            claim,
            loaded,
            encode=encode,
            clock=clock,
            options=options or LogOptions(),
            on_failure=on_failure,
            codec=codec,
        )

    @property
    def durable_commit(self) -> int:
        """The newest commit that is durable, with all before it."""
        return self._writer.progress.durable

    @property
    def staged_commit(self) -> int:
        """The newest commit staged."""
        return self._writer.staged_commit

    @property
    def ahead(self) -> int:
        """How many commits are staged and not durable."""
        writer = self._writer
        return writer.staged_commit - writer.progress.durable

    @property
    def pending_changes(self) -> int:
        """How many changes are staged and not yet being written."""
        return self._writer.pending.changes

    @property
    def failure(self) -> BaseException | None:
        """Why this log will never acknowledge anything again; None while all is well."""
        return self._writer.progress.failure

    @property
    def newest(self) -> CheckpointInfo | None:
        """The newest checkpoint; None in a run without any."""
        return self._writer.newest

    def stage(self, changes: Sequence[Change], commit: int, turn: int) -> None:
        """Take in the changes of one commit, coalesced by key; cheap, nothing is encoded yet.

        An append that repeats items the stream has already adds only the new ones; one without items adds
        nothing. A stream without items does not exist.

        Args:
            changes: what changed.
            commit: its number; higher than any staged before.
            turn: kernel turns so far.

        Raises:
            UsageError: commits are out of order, or an append leaves a gap; the log has failed then.
        """
        self._writer.stage(changes, commit, turn)

    def request_flush(self, trigger: str) -> None:
        """Ask the background writer to write what is staged; returns at once.

        Args:
            trigger: what asks for it; the last one asking names the checkpoint. At most 64 bytes.
        """
        pending = self._writer.pending
        if trigger != pending.trigger:
            _check_trigger(trigger)
            pending.trigger = trigger
        self._go_on()

    async def run(self) -> None:
        """Write whenever asked, until `aclose`; to be run once, beside the client's work.

        What is staged while one entry is being written goes into the next one, all together.

        Raises:
            FencedError: a later owner took the run over.
            CheckpointFailedError: it failed too often, or can never succeed.
        """
        if self._stopped is not None:
            raise UsageError("the log's writer runs already", hint="call run() once")
        self._stopped = anyio.Event()
        try:
            while not self._closing:
                if self._writer.pending.trigger:
                    await self._writer.write()
                else:
                    self._idle = anyio.Event()
                    await self._idle.wait()
        finally:
            self._stopped.set()

    def _go_on(self) -> None:
        """Wake the background writer, if it waits until it is asked."""
        if self._idle is not None:
            self._idle.set()
            self._idle = None

    async def wait_durable(self, commit: int) -> None:
        """Return when everything up to this commit is durable.

        Raises:
            FencedError, CheckpointFailedError: it will never be.
            UsageError: no such commit was staged.
        """
        if commit > self.staged_commit:
            raise UsageError(f"commit {commit} was not staged", hint="stage it first")
        if commit <= self.durable_commit:
            return
        if self._stopped is None or self._stopped.is_set():
            await self._writer.write()
        else:
            self.request_flush(self._writer.pending.trigger or "durable")
        await self._writer.progress.wait(commit)

    async def flush(self, trigger: str) -> CheckpointInfo:
        """Write what is staged now; durable on return.

        Returns:
            The checkpoint that holds it: the newest one when nothing was staged.

        Raises:
            FencedError, CheckpointFailedError: it will never be durable.
        """
        _check_trigger(trigger)
        self._writer.pending.trigger = trigger
        await self._writer.write(even_empty=self.newest is None)
        assert self.newest is not None
        return self.newest

    def base_is_due(self) -> bool:
        """Whether a base pays now: reading the deltas since the last one costs more than writing it."""
        return self._policy.due

    async def write_base(
        self, scan: Scan, trigger: str = "base", *, copy_items: bool = False
    ) -> CheckpointInfo:
        """Write a base beside the deltas, in small slices of time; one at a time.

        Args:
            scan: all live records, valid while commits go on; not begun yet.
            trigger: what asks for it.
            copy_items: whether to copy the items of all streams, instead of referring to where they lie.

        Raises:
            FencedError, CheckpointFailedError: the log has failed.
            StorageError: the base is not there; the deltas are not affected.
            FormatError, EncryptionError: items to be copied cannot be read; the deltas are not affected.
        """
        _check_trigger(trigger)
        return await self._bases.write(scan, trigger, copy_items=copy_items)

    async def prune(self, retention: Retention) -> PruneReport:
        """Remove whole segments and blobs that no kept checkpoint rests on.

        Raises:
            NotFoundError: a pin names no checkpoint that can be restored; nothing was removed.
            CorruptionError: a kept base is damaged; nothing was removed.
            FencedError: a later owner took the run over.
        """
        return await self._bases.prune(retention)

    async def aclose(self) -> None:
        """Write what is staged, end `run`, release the run; calling it again does nothing.

        Raises:
            FencedError, CheckpointFailedError: what was staged could not be made durable.
        """
        if self._closing:
            return
        self._closing = True
        self._go_on()
        try:
            if self._stopped is not None:
                await self._stopped.wait()
            if self.failure is None:
                await self._writer.write()
        finally:
            self._writer.fail(UsageError("the log is closed", hint="open the run again"))
            await _release(self._storage, self.run_id, self.epoch)


async def _release(storage: StorageBackend, run_id: str, epoch: int) -> None:
    with anyio.move_on_after(_RELEASE_SECONDS, shield=True):
        await storage.release(run_id, epoch)


def _check_trigger(trigger: str) -> None:
    if len(trigger.encode()) > MAX_TRIGGER_BYTES:
        message = f"trigger {trigger!r} is longer than {MAX_TRIGGER_BYTES} bytes"
        raise UsageError(message, hint="use a short label")
