"""The kernel's alarm clock: wakes deferred tasks when their wall time has come."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from kernelckpt.abc import Clock
from kernelckpt.kernel import intake
from kernelckpt.kernel.core import Core

_LONGEST_SLEEP = 60.0
"""Seconds after which the wall clock is looked at again: it may have been set."""


class Timers:
    """Sleeps until the next deferral is over, again and again."""

    def __init__(self, core: Core, clock: Clock, stopped: Callable[[], bool]) -> None:
        """`stopped` says whether the kernel wakes nobody any more."""
        self._core = core
        self._stopped = stopped
        self._clock = clock
        self._alarm = anyio.Event()

    def rearm(self) -> None:
        """There may be an earlier deferral than the one slept for."""
        self._alarm.set()

    async def run(self) -> None:
        """Wake tasks when they are due, until the kernel stops."""
        while not self._stopped():
            self._alarm = anyio.Event()
            due = self._core.state.table.next_timer()
            if due is None:
                await self._alarm.wait()
                continue
            pause = (due - self._clock.wall_ms()) / 1000
            if pause > 0:
                await self._sleep(min(pause, _LONGEST_SLEEP))
            if not self._stopped():
                intake.fire_timers(self._core)

    async def _sleep(self, seconds: float) -> None:
        """Sleep so long, or until `rearm`."""
        alarm = self._alarm
        async with anyio.create_task_group() as group:

            async def ring() -> None:
                await self._clock.sleep(seconds)
                alarm.set()

            group.start_soon(ring)
            await alarm.wait()
            group.cancel_scope.cancel()
