"""Hooks that fill in only some of the points of a `RuntimeHook`."""

from __future__ import annotations

from typing import Any

from kernelckpt.abc import Hook, RuntimeHook
from kernelckpt.errors import UsageError

_POINTS = ("on_start", "on_commit", "ready", "durable", "on_signal", "on_stop")


def whole_hook(hook: Any) -> RuntimeHook:
    """The hook, its missing points doing nothing.

    Raises:
        UsageError: it is no hook at all.
    """
    if isinstance(hook, type) or not any(hasattr(hook, point) for point in _POINTS):
        raise UsageError(f"{hook!r} is not a hook", hint="pass an object with some of the points of `Hook`")
    return hook if isinstance(hook, RuntimeHook) else _Completed(hook)


class _Completed(Hook):
    def __init__(self, hook: Any) -> None:
        for point in _POINTS:
            if hasattr(hook, point):
                setattr(self, point, getattr(hook, point))
