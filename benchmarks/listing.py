"""Listing: the metadata of many checkpoints of a run, without decoding a state."""

from __future__ import annotations

import tempfile
from pathlib import Path
from time import perf_counter

from benchmarks.kit.form import Form
from benchmarks.kit.result import Findings, Side, Target, ratios
from benchmarks.kit.rounds import interleaved
from benchmarks.sides.agents import Course, MeasuredHook, kernel_of, populate
from benchmarks.sides.saver import PEER, Thread, dict_messages, open_saver
from kernelckpt import StorageBackend, open_storage
from kernelckpt.log import list_checkpoints

TITLE = "Listing checkpoints"
COUNT = 500
TARGETS = {
    "all": Target("all", "metadata of 500 checkpoints: under 10 ms", 10.0, "ms"),
    "newest": Target("newest", "the newest 10: under 1 ms", 1.0, "ms"),
    "peer": Target("peer", "the peer's time for each of all over ours", 1.0, at_most=False),
}


async def run(form: Form) -> Findings:
    """Make as many checkpoints with both sides, list them in every round."""
    puts, rows = form.of(short=(150, 1000), full=(COUNT, 20_000))
    with tempfile.TemporaryDirectory() as folder:
        url = f"file:{folder}/run"
        await _checkpoints(url, COUNT, rows)
        async with await open_storage(url) as storage, open_saver(Path(folder)) as saver:
            thread = Thread(saver, "t")
            for number in range(puts):
                await thread.put(dict_messages(2 * number))
            times = await interleaved(
                form.of(short=5, full=9),
                {
                    "kernelckpt, all": lambda: _ours(storage, None, COUNT),
                    "kernelckpt, newest 10": lambda: _ours(storage, 10, 10),
                    f"{PEER}, all": lambda: _peer(thread, None, puts),
                    f"{PEER}, newest 10": lambda: _peer(thread, 10, 10),
                },
            )
    ours, peer = times["kernelckpt, all"], times[f"{PEER}, all"]
    return Findings(
        f"{COUNT} checkpoints of {rows:,} rows; {puts} of a peer's thread that grows to {2 * puts} KiB",
        [Side(name, "time to list", "ms", found) for name, found in times.items()],
        [
            TARGETS["all"].judge(ours),
            TARGETS["newest"].judge(times["kernelckpt, newest 10"]),
            TARGETS["peer"].judge([ratio * COUNT / puts for ratio in ratios(peer, ours)]),
        ],
    )


async def _checkpoints(url: str, count: int, rows: int) -> None:
    """A run with so many checkpoints after its only base: one for each turn of a conversation."""
    hook = MeasuredHook(url, every=None, max_ahead=0)
    course = Course(count)
    async with kernel_of(hook, course) as kernel:
        await populate(kernel, rows)
        await hook.base()
        await kernel.submit("converse", task_id="one")
        await kernel.join("one")


async def _ours(storage: StorageBackend, newest: int | None, least: int) -> float:
    began = perf_counter()
    found = await list_checkpoints(storage, "bench", newest)
    seconds = perf_counter() - began
    if len(found) < least:
        raise RuntimeError(f"{len(found)} checkpoints were listed, there are {least}")
    return seconds * 1e3


async def _peer(thread: Thread, limit: int | None, least: int) -> float:
    began = perf_counter()
    found = await thread.list(limit)
    seconds = perf_counter() - began
    if found < least:
        raise RuntimeError(f"{found} checkpoints were listed, there are {least}")
    return seconds * 1e3
