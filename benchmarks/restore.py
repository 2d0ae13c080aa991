"""Restore: to the first turn, to all contexts, beside bare reading and typed decoding of the same records."""

from __future__ import annotations

import tempfile
from pathlib import Path
from time import perf_counter

from msgspec import Struct

from benchmarks.kit.form import Form
from benchmarks.kit.heartbeat import Heartbeat
from benchmarks.kit.result import Findings, Side, Target, differences, ratios
from benchmarks.kit.rounds import interleaved
from benchmarks.sides.agents import Course, MeasuredHook, kernel_of, name, populate
from benchmarks.sides.bare import Records
from benchmarks.sides.saver import PEER, Thread, langchain_messages, open_saver

TITLE = "From a file to running agents"
TARGETS = {
    "first": Target("first", "first running turn: within 2 s per 100,000 rows", 2.0, "s"),
    "whole": Target("whole", "all contexts loaded: within 2.5 times bare reading and typed decoding", 2.5),
    "before": Target(
        "before", "first turn before contexts are read: its share of the whole under a half", 0.5
    ),
    "stall": Target("stall", "longest heartbeat gap until all is loaded, over idle: under 20 ms", 20.0, "ms"),
}


class Restored(Struct):
    """One round of one side: seconds, and milliseconds of the longest gap."""

    whole: float
    first: float = 0.0
    gap: float = 0.0
    idle: float = 0.0


async def run(form: Form) -> Findings:
    """Write a run once, restore it in every round."""
    rows, messages = form.of(short=(1_000, 10), full=(100_000, 10))
    with tempfile.TemporaryDirectory() as folder:
        url = f"file:{folder}/run"
        hook = MeasuredHook(url, every=None)
        async with kernel_of(hook) as kernel:
            await populate(kernel, rows, messages)
            await hook.base()
        records = Records(Path(folder) / "records", rows, messages)
        records.write()
        async with open_saver(Path(folder)) as saver:
            for number in range(rows // 10):
                await Thread(saver, name(number)).put(langchain_messages(messages, number))
            found = await interleaved(
                form.of(short=2, full=3),
                {
                    "kernelckpt": lambda: _ours(url, rows),
                    "bare": lambda: _bare(records),
                    PEER: lambda: _peer(saver, rows),
                },
            )
    return _findings(rows, messages, found)


async def _ours(url: str, rows: int) -> Restored:
    """To the first turn of a task that is submitted at once, and to the last message of the last context."""
    course = Course(1)
    course.start.set()
    async with Heartbeat() as heart:
        idle = await heart.idle(0.2)
        await heart.settle()
        began = perf_counter()
        hook = MeasuredHook(url, every=None, eager_bytes=0)  # as a large run's, also in the short form
        async with kernel_of(hook, course) as kernel:
            task = await kernel.submit("converse", task_id=f"first-{began}")
            first = course.begun[0] - began
            await kernel.load_contexts()
            gap = heart.take()
            for number in range(rows):
                list(kernel.context(name(number)).history)
            whole = perf_counter() - began
            await kernel.join(task)
    return Restored(whole, first, gap * 1e3, idle * 1e3)


async def _bare(records: Records) -> Restored:
    return Restored(records.read())


async def _peer(saver: object, rows: int) -> Restored:
    """A tenth of the threads, one by one; the figure is for all of them."""
    began = perf_counter()
    for number in range(rows // 10):
        await Thread(saver, name(number)).get()
    return Restored((perf_counter() - began) * 10)


def _findings(rows: int, messages: int, found: dict[str, list[Restored]]) -> Findings:
    ours = found["kernelckpt"]
    first, whole = [one.first for one in ours], [one.whole for one in ours]
    stall = differences([one.gap for one in ours], [one.idle for one in ours])
    bare = [one.whole for one in found["bare"]]
    return Findings(
        f"{rows:,} rows with {rows * messages:,} messages, {rows * messages / 1024:,.0f} MiB",
        [
            Side("kernelckpt", "to the first turn", "s", first),
            Side("kernelckpt", "to all contexts decoded", "s", whole),
            Side("kernelckpt", "heartbeat gap until all is loaded, longest", "ms", [one.gap for one in ours]),
            Side("bare reading and typed decoding", "all of it", "s", bare),
            Side(PEER, "all threads one by one", "s", [one.whole for one in found[PEER]]),
        ],
        [
            TARGETS["first"].judge([seconds * 100_000 / rows for seconds in first]),
            TARGETS["before"].judge(ratios(first, whole)),
            TARGETS["whole"].judge(ratios(whole, bare)),
            TARGETS["stall"].judge(stall),
        ],
    )
