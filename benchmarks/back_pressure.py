"""Back-pressure: a storage that takes 200 ms an append, and how far agents run ahead of it."""

from __future__ import annotations

import asyncio
import tempfile
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct
from typing_extensions import override

from benchmarks.kit.form import Form
from benchmarks.kit.result import Findings, Side, Target
from benchmarks.kit.rounds import interleaved
from benchmarks.sides.agents import MeasuredHook
from benchmarks.sides.graph import GRAPH, loop, pending_saves
from benchmarks.sides.saver import open_saver
from kernelckpt import MemoryStorage, Next, Program, Scheduler, Turn

TITLE = "Back-pressure"
TURNS = 300
MAX_AHEAD = 20
PAYLOAD = 64 * 1024
COMMITS_PER_TURN = 2
TARGETS = {
    "ahead": Target(
        "ahead",
        f"commits ahead of the storage: no more than max_ahead ({MAX_AHEAD}) and one turn's",
        MAX_AHEAD + COMMITS_PER_TURN,
        "commits",
    ),
    "memory": Target(
        "memory", "memory flat: kept of what turns 100 to 300 have written, under 5 %", 0.05, compared=False
    ),
}


class Pressed(Struct):
    """One round of one side.

    Attributes:
        ahead: the most commits, or saves, that waited for the storage.
        early: bytes that Python held after 100 turns.
        late: ... after all.
    """

    ahead: float
    early: float
    late: float

    @property
    def kept(self) -> float:
        """Of what the turns between the two have set, the share that is still held."""
        return (self.late - self.early) / (2 * TURNS // 3 * PAYLOAD)


async def run(form: Form) -> Findings:
    """Take as many turns with both sides, each setting a state of 64 KiB."""
    delay = form.of(short=0.005, full=0.2)
    pressed = await interleaved(
        form.of(short=2, full=3), {"kernelckpt": lambda: _ours(delay), GRAPH: lambda: _peer(delay)}
    )
    ours = pressed["kernelckpt"]
    return Findings(
        f"{TURNS} turns of one agent that each set a state of 64 KiB; "
        f"an append takes {delay * 1e3:.0f} ms longer; "
        'the peer with durability="async"',
        [
            *(
                Side(name, "most waiting for the storage", "", [one.ahead for one in found])
                for name, found in pressed.items()
            ),
            *(
                Side(name, "kept of what turns 100 to 300 have set", "of it", [one.kept for one in found])
                for name, found in pressed.items()
            ),
        ],
        [
            TARGETS["ahead"].judge([one.ahead for one in ours]),
            TARGETS["memory"].judge([one.kept for one in ours]),
        ],
    )


class SlowStorage(MemoryStorage):
    """A storage whose appends take longer, and that keeps nothing of them."""

    delay = 0.0

    @override
    async def append(
        self, run_id: str, epoch: int, sequence: int, entry: Sequence[bytes], meta: bytes
    ) -> None:
        await asyncio.sleep(self.delay)
        await super().append(run_id, epoch, sequence, entry[:0], meta)


class Memory:
    """Bytes that Python holds, at two turns."""

    def __init__(self) -> None:
        self.turns = 0
        self.early = self.late = 0
        self.most = 0

    def note(self, waiting: int) -> None:
        """Count a turn and what waits."""
        self.turns += 1
        self.most = max(self.most, waiting)
        if self.turns == TURNS // 3:
            self.early = tracemalloc.get_traced_memory()[0]
        if self.turns == TURNS:
            self.late = tracemalloc.get_traced_memory()[0]


async def _grow(turn: Turn) -> Next | None:
    turn.set_state(bytes(PAYLOAD).hex()[:PAYLOAD] + str(turn.number))
    turn.deps()
    return turn.complete() if turn.number == TURNS else None


async def _ours(delay: float) -> Pressed:
    storage = SlowStorage()
    storage.delay = delay
    hook = MeasuredHook(storage, every=None, max_ahead=MAX_AHEAD)
    memory = Memory()
    programs = {"grow": Program(_grow, state=str)}
    kernel = Scheduler(programs, run_id="bench", hooks=[hook], deps=lambda: memory.note(hook.ahead))
    async with _traced(), kernel:
        await kernel.submit("grow", task_id="one")
        await kernel.join()
    return Pressed(hook.ahead, memory.early, memory.late)


async def _peer(delay: float) -> Pressed:
    memory = Memory()
    with tempfile.TemporaryDirectory() as folder:
        async with _traced(), open_saver(Path(folder)) as saver:
            _slow_down(saver, delay)
            graph = loop(saver, TURNS, lambda: memory.note(pending_saves()), payload=PAYLOAD)
            config = {"configurable": {"thread_id": "t"}, "recursion_limit": 2 * TURNS}
            await graph.ainvoke({"steps": 0, "payload": ""}, config, durability="async")
    return Pressed(memory.most, memory.early, memory.late)


def _slow_down(saver: Any, delay: float) -> None:
    put: Callable[..., Any] = saver.aput

    async def slowly(*args: Any) -> Any:
        await asyncio.sleep(delay)
        return await put(*args)

    saver.aput = slowly


class _traced:  # noqa: N801 - reads as a context
    async def __aenter__(self) -> None:
        tracemalloc.start()

    async def __aexit__(self, *_: object) -> None:
        tracemalloc.stop()
