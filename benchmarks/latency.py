"""Latency: from the commit of one agent's turn to its acknowledgement, beside a bare write and sync."""

from __future__ import annotations

import tempfile
from pathlib import Path
from time import perf_counter

from msgspec import Struct

from benchmarks.kit.form import Form
from benchmarks.kit.result import Findings, Side, Target, quantile, ratios
from benchmarks.kit.rounds import interleaved
from benchmarks.sides.agents import Course, MeasuredHook, kernel_of
from benchmarks.sides.bare import BARE, SyncedFile
from benchmarks.sides.saver import PEER, Thread, dict_messages, open_saver

TITLE = "From commit to acknowledgement"
TARGETS = {
    "p50": Target("p50", "p50 under 2 times the bare write + fdatasync through one executor hop", 2.0),
}


class Wait(Struct):
    """One round of one side, in milliseconds."""

    p50: float
    p99: float


async def run(form: Form) -> Findings:
    """One turn, one write, one put at a time."""
    count = form.of(short=200, full=2000)
    with tempfile.TemporaryDirectory() as folder:
        async with SyncedFile(Path(folder) / "file") as file, open_saver(Path(folder)) as saver:
            waits = await interleaved(
                form.of(short=4, full=8),
                {
                    "kernelckpt, file": lambda: _ours("file:", count),
                    "kernelckpt, memory": lambda: _ours("memory:", count),
                    BARE: lambda: _bare(file, count),
                    PEER: lambda: _put(Thread(saver, "t"), count),
                },
            )
    ours, bare = waits["kernelckpt, file"], waits[BARE]
    return Findings(
        f"one agent saying 1 KiB a turn, no turn before the last one is durable, {count} turns a round; "
        "writes of 1.4 KiB; puts of 1 KiB of state",
        [
            *(Side(name, "p50", "ms", [wait.p50 for wait in found]) for name, found in waits.items()),
            *(Side(name, "p99", "ms", [wait.p99 for wait in found]) for name, found in waits.items()),
        ],
        [TARGETS["p50"].judge(ratios([wait.p50 for wait in ours], [wait.p50 for wait in bare]))],
    )


async def _ours(scheme: str, count: int) -> Wait:
    with tempfile.TemporaryDirectory() as folder:
        hook = MeasuredHook(scheme + folder if scheme == "file:" else scheme, every=None, max_ahead=0)
        course = Course(count)
        course.start.set()
        async with kernel_of(hook, course) as kernel:
            await kernel.submit("run_on", task_id="one")
            await kernel.join()
    return _wait(hook.acknowledged)


async def _bare(file: SyncedFile, count: int) -> Wait:
    data = bytes(1400)
    return _wait([await file.write(data) for _ in range(count)])


async def _put(thread: Thread, count: int) -> Wait:
    took = []
    state = dict_messages(1)
    for _ in range(count):
        began = perf_counter()
        await thread.put(state)
        took.append(perf_counter() - began)
    return _wait(took)


def _wait(took: list[float]) -> Wait:
    return Wait(quantile(took, 0.5) * 1e3, quantile(took, 0.99) * 1e3)
