"""Effects: what a call through the ledger costs, which waits for one shared sync before it and one after."""

from __future__ import annotations

import tempfile
from pathlib import Path
from time import perf_counter

from msgspec import Struct

from benchmarks.kit.form import Form
from benchmarks.kit.result import Findings, Side, Target, ratios
from benchmarks.kit.rounds import interleaved
from benchmarks.sides.agents import MeasuredHook
from benchmarks.sides.bare import BARE, SyncedFile
from kernelckpt import Next, Scheduler, Turn, tool

TITLE = "What an effect costs"
TARGETS = {
    "alone": Target("alone", "an effect under 2.5 times two bare writes + fdatasync, one at a time", 2.5),
    "shared": Target("shared", "100 agents share syncs: under 0.2 entries written for an effect", 0.2),
}
_AGENTS = 100
_IN_A_TURN = 10


class Cost(Struct):
    """One round of one side.

    Attributes:
        milliseconds: wall time over the number of effects, or of writes.
        entries: written for one effect; 0 for sides that count none.
    """

    milliseconds: float
    entries: float = 0.0


@tool(effect="ask")
async def nothing(number: int) -> int:
    """Stand for a call whose time is not counted."""
    return number


async def call_on(turn: Turn) -> Next | None:
    """Make ten calls a turn."""
    for number in range(_IN_A_TURN):
        await turn.effect(nothing, number)
    turn.say("called")
    return turn.complete() if turn.number == turn.input else None


async def run(form: Form) -> Findings:
    """One agent, then a hundred at once."""
    turns, together = form.of(short=10, full=100), f"kernelckpt, {_AGENTS} agents"
    with tempfile.TemporaryDirectory() as folder:
        async with SyncedFile(Path(folder) / "file") as file:
            costs = await interleaved(
                form.of(short=4, full=8),
                {
                    "kernelckpt, one agent": lambda: _ours(1, turns),
                    together: lambda: _ours(_AGENTS, max(1, turns // 10)),
                    BARE: lambda: _bare(file, 2 * turns * _IN_A_TURN),
                },
            )
    alone, shared, bare = costs.values()
    twice = [2 * cost.milliseconds for cost in bare]
    return Findings(
        f"effects of async functions that do nothing, {_IN_A_TURN} a turn, each awaited before the next, "
        f"{turns * _IN_A_TURN} a round; writes of 300 bytes",
        [
            _times("kernelckpt, one agent", "an effect", alone),
            _times(together, "an effect", shared),
            _times(BARE, "a write", bare),
            Side(together, "entries for an effect", "", [cost.entries for cost in shared]),
        ],
        [
            TARGETS["alone"].judge(ratios([cost.milliseconds for cost in alone], twice)),
            TARGETS["shared"].judge([cost.entries for cost in shared]),
        ],
    )


def _times(side: str, measure: str, costs: list[Cost]) -> Side:
    return Side(side, measure, "ms", [cost.milliseconds for cost in costs])


async def _ours(agents: int, turns: int) -> Cost:
    effects = agents * turns * _IN_A_TURN
    with tempfile.TemporaryDirectory() as folder:
        hook = MeasuredHook(f"file:{folder}", every=None)
        async with Scheduler({"call_on": call_on}, run_id="bench", hooks=[hook]) as kernel:
            before, began = hook.stats.checkpoints, perf_counter()
            for number in range(agents):
                await kernel.submit("call_on", task_id=f"agent-{number}", input=turns)
            await kernel.join()
            took = perf_counter() - began
            return Cost(took * 1e3 / effects, (hook.stats.checkpoints - before) / effects)


async def _bare(file: SyncedFile, writes: int) -> Cost:
    data = bytes(300)
    return Cost(sum([await file.write(data) for _ in range(writes)]) * 1e3 / writes)
