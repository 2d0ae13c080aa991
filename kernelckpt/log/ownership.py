"""Becoming the owner of a run: asking until the present owner lets go, or patience ends."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

import anyio

from kernelckpt.abc import Claim, Clock, StorageBackend
from kernelckpt.errors import KernelCkptError, RunOwnedError
from kernelckpt.log.unfinished_copy import refuse_unfinished

_log = logging.getLogger("kernelckpt")

_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 1.0


async def acquire(
    storage: StorageBackend, run_id: str, holder: str, *, owner_wait: float, takeover: bool, clock: Clock
) -> Claim:
    """Acquire the run, trying again for `owner_wait` seconds while its owner is alive.

    Raises:
        RunOwnedError: the owner is still alive; `holder` says who it is.
        UnfinishedCopyError: copying the run to here was not finished.
        StorageError: the storage cannot be used.
    """
    patience = clock.monotonic() + owner_wait
    pause = _FIRST_PAUSE
    while True:
        await refuse_unfinished(storage, run_id)  # an owner's epoch would keep the copy from going on
        try:
            return await _claim(storage, run_id, holder, takeover=takeover)
        except RunOwnedError as error:
            left = patience - clock.monotonic()
            if left <= 0:
                raise
            if pause == _FIRST_PAUSE:
                text = "run %r: its owner is alive (%s); waiting up to %.3g s for it to leave"
                _log.warning(text, run_id, error.holder, left)
            await clock.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE)


async def _claim(storage: StorageBackend, run_id: str, holder: str, *, takeover: bool) -> Claim:
    """Ask once. Whoever is cancelled meanwhile does not own what nobody knows of."""
    asking = asyncio.ensure_future(storage.acquire(run_id, holder, takeover=takeover))
    try:
        return await asyncio.shield(asking)
    except asyncio.CancelledError:
        with anyio.CancelScope(shield=True), suppress(KernelCkptError):
            claim = await asking
            await storage.release(run_id, claim.epoch)
        raise
