"""Calling hooks: all of them at each point, in order, and what becomes of those that fail."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from operator import methodcaller
from typing import Any

import anyio

from kernelckpt.abc import Commit, Hook, KernelHost, RuntimeHook
from kernelckpt.errors import SchedulerStopped, UsageError
from kernelckpt.kernel.argument import listed
from kernelckpt.kernel.error_text import told_error_text

_POINTS = ("on_start", "on_open", "on_commit", "ready", "durable", "kept", "on_signal", "on_stop")

_READY = methodcaller("ready")


class HookPoints:
    """The hooks of a kernel. One that raises where it must not halts the kernel."""

    def __init__(self, hooks: Iterable[Any], halt: Callable[[BaseException], None]) -> None:
        """Hooks may lack points.

        `keeps` says whether calls that must not be repeated may be made: what is restored was kept for
        certain, or nothing is ever restored.

        Args:
            hooks: in the order in which they are called.
            halt: stops the kernel at once.

        Raises:
            UsageError: one is no hook.
        """
        given = list(listed(hooks, "hooks"))
        self._hooks = [_whole(hook) for hook in given]
        restoring = [hook for hook in given if getattr(hook, "restores", False)]
        self.keeps = not restoring or any(_can_keep(hook) for hook in restoring)
        if len(restoring) > 1:
            message = "two of the hooks restore a state: the second could never start again"
            raise UsageError(message, hint="let only one hook restore")
        self._halt = halt

    async def start(self, kernel: KernelHost) -> None:
        """Start all; when one cannot, those before it are stopped again."""
        started: list[RuntimeHook] = []
        try:
            for hook in self._hooks:
                await hook.on_start(kernel)
                started.append(hook)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await _stop(started, kernel)
            raise

    async def open(self, kernel: KernelHost) -> None:
        """Tell all that all have started; when one cannot go on, all are stopped again."""
        try:
            for hook in self._hooks:
                await hook.on_open(kernel)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await _stop(self._hooks, kernel)
            raise

    async def stop(self, kernel: KernelHost) -> Exception | None:
        """Stop all in reverse order; the first error of theirs."""
        return await _stop(self._hooks, kernel)

    def on_commit(self, kernel: KernelHost, commit: Commit) -> None:
        """Tell all of a commit."""
        for hook in self._hooks:
            try:
                hook.on_commit(kernel, commit)
            except Exception as error:  # noqa: BLE001 - a commit that a hook missed must not go on
                self._halt(error)

    async def on_signal(self, kernel: KernelHost, signal: Any) -> None:
        """Tell all of a signal."""
        for hook in self._hooks:
            try:
                await hook.on_signal(kernel, signal)
            except Exception as error:  # noqa: BLE001 - the signal was taken: its sender must not try again
                kernel.report("hook_failed", error=told_error_text(error))

    def ready(self) -> Awaitable[None]:
        """Return when all let a turn begin.

        Raises:
            SchedulerStopped: one raised, and the kernel is halted.
        """
        return self._all(_READY)

    async def durable(self, commit: int) -> None:
        """Return when all have what was committed up to this number.

        Raises:
            SchedulerStopped: one raised, and the kernel is halted.
        """
        await self._all(methodcaller("durable", commit))

    async def kept(self, commit: int) -> None:
        """Return when all have what was committed up to this number for certain.

        Raises:
            SchedulerStopped: one raised, and the kernel is halted.
        """
        await self._all(methodcaller("kept", commit))

    async def _all(self, ask: Callable[[RuntimeHook], Awaitable[None]]) -> None:
        """Await all, one after the other; the first that raises halts the kernel."""
        try:
            for hook in self._hooks:
                await ask(hook)
        except Exception as error:
            self._halt(error)
            raise SchedulerStopped("the kernel was halted by a hook") from error


async def _stop(hooks: Sequence[RuntimeHook], kernel: KernelHost) -> Exception | None:
    first: Exception | None = None
    for hook in reversed(hooks):
        try:
            await hook.on_stop(kernel)
        except Exception as error:  # noqa: BLE001 - the other hooks stop all the same
            first = first or error
    return first


def _can_keep(hook: Any) -> bool:
    """Whether a hook says when something is durable, rather than leaving that out."""
    points = [getattr(hook, name, None) for name in ("durable", "kept")]
    nothing = (None, Hook.durable, Hook.kept)
    return any(getattr(point, "__func__", point) not in nothing for point in points)


def _whole(hook: Any) -> RuntimeHook:
    """The hook, its missing points doing nothing."""
    if isinstance(hook, type) or not any(hasattr(hook, point) for point in _POINTS):
        message = f"a {type(hook).__name__} is not a hook"
        raise UsageError(message, hint="pass an object with some of the points of `Hook`")
    return hook if isinstance(hook, RuntimeHook) else _Completed(hook)


class _Completed(Hook):
    def __init__(self, hook: Any) -> None:
        for point in _POINTS:
            if hasattr(hook, point):
                setattr(self, point, getattr(hook, point))
