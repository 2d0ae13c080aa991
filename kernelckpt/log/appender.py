"""Appends entries at the end of the chain, and finds out what became of an append in doubt."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

import anyio

from kernelckpt.abc import EntryInfo, StorageBackend
from kernelckpt.errors import FencedError, StorageError, UnknownOutcomeError
from kernelckpt.log.entry_encoder import Attempt, Tip
from kernelckpt.log.options import LogStats


class Appender:
    """The end of one run's chain, for its owner.

    Attributes:
        epoch: the owner's epoch.
        head: the newest number in use; the next entry gets the following one.
        tip: the entry that the next one follows. Older than the head after a fall-back.
    """

    def __init__(
        self,
        storage: StorageBackend,
        run_id: str,
        epoch: int,
        head: int,
        tip: Tip,
        *,
        stats: LogStats,
        seconds: float,
    ) -> None:
        """Go on after `head`; an append may take so many seconds."""
        self.epoch = epoch
        self.head = head
        self.tip = tip
        self._storage = storage
        self._run_id = run_id
        self._stats = stats
        self._seconds = seconds

    async def append(self, attempt: Attempt) -> None:
        """Make the entry durable and go on after it. A cancellation waits for the storage's answer.

        Raises:
            FencedError: a later owner took the run over.
            UnknownOutcomeError: it could not be found out whether it is there; `attempt.doubtful` is set.
            StorageError: it is not there.
        """
        began = perf_counter()
        try:
            await self._send(attempt)
        finally:
            self._stats.last_append_seconds = perf_counter() - began
            self._stats.append_seconds += self._stats.last_append_seconds
        self.head = attempt.tip.sequence
        self.tip = attempt.tip

    async def _send(self, attempt: Attempt) -> None:
        was_doubtful = attempt.doubtful
        attempt.doubtful = True
        sequence = attempt.tip.sequence
        try:
            with anyio.fail_after(self._seconds, shield=True):
                await self._storage.append(self._run_id, self.epoch, sequence, attempt.pieces, attempt.meta)
        except FencedError:
            if not (was_doubtful and await self._is_there(attempt)):
                raise
        except (UnknownOutcomeError, TimeoutError) as error:
            if not await self._is_there(attempt):
                message = f"entry {sequence} of run {self._run_id!r}: the storage gave no answer"
                raise UnknownOutcomeError(message, hint="it is tried again") from error
        except StorageError:
            attempt.doubtful = was_doubtful
            raise
        attempt.doubtful = False

    async def _is_there(self, attempt: Attempt) -> bool:
        """Read the number back; the sealed metadata holds the entry's digest."""
        sequence = attempt.tip.sequence
        found: Sequence[EntryInfo] = ()
        with anyio.move_on_after(self._seconds, shield=True) as scope:
            found = await self._storage.list_entries(self._run_id, after=sequence - 1, limit=1)
        if scope.cancelled_caught:
            return False
        if not found or found[0].sequence != sequence:
            return False
        if found[0].epoch == self.epoch and found[0].meta == attempt.meta and not found[0].damage:
            return True
        raise FencedError(
            f"entry {sequence} of run {self._run_id!r} was written by another owner",
            hint="only one process may own a run",
        )
