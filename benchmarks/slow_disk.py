"""A slow disk: 5 ms added to every sync, of both sides, by a library that is loaded before theirs."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.kit import child
from benchmarks.kit.form import Form
from benchmarks.kit.result import Findings, Side, Target, ratios
from benchmarks.kit.rounds import interleaved
from benchmarks.kit.slow_sync import slow_sync
from benchmarks.sides.bare import BARE, write_rate
from benchmarks.sides.saver import PEER
from benchmarks.throughput import FILE, OFF, Speed, ours, saver

TITLE = "The same with 5 ms added to every sync"
DELAY_MS = 5.0
TARGETS = {
    "saver": Target("saver", "at least 30 times the peer's raw saver", 30, at_most=False, compared=False),
}
"""Not compared: ours waits for the processor, the peer for the delay; the ratio tells the processor."""


class Sizes(msgspec.Struct):
    """What the child is to do."""

    rounds: int
    agents: int
    turns: int
    threads: int


async def run(form: Form) -> Findings:
    """Measure in a process whose syncs are slow."""
    sizes = form.of(short=Sizes(2, 1000, 5, 60), full=Sizes(5, 1000, 30, 1000))
    with tempfile.TemporaryDirectory() as folder:
        env = slow_sync(Path(folder), DELAY_MS)
        found = await asyncio.to_thread(child.call, "benchmarks.slow_disk:measure", sizes, env=env)
    speeds = msgspec.convert(found, dict[str, list[Speed]])
    rates = {name: [speed.rate for speed in rounds] for name, rounds in speeds.items()}
    return Findings(
        f"{sizes.agents:,} agents say 1 KiB in each of {sizes.turns} turns; {sizes.threads:,} threads of the "
        f"peer save 20 KiB once; each sync takes {DELAY_MS:g} ms longer",
        [
            *(Side(name, "turns", "1/s", found) for name, found in rates.items()),
            Side(FILE, "turns per sync", "", [speed.grouped for speed in speeds[FILE]]),
        ],
        [TARGETS["saver"].judge(ratios(rates[FILE], rates[PEER]))],
    )


async def measure(argument: Any) -> dict[str, list[Speed]]:
    """All sides, round by round; called in the child."""
    sizes = msgspec.convert(argument, Sizes)
    return await interleaved(
        sizes.rounds,
        {
            FILE: lambda: ours("file:", sizes.agents, sizes.turns),
            OFF: lambda: ours("", sizes.agents, sizes.turns),
            PEER: lambda: saver(sizes.threads, 1),
            BARE: _bare,
        },
    )


async def _bare() -> Speed:
    with tempfile.TemporaryDirectory() as folder:
        return Speed(await write_rate(Path(folder) / "file", 50), 0.0)
