"""Stall while a base is written: the loop stays free, and turns go on."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable
from time import perf_counter

from msgspec import Struct

from benchmarks.kit.form import Form
from benchmarks.kit.heartbeat import Heartbeat
from benchmarks.kit.result import Findings, Side, Target, differences, ratios
from benchmarks.kit.rounds import interleaved
from benchmarks.sides.agents import MeasuredHook, kernel_of, populate, resume
from kernelckpt import Scheduler

TITLE = "What a base does to the event loop, and to turns"
BUSY = 100
TARGETS = {
    "gap": Target("gap", "longest heartbeat gap while a base is written, over idle: under 5 ms", 5.0, "ms"),
    "turns": Target("turns", "turns per second meanwhile: not below 70 %", 0.7, at_most=False),
}


class Window(Struct):
    """A stretch of time: its length, its longest gap, and turns in it, by second and in milliseconds."""

    seconds: float
    gap: float
    rate: float = 0.0


async def run(form: Form) -> Findings:
    """Write bases of a large table: while nothing else happens, and while agents take turns."""
    rows = form.of(short=5_000, full=100_000)
    rounds = form.of(short=2, full=5)
    with tempfile.TemporaryDirectory() as folder:
        hook = MeasuredHook(f"file:{folder}", every=None)
        async with kernel_of(hook) as kernel:
            await populate(kernel, rows)
            await hook.base()
            seconds = (await _window(_base(hook))).seconds
            windows = await interleaved(
                rounds,
                {
                    "idle": lambda: _window(asyncio.sleep(seconds)),
                    "base": lambda: _window(_base(hook)),
                    "turns": lambda: _busy(kernel, asyncio.sleep(max(seconds, 0.2))),
                    "turns and base": lambda: _busy(kernel, _base(hook)),
                },
            )
            size = hook.stats.base_bytes / hook.stats.bases
    return _findings(rows, size, windows)


async def _base(hook: MeasuredHook) -> None:
    await hook.base()


async def _window(work: Awaitable[None]) -> Window:
    async with Heartbeat() as heart:
        began = perf_counter()
        await work
        return Window(perf_counter() - began, heart.take() * 1e3)


async def _busy(kernel: Scheduler, work: Awaitable[None]) -> Window:
    """The same while agents take turns; each waits for its own to be durable."""
    turns = 0

    async def go_on() -> None:
        nonlocal turns
        while True:
            await resume(kernel, range(BUSY))
            turns += BUSY

    others = asyncio.create_task(go_on())
    await asyncio.sleep(0.05)
    before = turns
    window = await _window(work)
    window.rate = (turns - before) / window.seconds
    others.cancel()
    await asyncio.wait([others])
    await kernel.idle()
    return window


def _findings(rows: int, size: float, windows: dict[str, list[Window]]) -> Findings:
    gaps = {key: [one.gap for one in found] for key, found in windows.items()}
    idle_rate, base_rate = ([one.rate for one in windows[key]] for key in ("turns", "turns and base"))
    return Findings(
        f"{rows:,} rows with {rows / 1024:,.0f} MiB of context, bases of {size / 2**20:,.1f} MiB; "
        f"{BUSY} agents take turns of 1 KiB",
        [
            *(Side(key, "heartbeat gap, longest", "ms", found) for key, found in gaps.items()),
            Side("base", "time to write it", "s", [one.seconds for one in windows["base"]]),
            Side(
                "turns and base", "time to write it", "s", [one.seconds for one in windows["turns and base"]]
            ),
            Side("turns", "turns", "1/s", idle_rate),
            Side("turns and base", "turns", "1/s", base_rate),
        ],
        [
            TARGETS["gap"].judge(differences(gaps["base"], gaps["idle"])),
            TARGETS["turns"].judge(ratios(base_rate, idle_rate)),
        ],
    )
