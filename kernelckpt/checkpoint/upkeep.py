"""What a checkpoint hook does beside the kernel's work: checkpoints in time, bases when they pay, pruning."""

from __future__ import annotations

from kernelckpt.abc import KernelHost
from kernelckpt.errors import KernelCkptError
from kernelckpt.log import Retention, RunLog

_LONGEST_PAUSE = 1.0
"""Seconds between two looks at whether a base pays."""


class Upkeep:
    """Keeps one log durable in time, and small.

    Attributes:
        pruned: bytes removed so far.
    """

    def __init__(self, kernel: KernelHost, log: RunLog, *, every: float | None, retention: Retention) -> None:
        """Checkpoints `every` so many seconds, or none by time."""
        self.pruned = 0
        self._kernel = kernel
        self._log = log
        self._every = every
        self._retention = retention

    def start(self) -> None:
        """Begin; it goes on until the kernel ends."""
        self._kernel.start_soon(self._keep_small)
        if self._every is not None:
            self._kernel.start_soon(self._keep_time, self._every)

    async def _keep_time(self, every: float) -> None:
        while True:
            await self._kernel.clock.sleep(every)
            if self._log.staged_commit > self._log.durable_commit:
                self._log.request_flush("time")

    async def _keep_small(self) -> None:
        while True:
            await self._kernel.clock.sleep(min(self._every or _LONGEST_PAUSE, _LONGEST_PAUSE))
            if self._log.base_is_due():
                await self._write_base()

    async def _write_base(self) -> None:
        try:
            await self._log.write_base(self._kernel.scan())
            self.pruned += (await self._log.prune(self._retention)).size
        except KernelCkptError as error:
            if self._log.failure is None:  # else the log has said so already, and halts the kernel
                self._kernel.report("base_failed", error=str(error))
