"""What a hook must promise, and one that does nothing."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from kernelckpt.abc.change import Commit
from kernelckpt.abc.host import KernelHost


@runtime_checkable
class RuntimeHook(Protocol):
    """An object the scheduler calls at fixed points of its life. `Hook` gives each point a default."""

    async def on_start(self, kernel: KernelHost) -> None:
        """Called on entering the scheduler, before any turn; may call `kernel.restore`."""

    async def on_open(self, kernel: KernelHost) -> None:
        """Called when all hooks have started, still before any turn."""

    def on_commit(self, kernel: KernelHost, commit: Commit) -> None:
        """Called synchronously within each commit; must be cheap and must not raise."""

    async def ready(self) -> None:
        """Awaited before each turn: back-pressure. Raising halts the kernel."""

    async def durable(self, commit: int) -> None:
        """Awaited before every output that rests on commits up to this number. Raising halts the kernel."""

    async def kept(self, commit: int) -> None:
        """Awaited before and after a call that must not be repeated: what rests on it is durable on return.

        Unlike `durable`, it waits whatever the hook is set to. Raising halts the kernel.
        """

    async def on_signal(self, kernel: KernelHost, signal: Any) -> None:
        """Called after a `RuntimeSignal` was routed."""

    async def on_stop(self, kernel: KernelHost) -> None:
        """Called on leaving, after the last turn; hooks stop in reverse order of their start."""


class Hook:
    """A `RuntimeHook` whose points do nothing; subclass it and fill in those you need."""

    async def on_start(self, kernel: KernelHost) -> None:
        """Do nothing."""

    async def on_open(self, kernel: KernelHost) -> None:
        """Do nothing."""

    def on_commit(self, kernel: KernelHost, commit: Commit) -> None:
        """Do nothing."""

    async def ready(self) -> None:
        """Hold nothing back."""

    async def durable(self, commit: int) -> None:
        """Hold nothing back."""

    async def kept(self, commit: int) -> None:
        """Wait as for any other output."""
        await self.durable(commit)

    async def on_signal(self, kernel: KernelHost, signal: Any) -> None:
        """Do nothing."""

    async def on_stop(self, kernel: KernelHost) -> None:
        """Do nothing."""
