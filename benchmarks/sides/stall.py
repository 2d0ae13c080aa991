"""How long the event loop is held, each side in a process of its own: none collects another's garbage."""

from __future__ import annotations

import asyncio
import tempfile
from time import perf_counter
from typing import Any

from benchmarks.kit.heartbeat import Heartbeat
from benchmarks.kit.result import quantile
from benchmarks.kit.stall import Stall
from benchmarks.kit.text import text
from benchmarks.sides.agents import MeasuredHook, kernel_of, populate, resume
from benchmarks.sides.bare import encode_seconds, pickle_seconds
from kernelckpt import Message

CHANGED = 100


async def checkpoints(size: Any) -> Stall:
    """Of [rows, checkpoints]: change a hundred rows, write them, so many times, into local files."""
    with tempfile.TemporaryDirectory() as folder:
        return await checkpoints_at([f"file:{folder}", *size])


async def checkpoints_at(work: Any) -> Stall:
    """The same of [url, rows, checkpoints], wherever the storage is."""
    url, rows, count = work
    holds, gaps, idles = [], [], []
    hook = MeasuredHook(url, every=None, durable=False)
    async with kernel_of(hook) as kernel:
        await populate(kernel, rows)
        await hook.checkpoint()
        hook.take_hold()
        async with Heartbeat() as heart:
            for number in range(count):
                await resume(kernel, [(number * CHANGED + index) % rows for index in range(CHANGED)])
                await heart.settle()
                began = perf_counter()
                await hook.checkpoint()
                gaps.append(heart.take())
                holds.append(hook.take_hold())
                idles.append(await heart.idle(perf_counter() - began))
    return Stall(max(gaps) * 1e3, max(idles) * 1e3, quantile(holds, 0.99) * 1e3, max(holds) * 1e3)


async def pickle_whole(rows: Any) -> Stall:
    """So many messages are pickled in one call."""
    return await _alone(pickle_seconds(_messages(rows)))


async def encode_whole(rows: Any) -> Stall:
    """So many messages are encoded in one call."""
    return await _alone(encode_seconds(_messages(rows)))


def _messages(rows: int) -> list[Message]:
    return [Message.user(text(number)) for number in range(rows)]


async def _alone(seconds: float) -> Stall:
    await asyncio.sleep(0)
    return Stall(seconds * 1e3, 0.0)
