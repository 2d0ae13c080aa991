"""Stall: how long a checkpoint of 100 changed rows holds the event loop, whatever the size of the table."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from time import perf_counter

from msgspec import Struct

from benchmarks.kit.form import Form
from benchmarks.kit.heartbeat import Heartbeat
from benchmarks.kit.result import Findings, Side, Target, differences, quantile, ratios
from benchmarks.kit.rounds import interleaved
from benchmarks.sides.agents import MeasuredHook, kernel_of, populate, resume
from benchmarks.sides.bare import encode_seconds, pickle_seconds
from benchmarks.sides.saver import Thread, dict_messages, langchain_messages, open_saver
from kernelckpt import Message, Scheduler

TITLE = "How long a checkpoint holds the event loop"
CHANGED = 100
SMALL_ROWS = 1000
TARGETS = {
    "hold": Target("hold", "time the hook holds the loop, by its own timer: p99 under 1 ms", 1.0, "ms"),
    "gap": Target("gap", "longest heartbeat gap over idle: under 5 ms", 5.0, "ms"),
    "flat": Target("flat", "hold, p99, over the same at 1,000 rows: within 1.5 times", 1.5, compared=False),
}


class Stall(Struct):
    """One round of one side, in milliseconds."""

    gap: float
    idle: float
    hold: float = 0.0
    hold_max: float = 0.0


async def run(form: Form) -> Findings:
    """Checkpoint a large and a small table in turn, beside saves of a whole state by the peer."""
    rows = form.of(short=5_000, full=100_000)
    rounds, checkpoints = form.of(short=(2, 15), full=(5, 100))
    with tempfile.TemporaryDirectory() as folder:
        hooks = [MeasuredHook(f"file:{folder}/{size}", every=None, durable=False) for size in "ab"]
        async with (
            kernel_of(hooks[0]) as large,
            kernel_of(hooks[1]) as small,
            open_saver(Path(folder)) as saver,
        ):
            await populate(large, rows)
            await populate(small, SMALL_ROWS)
            dicts, objects = dict_messages(rows), langchain_messages(rows)
            plain = [Message.user(item["content"]) for item in dicts]
            thread = Thread(saver, "t")
            stalls = await interleaved(
                rounds,
                {
                    "large": lambda: _checkpoints(large, hooks[0], rows, checkpoints),
                    "small": lambda: _checkpoints(small, hooks[1], SMALL_ROWS, checkpoints),
                    "dicts": lambda: _put(thread, dicts),
                    "objects": lambda: _put(thread, objects),
                    "pickle": lambda: _alone(pickle_seconds(plain)),
                    "msgspec": lambda: _alone(encode_seconds(plain)),
                },
            )
    return _findings(rows, checkpoints, stalls)


async def _checkpoints(kernel: Scheduler, hook: MeasuredHook, rows: int, count: int) -> Stall:
    holds, gaps, idles = [], [], []
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


async def _put(thread: Thread, messages: list[object]) -> Stall:
    async with Heartbeat() as heart:
        began = perf_counter()
        await thread.put(messages)
        gap = heart.take()
        idle = await heart.idle(perf_counter() - began)
    return Stall(gap * 1e3, idle * 1e3)


async def _alone(seconds: float) -> Stall:
    await asyncio.sleep(0)
    return Stall(seconds * 1e3, 0.0)


def _findings(rows: int, checkpoints: int, stalls: dict[str, list[Stall]]) -> Findings:
    large, small = stalls["large"], stalls["small"]
    over_idle = differences([one.gap for one in large], [one.idle for one in large])
    size = f"{rows:,} rows"
    sides = [
        Side(f"kernelckpt, {size}", "hold, p99", "ms", [one.hold for one in large]),
        Side(f"kernelckpt, {size}", "hold, longest", "ms", [one.hold_max for one in large]),
        Side(f"kernelckpt, {size}", "heartbeat gap, longest", "ms", [one.gap for one in large]),
        Side("nobody", "heartbeat gap when idle, longest", "ms", [one.idle for one in large]),
        Side("kernelckpt, 1,000 rows", "hold, p99", "ms", [one.hold for one in small]),
        Side("kernelckpt, 1,000 rows", "heartbeat gap, longest", "ms", [one.gap for one in small]),
        *(
            Side(side, "heartbeat gap, longest", "ms", [one.gap for one in stalls[key]])
            for side, key in _PEERS
        ),
    ]
    return Findings(
        f"{rows:,} rows with {rows / 1024:,.0f} MiB of context, {CHANGED} rows changed per checkpoint, "
        f"{checkpoints} checkpoints a round; the peer puts the same {rows / 1024:,.0f} MiB once a round",
        sides,
        [
            TARGETS["hold"].judge([one.hold for one in large]),
            TARGETS["gap"].judge(over_idle),
            TARGETS["flat"].judge(ratios([one.hold for one in large], [one.hold for one in small])),
        ],
    )


_PEERS = (
    ("LangGraph saver, dicts", "dicts"),
    ("LangGraph saver, its messages", "objects"),
    ("pickle of the whole state", "pickle"),
    ("msgspec of the whole state, one call", "msgspec"),
)
