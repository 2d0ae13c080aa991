"""One conversation, every turn durable: bytes written and kept, and time per turn from first to last."""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from statistics import median
from time import perf_counter

from msgspec import Struct

from benchmarks.kit.form import Form
from benchmarks.kit.process import folder_bytes, written_bytes
from benchmarks.kit.result import Curve, Findings, Side, Target
from benchmarks.kit.rounds import interleaved
from benchmarks.kit.text import TEXT_BYTES
from benchmarks.sides.agents import Course, MeasuredHook, kernel_of
from benchmarks.sides.graph import DELTA, GRAPH, conversation, say
from benchmarks.sides.saver import PEER, Thread, dict_messages, open_saver
from kernelckpt import LogOptions

TITLE = "A conversation of 2,000 turns: bytes, and time per turn"
EARLY = 100
RAW = 2 * TEXT_BYTES
TARGETS = {
    "written": Target("written", "written over the raw messages, with three bases: under 1.1 times", 1.1),
    "kept": Target("kept", "on disk after retention over the raw messages: under 1.3 times", 1.3),
    "bases": Target("bases", "at least three bases meanwhile", 3, "bases", at_most=False),
    "flat": Target(
        "flat", "time per turn at the end over that at turn 100: under 1.2 times", 1.2, compared=False
    ),
}


class Talk(Struct):
    """A conversation that was held.

    Attributes:
        turns: how many turns.
        seconds: how long each took.
        written: bytes given to write calls.
        kept: bytes in the folder at the end.
        bases: written meanwhile.
    """

    turns: int
    seconds: list[float]
    written: int
    kept: int
    bases: int = 0

    def around(self, mark: int) -> float:
        """Milliseconds per turn, the median of the fifty turns before this one."""
        return median(self.seconds[max(mark - 50, 0) : mark]) * 1e3

    @property
    def growth(self) -> float:
        """Time per turn at the end over that at turn 100, or at a tenth of a shorter one."""
        return self.around(self.turns) / self.around(min(EARLY, self.turns // 4))

    def ratio(self, number: int) -> float:
        """How many times the raw messages this is."""
        return number / (self.turns * RAW)


async def run(form: Form) -> Findings:
    """Hold the conversation with each side; the peers' are shorter where theirs take too long."""
    rounds = form.of(short=2, full=3)
    saver, delta, graph = form.of(short=(100, 40, 40), full=(2000, 1000, 500))
    talks = await interleaved(
        rounds,
        {
            "kernelckpt": lambda: _ours(2000),
            "kernelckpt, compressed": lambda: _ours(2000, compression=3),
            PEER: lambda: _in_folder(saver, _saver_turns),
            DELTA: lambda: _in_folder(delta, _delta_turns),
            GRAPH: lambda: _in_folder(graph, _graph_turns),
        },
    )
    ours = talks["kernelckpt"]
    return Findings(
        "one agent, 2 messages of 1 KiB a turn, each turn durable before the next; "
        f"turns: kernelckpt 2,000, saver {saver:,}, delta channel {delta:,}, graph {graph:,}",
        [side for name, found in talks.items() for side in _sides(name, found)],
        [
            TARGETS["written"].judge([talk.ratio(talk.written) for talk in ours]),
            TARGETS["kept"].judge([talk.ratio(talk.kept) for talk in ours]),
            TARGETS["bases"].judge([talk.bases for talk in ours]),
            TARGETS["flat"].judge([talk.growth for talk in ours]),
        ],
        [_curve(name, found[-1]) for name, found in talks.items()],
    )


async def _ours(turns: int, *, compression: int | None = None) -> Talk:
    """With `max_ahead=0` no turn begins before the last one is durable."""
    course = Course(turns)
    with tempfile.TemporaryDirectory() as folder:
        options = LogOptions(base_min_bytes=2**19)
        hook = MeasuredHook(f"file:{folder}", every=0.05, max_ahead=0, compression=compression, log=options)
        before = written_bytes()
        async with kernel_of(hook, course) as kernel:
            await kernel.submit("converse", task_id="one")
            await kernel.join()
            ended = perf_counter()
        written = written_bytes() - before
        kept = folder_bytes(Path(folder))
    marks = [*course.begun, ended]
    seconds = [later - earlier for earlier, later in pairwise(marks)]
    return Talk(turns, seconds, written, kept, hook.stats.bases)


async def _in_folder(turns: int, hold: Callable[[Path, int], Awaitable[list[float]]]) -> Talk:
    with tempfile.TemporaryDirectory() as folder:
        before = written_bytes()
        seconds = await hold(Path(folder), turns)
        return Talk(turns, seconds, written_bytes() - before, folder_bytes(Path(folder)))


async def _saver_turns(folder: Path, turns: int) -> list[float]:
    seconds = []
    async with open_saver(folder) as saver:
        thread = Thread(saver, "t")
        messages = dict_messages(2 * turns)
        for turn in range(1, turns + 1):
            began = perf_counter()
            await thread.put(messages[: 2 * turn])
            seconds.append(perf_counter() - began)
    return seconds


async def _graph_turns(folder: Path, turns: int, *, delta: bool = False) -> list[float]:
    seconds = []
    async with open_saver(folder) as saver:
        graph = conversation(saver, delta=delta)
        for turn in range(turns):
            began = perf_counter()
            await say(graph, "t", 2 * turn)
            seconds.append(perf_counter() - began)
    return seconds


async def _delta_turns(folder: Path, turns: int) -> list[float]:
    return await _graph_turns(folder, turns, delta=True)


def _sides(name: str, talks: list[Talk]) -> list[Side]:
    at = f"at turn {talks[0].turns:,}"
    return [
        Side(name, f"written over raw, {at}", "x", [talk.ratio(talk.written) for talk in talks]),
        Side(name, f"on disk over raw, {at}", "x", [talk.ratio(talk.kept) for talk in talks]),
        Side(name, f"bytes written per turn, {at}", "B", [talk.written / talk.turns for talk in talks]),
        Side(name, f"time per turn, {at}", "ms", [talk.around(talk.turns) for talk in talks]),
        Side(name, f"time per turn, {at} over early", "x", [talk.growth for talk in talks]),
    ]


def _curve(name: str, talk: Talk) -> Curve:
    marks = [mark for mark in (10, 20, 50, 100, 200, 500, 1000, 2000) if mark <= talk.turns]
    return Curve(name, "turn", "ms per turn", [(mark, talk.around(mark)) for mark in marks])
