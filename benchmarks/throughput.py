"""Throughput: 1,000 agents, every turn durable, beside the peer's steps and a kernel without a hook."""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from msgspec import Struct

from benchmarks.kit.form import Form
from benchmarks.kit.process import written_bytes
from benchmarks.kit.result import Findings, Side, Target, ratios
from benchmarks.kit.rounds import interleaved
from benchmarks.sides.agents import Course, kernel_of, run_course
from benchmarks.sides.bare import BARE, write_rate
from benchmarks.sides.graph import DELTA, GRAPH, conversation, turn_rate
from benchmarks.sides.saver import PEER, open_saver, step_rate
from kernelckpt import CheckpointHook

TITLE = "1,000 agents, every turn durable"
STATE_MESSAGES = 20
FILE, MEMORY, OFF = "kernelckpt, file", "kernelckpt, memory", "kernelckpt, hook off"
TARGETS = {
    "saver": Target("saver", "at least 20 times the peer's raw saver", 20, at_most=False),
    "graph": Target("graph", "at least 200 times the peer's graph", 200, at_most=False),
    "off": Target("off", "at least 60 % of our own kernel with the hook off", 0.6, at_most=False),
}


class Speed(Struct):
    """One round of one side.

    Attributes:
        rate: turns per second.
        bytes: given to write calls, per turn.
        syncs: turns per entry of the log.
    """

    rate: float
    bytes: float
    grouped: float = 1.0


async def run(form: Form) -> Findings:
    """Let all sides run, round by round."""
    agents, turns = form.of(short=(1000, 5), full=(1000, 100))  # in few, their begin and the last sync count
    threads, steps, graphs = form.of(short=(1000, 1, 30), full=(1000, 5, 400))
    speeds = await interleaved(
        form.of(short=2, full=5),
        {
            FILE: lambda: ours("file:", agents, turns),
            MEMORY: lambda: ours("memory:", agents, turns),
            OFF: lambda: ours("", agents, turns),
            PEER: lambda: saver(threads, steps),
            GRAPH: lambda: graph(graphs),
            DELTA: lambda: graph(graphs, delta=True),
            BARE: lambda: _counted(200, lambda folder: write_rate(folder / "file", 200)),
        },
    )
    return _findings(f"{agents:,} agents say 1 KiB in each of {turns} turns", speeds)


async def ours(scheme: str, agents: int, turns: int) -> Speed:
    """Agents of this project, over a storage of this scheme or without a hook."""
    with tempfile.TemporaryDirectory() as folder:
        return await ours_at(scheme + folder if scheme == "file:" else scheme, agents, turns)


async def ours_at(url: str, agents: int, turns: int) -> Speed:
    """The same over the empty storage of this URL; without a hook when it is empty."""
    hook = CheckpointHook(url, every=None) if url else None
    course = Course(turns)
    before = written_bytes()
    async with kernel_of(hook, course) as kernel:
        seconds = await run_course(kernel, agents, course)
    written = (written_bytes() - before) / (agents * turns)
    grouped = agents * turns / hook.stats.checkpoints if hook else 0.0
    return Speed(agents * turns / seconds, written, grouped)


async def saver(threads: int, steps: int) -> Speed:
    """Threads of the peer's saver, each with its 20 KiB."""

    async def put(folder: Path) -> float:
        async with open_saver(folder) as opened:
            return await step_rate(opened, threads, steps, STATE_MESSAGES)

    return await _counted(threads * steps, put)


async def graph(threads: int, *, delta: bool = False) -> Speed:
    """Threads of the peer's graph; the bytes are those of the first turn, with its 20 KiB, and one more."""

    async def turn(folder: Path) -> float:
        async with open_saver(folder) as opened:
            return await turn_rate(conversation(opened, delta=delta), threads, STATE_MESSAGES)

    return await _counted(2 * threads, turn)


async def _counted(turns: int, work: Callable[[Path], Awaitable[float]]) -> Speed:
    with tempfile.TemporaryDirectory() as folder:
        before = written_bytes()
        rate = await work(Path(folder))
        return Speed(rate, (written_bytes() - before) / turns)


def _findings(work: str, speeds: dict[str, list[Speed]]) -> Findings:
    rates = {name: [speed.rate for speed in found] for name, found in speeds.items()}
    written = {name: [speed.bytes for speed in found] for name, found in speeds.items()}
    return Findings(
        f"{work}; a step of the peer saves its {STATE_MESSAGES} KiB of state",
        [
            *(Side(name, "turns", "1/s", found) for name, found in rates.items()),
            *(Side(name, "bytes written per turn", "B", written[name]) for name in written if name != OFF),
            Side(FILE, "turns per sync", "", [speed.grouped for speed in speeds[FILE]]),
        ],
        [
            TARGETS["saver"].judge(ratios(rates[FILE], rates[PEER])),
            TARGETS["graph"].judge(ratios(rates[FILE], rates[GRAPH])),
            TARGETS["off"].judge(ratios(rates[FILE], rates[OFF])),
        ],
    )
