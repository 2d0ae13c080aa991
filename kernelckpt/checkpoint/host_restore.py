"""Bringing a state back into a host, in small steps if the host can take them."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TypeVar

from kernelckpt.abc import KernelHost, PatientHost, Rehearsed
from kernelckpt.errors import RestoreError
from kernelckpt.log import LoadedRun, LogStats
from kernelckpt.log.time_slice import READ_SECONDS, TimeSlice

T = TypeVar("T")

STEPS = 8
"""How many steps are taken between two looks at the clock, which costs as much as some of them."""


class HostRestore:
    """Rehearses states with one host, and has it go on from the one that counts.

    A patient host decodes a state once: what it made of it in the rehearsal is what it goes on from.
    """

    def __init__(self, kernel: KernelHost) -> None:
        """Nothing is rehearsed yet."""
        self._kernel = kernel
        self._rehearsed: tuple[LoadedRun, Rehearsed] | None = None

    async def rehearse(self, loaded: LoadedRun) -> None:
        """Find out whether the host could go on from this state; it is not changed.

        Raises:
            RestoreError: something is missing.
        """
        missing = await self._missing(loaded)
        if missing:
            message = f"run {self._kernel.run_id!r} cannot go on here; missing: {'; '.join(missing)}"
            hint = "register what is missing with the Scheduler; the run was not touched"
            raise RestoreError(message, missing=missing, hint=hint)

    async def restore(self, loaded: LoadedRun) -> None:
        """Have the host go on from this state, and let go of it.

        Raises:
            RestoreError: something is missing.
        """
        kernel, since = self._kernel, loaded.wall_ms
        downtime = None if since is None else max(0, kernel.clock.wall_ms() - since)
        if not isinstance(kernel, PatientHost):
            kernel.restore(loaded, downtime_ms=downtime, notes=loaded.notes)
            loaded.drop_state()
            return
        if self._rehearsed is None or self._rehearsed[0] is not loaded:
            await self._missing(loaded)
        assert self._rehearsed is not None
        rehearsed, self._rehearsed = self._rehearsed[1], None
        await _in_slices(kernel.restoring(rehearsed, downtime_ms=downtime, notes=loaded.notes))
        await loaded.drain()

    async def _missing(self, loaded: LoadedRun) -> Sequence[str]:
        kernel = self._kernel
        if not isinstance(kernel, PatientHost):
            return kernel.rehearse(loaded)
        rehearsed = await _in_slices(kernel.rehearsing(loaded))
        self._rehearsed = (loaded, rehearsed)
        return rehearsed.missing


async def _in_slices(steps: Generator[None, None, T]) -> T:
    time_slice = TimeSlice(READ_SECONDS, LogStats())
    while True:
        try:
            for _ in range(STEPS):
                next(steps)
        except StopIteration as end:
            value: T = end.value
            return value
        if time_slice.over:
            await time_slice.rest()
