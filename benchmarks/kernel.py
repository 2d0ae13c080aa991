"""The kernel without a hook: turns per second beside bare tasks, and with many rows beside few."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import perf_counter

from benchmarks.kit.form import Form
from benchmarks.kit.result import Findings, Side, Target, ratios
from benchmarks.kit.rounds import interleaved
from benchmarks.sides.agents import Course, kernel_of, populate, resume, run_course
from benchmarks.sides.bare import append_rate
from kernelckpt import Scheduler

TITLE = "The kernel with the hook off"
AGENTS = 1000
TARGETS = {
    "bare": Target("bare", "at least 20 % of bare asyncio tasks that do the same", 0.2, at_most=False),
    "rows": Target("rows", "time per turn among 100,000 rows over that among 1,000: within 1.3 times", 1.3),
}


async def run(form: Form) -> Findings:
    """Run agents to their end; and resume the same number of them in a small and in a large table."""
    turns = form.of(short=5, full=50)
    rows = form.of(short=10_000, full=100_000)
    rounds = form.of(short=3, full=7)
    rates = await interleaved(
        rounds, {"kernelckpt": lambda: _rate(turns), "bare asyncio tasks": lambda: append_rate(AGENTS, turns)}
    )
    async with kernel_of() as small, kernel_of() as large:
        await populate(small, AGENTS)
        await populate(large, rows)
        times = await interleaved(rounds, {"1,000 rows": _turns(small), f"{rows:,} rows": _turns(large)})
    return Findings(
        f"{AGENTS:,} agents, 1 KiB a turn, {turns} turns; then one turn of {AGENTS:,} among {rows:,} rows",
        [
            *(Side(name, "turns", "1/s", found) for name, found in rates.items()),
            *(Side(name, "time per resumed turn", "us", found) for name, found in times.items()),
        ],
        [
            TARGETS["bare"].judge(ratios(rates["kernelckpt"], rates["bare asyncio tasks"])),
            TARGETS["rows"].judge(ratios(times[f"{rows:,} rows"], times["1,000 rows"])),
        ],
    )


async def _rate(turns: int) -> float:
    course = Course(turns)
    async with kernel_of(course=course) as kernel:
        return AGENTS * turns / await run_course(kernel, AGENTS, course)


def _turns(kernel: Scheduler) -> Callable[[], Awaitable[float]]:
    async def measure() -> float:
        began = perf_counter()
        await resume(kernel, range(AGENTS))
        return (perf_counter() - began) / AGENTS * 1e6

    return measure
