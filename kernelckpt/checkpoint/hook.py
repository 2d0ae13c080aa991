"""The checkpoint hook: restores on start, writes deltas as commits come and bases beside them."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from time import perf_counter

import anyio
from msgspec.structs import replace
from typing_extensions import override

from kernelckpt.abc import CommandHost, Commit, Hook, KernelHost, PatientHost, StorageBackend
from kernelckpt.checkpoint.collector import FREEZE_FROM, Collector
from kernelckpt.checkpoint.holder import holder
from kernelckpt.checkpoint.host_restore import HostRestore
from kernelckpt.checkpoint.inbox import Inbox
from kernelckpt.checkpoint.os_signal import (
    SignalTap,
    default_checkpoint_signals,
    default_stop_signals,
    die_of,
    unclaimed,
)
from kernelckpt.checkpoint.setting import check_0_or_more, check_more_than_0
from kernelckpt.checkpoint.stats import HookStats
from kernelckpt.checkpoint.upkeep import Upkeep
from kernelckpt.codec.codec import Codec
from kernelckpt.codec.key_ring import KeyRing
from kernelckpt.codec.record import AUDIT, PARTITIONS, encode_record
from kernelckpt.errors import NotFoundError, UsageError
from kernelckpt.log import (
    CheckpointInfo,
    Later,
    LoadedRun,
    LogOptions,
    OnCorruption,
    Retention,
    RunLog,
    read_run,
)
from kernelckpt.model.signal import RuntimeSignal, Urgency
from kernelckpt.storage import open_storage

_CONTEXTS = frozenset({*PARTITIONS, AUDIT})
"""Kinds of streams that a kernel can do without until it runs a task."""


def is_urgent(item: RuntimeSignal) -> bool:
    """Whether a kernel signal asks for a checkpoint by default: high and critical ones do."""
    return item.urgency.rank >= Urgency.HIGH.rank


class CheckpointHook(Hook):
    """Writes the live kernel state to a storage, and brings it back on start."""

    restores = True

    def __init__(
        self,
        storage: str | StorageBackend,
        *,
        every: float | None = 5.0,
        turns: int | None = None,
        durable: bool = True,
        waits: bool = True,
        signals: Iterable[signal.Signals] | None = None,
        stop_signals: Iterable[signal.Signals] | None = None,
        on_kernel_signal: Callable[[RuntimeSignal], bool] = is_urgent,
        inbox: float | None = 1.0,
        retention: Retention = Retention(),  # noqa: B008 - frozen
        on_corruption: OnCorruption = "refuse",
        owner_wait: float = 30.0,
        takeover: bool = False,
        max_ahead: int = 10_000,
        max_consecutive_failures: int = 12,
        keys: KeyRing | None = None,
        compression: int | None = None,
        eager_bytes: int = 16 * 1024 * 1024,
        log: LogOptions = LogOptions(),  # noqa: B008 - frozen
    ) -> None:
        """Describe a hook; it begins with the scheduler it is given to.

        Args:
            storage: a URL, as "file:./state", or an open storage (which stays open).
            every: seconds between periodic checkpoints; None for none.
            turns: a checkpoint after so many turns; None for none.
            durable: True: each turn is written as it commits, and nothing leaves the kernel before what it
                rests on is durable. False: checkpoints are written at triggers only, and outputs may run
                ahead of them by up to the interval.
            waits: whether a task that begins to wait for the outside asks for a checkpoint.
            signals: OS signals that ask for a checkpoint (default SIGUSR1); a handled one is left alone.
            stop_signals: OS signals that stop the kernel gracefully, then do what they would have done
                (default SIGTERM and SIGINT); a handled one is left alone.
            on_kernel_signal: says of a routed signal whether it asks for a checkpoint.
            inbox: seconds between two looks at what others have posted to the run; None not to look.
            retention: what pruning keeps.
            on_corruption: "refuse" to start on a damaged run, or "fall_back" to its last good checkpoint.
            owner_wait: seconds to wait for a living owner of the run to leave.
            takeover: do not wait: fence the living owner.
            max_ahead: how many commits the kernel may be ahead of the storage before turns wait; those that
                are let go together may exceed it by a commit each. 0: no turn begins before the last one is
                durable.
            max_consecutive_failures: failed saves in a row that are tried again, for half a minute with the
                default; one more halts the kernel.
            keys: encrypts what is written, with the key that is active then; a run that is not encrypted with
                one of them is refused.
            compression: the zstandard level to compress with, 3 for example; None not to compress.
            eager_bytes: contexts are read before the kernel starts if all of them are so many bytes at most;
                those of a larger run are read after that, a task's before its next turn. With "fall_back" all
                are read before, for only then all damage is known.
            log: further settings of the log.

        Raises:
            UsageError: a setting is off.
        """
        check_more_than_0(every=every, turns=turns, inbox=inbox)
        check_0_or_more(
            owner_wait=owner_wait,
            max_ahead=max_ahead,
            max_consecutive_failures=max_consecutive_failures,
            eager_bytes=eager_bytes,
        )
        if on_corruption not in {"refuse", "fall_back"}:
            raise UsageError(f"on_corruption is {on_corruption!r}", hint='"refuse" or "fall_back"')
        self._where = storage
        self._every = every
        self._turns = turns
        self._is_durable = durable
        self._waits = waits
        self._signals = default_checkpoint_signals() if signals is None else tuple(signals)
        self._stop_signals = default_stop_signals() if stop_signals is None else tuple(stop_signals)
        self._on_kernel_signal = on_kernel_signal
        self._look_every = inbox
        self._retention = retention
        self._on_corruption: OnCorruption = on_corruption
        self._owner_wait = owner_wait
        self._takeover = takeover
        self._max_ahead = max_ahead
        self._options = replace(log, max_consecutive_failures=max_consecutive_failures)
        self._codec = Codec(keys, compression)
        self._later = Later(_CONTEXTS, eager_bytes) if on_corruption == "refuse" else None
        self._storage: StorageBackend | None = None
        self._log: RunLog | None = None
        self._kernel: KernelHost | None = None
        self._tap = SignalTap()
        self._collector = Collector()
        self._turns_since = 0
        self._upkeep: Upkeep | None = None
        self._inbox: Inbox | None = None
        self._hold = 0.0
        self._restore_seconds = 0.0
        self._closed = False

    # the kernel's points

    @override
    async def on_start(self, kernel: KernelHost) -> None:
        if self._kernel is not None:
            raise UsageError(
                "this hook is in use by a scheduler", hint="give each scheduler a hook of its own"
            )
        if kernel.commit_number:
            message = "the kernel has a state already that this hook knows nothing of"
            raise UsageError(message, hint="let only one hook restore: put this one first, or alone")
        self._kernel = kernel
        begun = perf_counter()
        try:
            self._collector.hold_back()
            restore = HostRestore(kernel)
            self._log = await self._open(kernel, restore)
            await self._restore(kernel, self._log.loaded, restore)
        except BaseException:
            await self._give_back()
            raise
        self._restore_seconds = perf_counter() - begun
        kernel.start_soon(self._write)
        self._upkeep = Upkeep(kernel, self._log, every=self._every, retention=self._retention)
        self._upkeep.start()
        if self._tap.open(unclaimed((*self._signals, *self._stop_signals))):
            kernel.start_soon(self._hear)

    @override
    async def on_open(self, kernel: KernelHost) -> None:
        if self._look_every is not None and isinstance(kernel, CommandHost):
            assert self._storage is not None
            self._inbox = Inbox(kernel, kernel, self._storage, self._opened(), self._codec)
            await self._inbox.begin(self._look_every)

    @override
    def on_commit(self, kernel: KernelHost, commit: Commit) -> None:
        log = self._log
        if log is None or self._closed:
            return
        begun = perf_counter()
        log.stage(commit.changes, commit=commit.number, turn=commit.turn)
        self._turns_since += commit.ended_turn
        trigger = self._trigger(commit)
        if trigger:
            self._turns_since = 0
            log.request_flush(trigger)
        self._hold = max(self._hold, perf_counter() - begun)

    @override
    async def ready(self) -> None:
        log = self._opened()
        if self._is_durable and log.ahead > self._max_ahead:
            log.request_flush("ahead")
            await log.wait_durable(log.staged_commit - self._max_ahead // 2)
        self._check(log)

    @override
    async def durable(self, commit: int) -> None:
        if self._is_durable:
            await self.kept(commit)
        else:
            self._check(self._opened())

    @override
    async def kept(self, commit: int) -> None:
        log = self._opened()
        if log.durable_commit < commit:
            log.request_flush("output")
            await log.wait_durable(commit)
        self._check(log)

    @override
    async def on_signal(self, kernel: KernelHost, signal: RuntimeSignal) -> None:
        if self._on_kernel_signal(signal):
            self._opened().request_flush("signal")

    @override
    async def on_stop(self, kernel: KernelHost) -> None:
        log = self._log
        try:
            if self._inbox is not None:
                self._inbox.stop()
            if log is not None and log.failure is None:
                await log.flush("stop")
                if self._inbox is not None:
                    await self._inbox.finish()
        finally:
            await self._close()

    # for users

    async def checkpoint(self) -> CheckpointInfo:
        """Write what is not written yet; durable on return.

        Raises:
            CheckpointFailedError: saving failed too often.
            FencedError: the run was taken over.
        """
        return await self._opened().flush("request")

    def request_stop(self, grace: float | None = None) -> None:
        """Have the kernel stop gracefully, with a last checkpoint.

        For hosts that handle signals themselves.
        """
        if self._kernel is not None:
            self._kernel.request_stop(grace)

    @property
    def stats(self) -> HookStats:
        """What the hook has done so far."""
        if self._log is None:
            return HookStats(restore_seconds=self._restore_seconds)
        seen = self._log.stats
        return HookStats(
            checkpoints=seen.entries,
            bytes_written=seen.bytes_written,
            bases=seen.bases,
            base_bytes=seen.base_bytes,
            commits=self._log.staged_commit,
            failures=seen.failures,
            pruned_bytes=self._upkeep.pruned if self._upkeep else 0,
            append_seconds=seen.append_seconds,
            longest_hold_seconds=max(self._hold, seen.longest_slice_seconds),
            restore_seconds=self._restore_seconds,
        )

    @property
    def notes(self) -> Sequence[str]:
        """What to know of where the state is kept, in words; as that the folder lies in memory."""
        return self._storage.notes if self._is_durable and self._storage is not None else ()

    # inside

    def _opened(self) -> RunLog:
        if self._log is None:
            raise UsageError(
                "the hook has not started", hint="pass it to Scheduler(hooks=[...]) and enter that"
            )
        return self._log

    def _check(self, log: RunLog) -> None:
        """Raise what has made the log fail; one that was closed in order acknowledges what it wrote."""
        if log.failure is not None and not self._closed:
            raise log.failure

    async def _open(self, kernel: KernelHost, restore: HostRestore) -> RunLog:
        storage = await open_storage(self._where) if isinstance(self._where, str) else self._where
        self._storage = storage
        later = self._later if isinstance(kernel, PatientHost) else None
        known = await self._rehearse(storage, kernel.run_id, restore, later)
        return await RunLog.open(
            storage,
            kernel.run_id,
            holder=holder(),
            owner_wait=self._owner_wait,
            takeover=self._takeover,
            on_corruption=self._on_corruption,
            clock=kernel.clock,
            options=self._options,
            encode=encode_record,
            codec=self._codec,
            known=known,
            later=later,
            on_failure=self._tell_failure,
        )

    async def _rehearse(
        self, storage: StorageBackend, run_id: str, restore: HostRestore, later: Later | None
    ) -> LoadedRun | None:
        """Find out before disturbing an owner whether this kernel could go on; returns what was read."""
        try:
            loaded = await read_run(
                storage, run_id, on_corruption=self._on_corruption, codec=self._codec, later=later
            )
        except NotFoundError:
            return None
        if loaded.records:
            await restore.rehearse(loaded)
        return loaded

    async def _restore(self, kernel: KernelHost, loaded: LoadedRun, restore: HostRestore) -> None:
        size, unread = len(loaded.records), loaded.unread
        if size:
            await restore.restore(loaded)
        if unread is not None:
            kernel.start_soon(self._settle_once_read, unread.done, size)
        self._settle(size, is_whole=unread is None)

    async def _settle_once_read(self, done: anyio.Event, size: int) -> None:
        await done.wait()
        self._settle(size)

    def _settle(self, size: int, *, is_whole: bool = True) -> None:
        """Tell the collector that the records, and if it is whole the contexts, were taken over."""
        if size >= FREEZE_FROM:
            self._collector.freeze()
        if is_whole:
            self._collector.go_on()

    def _trigger(self, commit: Commit) -> str:
        if self._is_durable and commit.urgent:
            return "turn" if commit.ended_turn else "commit"
        if self._turns is not None and self._turns_since >= self._turns:
            return "turns"
        return "wait" if self._waits and commit.waits else ""

    async def _write(self) -> None:
        await self._opened().run()

    async def _hear(self) -> None:
        async for signum in self._tap:
            if signum in self._signals:
                self._opened().request_flush(signum.name)
            else:
                assert self._kernel is not None
                self._kernel.call_at_end(partial(die_of, signum))
                self._kernel.request_stop()
                self._tap.close()  # the next one does what it would have done: nobody is locked in
                return

    def _tell_failure(self, error: BaseException, consecutive: int) -> None:
        assert self._kernel is not None
        self._kernel.report("checkpoint_failed", error=str(error), consecutive=consecutive)

    async def _close(self) -> None:
        self._tap.close()
        self._collector.thaw()
        try:
            if self._log is not None:
                self._closed = self._log.failure is None
                await self._log.aclose()
        finally:
            if isinstance(self._where, str) and self._storage is not None:
                await self._storage.aclose()

    async def _give_back(self) -> None:
        """Undo a start that failed, so that it can be tried again."""
        with anyio.CancelScope(shield=True):
            await self._close()
        self._kernel = self._log = self._storage = self._inbox = None
        self._closed = False
