"""Growth: what a turn costs among more rows, on a longer history, and beside more agents."""

from __future__ import annotations

import asyncio
import gc
import pickle
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter

from msgspec import Struct

from benchmarks.kit.form import Form
from benchmarks.kit.process import written_bytes
from benchmarks.kit.result import Curve, Findings, Outcome, Side, Target
from benchmarks.sides.agents import Course, MeasuredHook, kernel_of, name, populate, resume, run_course
from benchmarks.sides.saver import PEER, Thread, dict_messages, open_saver, step_rate
from kernelckpt import LogOptions, Message

TITLE = "How costs grow"
ROWS, HISTORY, AGENTS = "rows", "messages of history", "agents"
OURS, PICKLE = "kernelckpt", "pickle of the whole state"
TARGETS = {
    ROWS: Target(
        "rows",
        "time per turn at the most rows over that at a hundredth of them: 1.3 times",
        1.3,
        compared=False,
    ),
    HISTORY: Target(
        "history", "... at the longest history over that at a hundredth of it: 1.3 times", 1.3, compared=False
    ),
    AGENTS: Target(
        "agents",
        "... among the most agents over that among a hundredth of them: 1.3 times",
        1.3,
        compared=False,
    ),
    "bytes": Target(
        "bytes", "bytes per turn at the longest history over those at the shortest: 1.1 times", 1.1
    ),
}
_NO_BASE = LogOptions(base_min_bytes=2**40, base_max_entries=10**9)
"""What a base does is measured elsewhere; here one more or less would hide how turns grow."""
_AT_ONCE = 10
_REPEATS = 20
_TURNS = 10
"""How many turns each of many agents takes; the fewer, the more count their begin and their end."""


class Cost(Struct):
    """What a turn costs at one size: microseconds, and bytes given to write calls."""

    time: float
    written: float = 0.0


Measure = Callable[[int], Awaitable[Cost]]


async def run(form: Form) -> Findings:
    """Every side at every size; each size is a kernel, or a database, of its own."""
    rows, history, agents = form.of(short=(3, 4, 3), full=(6, 5, 4))
    costs = {
        (ROWS, OURS): await _measure(_rows, rows),
        (ROWS, PICKLE): await _measure(_pickled, min(rows, 5)),
        (HISTORY, OURS): await _measure(_history, history),
        (HISTORY, PEER): await _measure(_peer_history, form.of(short=3, full=5)),
        (AGENTS, OURS): await _measure(_agents, agents, first=0),
        (AGENTS, PEER): await _measure(_peer_agents, agents, first=0),
    }
    curves = [
        *(Curve(side, x, "us per turn", _points(found, "time")) for (x, side), found in costs.items()),
        *(Curve(side, x, "bytes per turn", _points(found, "written")) for (x, side), found in costs.items()),
    ]
    return Findings(
        "a turn of 1 KiB, durable; the peer saves the state of its thread (20 KiB where agents grow)",
        [
            Side(curve.side, f"{curve.y}, {curve.points[-1][0]:,} {curve.x}", "", [curve.points[-1][1]])
            for curve in curves
        ],
        [*(_flat(x, costs[x, OURS]) for x in (ROWS, HISTORY, AGENTS)), _same_bytes(costs[HISTORY, OURS])],
        [curve for curve in curves if any(y for _, y in curve.points)],
    )


async def _measure(measure: Measure, powers: int, *, first: int = 1) -> dict[int, Cost]:
    found = {}
    for power in range(first, powers + 1):
        gc.collect()
        found[10**power] = await measure(10**power)
    return found


def _hook(folder: str) -> MeasuredHook:
    return MeasuredHook(f"file:{folder}", every=None, log=_NO_BASE)


async def _rows(rows: int) -> Cost:
    """A few agents take turns among so many."""
    with tempfile.TemporaryDirectory() as folder:
        async with kernel_of(_hook(folder)) as kernel:
            await populate(kernel, rows)
            return await _repeated(lambda: resume(kernel, range(_AT_ONCE)), _AT_ONCE)


async def _history(messages: int) -> Cost:
    """An agent with so long a history takes turns."""
    with tempfile.TemporaryDirectory() as folder:
        async with kernel_of(_hook(folder)) as kernel:
            history = [Message.user(item["content"]) for item in dict_messages(messages)]
            await kernel.submit("talk", task_id=name(0), messages=history)
            await kernel.idle()
            return await _repeated(lambda: resume(kernel, [0]), 1)


async def _peer_history(messages: int) -> Cost:
    with tempfile.TemporaryDirectory() as folder:
        async with open_saver(Path(folder)) as saver:
            thread, state = Thread(saver, "t"), dict_messages(messages)
            return await _repeated(lambda: thread.put(state), 1, _REPEATS if messages < 10_000 else 3)


async def _pickled(rows: int) -> Cost:
    state = [Message.user(item["content"]) for item in dict_messages(rows)]

    async def dump() -> None:
        await asyncio.sleep(0)
        pickle.dumps(state)

    return await _repeated(dump, 1, 5)


async def _agents(agents: int) -> Cost:
    """So many agents run at once; each turn is written as it commits."""
    turns = max(_TURNS, 1000 // agents)
    course = Course(turns)
    with tempfile.TemporaryDirectory() as folder:
        async with kernel_of(_hook(folder), course) as kernel:
            before = written_bytes()
            seconds = await run_course(kernel, agents, course)
            return Cost(seconds / (agents * turns) * 1e6, (written_bytes() - before) / (agents * turns))


async def _peer_agents(agents: int) -> Cost:
    steps = max(1, 100 // agents)
    with tempfile.TemporaryDirectory() as folder:
        async with open_saver(Path(folder)) as saver:
            before = written_bytes()
            rate = await step_rate(saver, agents, steps, 20)
            return Cost(1e6 / rate, (written_bytes() - before) / (agents * steps))


async def _repeated(work: Callable[[], Awaitable[None]], turns: int, times: int = _REPEATS) -> Cost:
    """The median of several times, each of so many turns; the first is not counted."""
    await work()
    before, took = written_bytes(), []
    for _ in range(times):
        began = perf_counter()
        await work()
        took.append(perf_counter() - began)
    return Cost(median(took) / turns * 1e6, (written_bytes() - before) / (times * turns))


def _points(costs: dict[int, Cost], field: str) -> list[tuple[float, float]]:
    return [(size, getattr(cost, field)) for size, cost in costs.items()]


def _flat(x: str, costs: dict[int, Cost]) -> Outcome:
    sizes: Sequence[int] = sorted(costs)
    return TARGETS[x].judge(costs[sizes[-1]].time / costs[sizes[-3]].time)


def _same_bytes(costs: dict[int, Cost]) -> Outcome:
    return TARGETS["bytes"].judge(costs[max(costs)].written / costs[min(costs)].written)
