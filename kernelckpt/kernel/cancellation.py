"""Telling a cancellation that somebody asked for from one that a program merely let escape."""

from __future__ import annotations

import asyncio
import math

import anyio


def is_cancelled() -> bool:
    """Whether the code that runs now has been cancelled by the kernel, even if it caught the cancellation."""
    return anyio.current_effective_deadline() == -math.inf


def was_cancelled_here() -> bool:
    """Whether this asyncio task was asked to end, as by `asyncio.timeout` or a task group of the program."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def absorb_cancellation() -> None:
    """Take back the cancellations of this asyncio task that came from no scope.

    A program that awaits a cancelled asyncio task, or cancels its own, raises `CancelledError` like any
    other error; let through, it would cancel every task of the kernel.
    """
    task = asyncio.current_task()
    while task is not None and task.cancelling():
        task.uncancel()
