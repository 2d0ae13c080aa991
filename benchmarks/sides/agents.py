"""This project's side: agents that say 1 KiB a turn, and a hook that tells how long it held the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import perf_counter
from typing import Any

from typing_extensions import override

from benchmarks.kit.text import text
from kernelckpt import CheckpointHook, CheckpointInfo, Commit, KernelHost, Message, Next, Scheduler, Turn

_AT_ONCE = 500


class MeasuredHook(CheckpointHook):
    """A checkpoint hook that can be asked more often than once.

    Attributes:
        acknowledged: seconds from the commit of a turn until it was durable, for each turn that `ready`
            waited for; with `max_ahead=0` that is every turn.
        ahead: the most commits that were not durable at a time.
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.acknowledged: list[float] = []
        self.ahead = 0
        self._committed = 0.0

    @override
    async def on_start(self, kernel: KernelHost) -> None:
        await super().on_start(kernel)
        self.take_hold()

    @override
    def on_commit(self, kernel: KernelHost, commit: Commit) -> None:
        if commit.ended_turn:
            self._committed = perf_counter()
        super().on_commit(kernel, commit)
        log = self._opened()
        self.ahead = max(self.ahead, log.staged_commit - log.durable_commit)

    @override
    async def ready(self) -> None:
        await super().ready()
        if self._committed:
            self.acknowledged.append(perf_counter() - self._committed)
            self._committed = 0.0

    @property
    def total_bytes(self) -> int:
        """Bytes of deltas and of what bases refer to."""
        return self.stats.bytes_written + self.stats.base_bytes

    def take_hold(self) -> float:
        """The longest time the hook held the loop since the last call, in seconds, by its own timers."""
        stats = self._opened().stats
        longest = max(self._hold, stats.longest_slice_seconds)
        self._hold = stats.longest_slice_seconds = 0.0
        return longest

    async def base(self) -> CheckpointInfo:
        """Write a base now."""
        assert self._kernel is not None
        return await self._opened().write_base(self._kernel.scan())


async def talk(turn: Turn) -> Next:
    """Wait to be resumed, then say something; an agent like this is a row with a context."""
    if turn.number > 1:
        turn.say(text(turn.number))
    return turn.wait_external("the next turn")


class Course:
    """What agents that run without a pause share: when to begin, how many turns to take.

    Attributes:
        turns: each agent is done after so many.
        start: nobody's first turn goes on before this.
        begun: when each turn of the last agent began.
    """

    def __init__(self, turns: int) -> None:
        self.turns = turns
        self.start = asyncio.Event()
        self.begun: list[float] = []


async def run_on(turn: Turn) -> Next | None:
    """Say 1 KiB a turn until the course is over."""
    course: Course = turn.deps
    if turn.number == 1:
        await course.start.wait()
    turn.say(text(turn.number))
    return turn.complete() if turn.number == course.turns else None


async def converse(turn: Turn) -> Next | None:
    """One turn of a conversation: a question and an answer of 1 KiB each."""
    course: Course = turn.deps
    course.begun.append(perf_counter())
    turn.append(Message.user(text(2 * turn.number)))
    turn.say(text(2 * turn.number + 1))
    return turn.complete() if turn.number == course.turns else None


PROGRAMS = {"talk": talk, "run_on": run_on, "converse": converse}


def kernel_of(hook: CheckpointHook | None = None, course: Course | None = None) -> Scheduler:
    """A scheduler with these programs."""
    return Scheduler(PROGRAMS, run_id="bench", hooks=[hook] if hook else [], deps=course)


async def populate(kernel: Scheduler, rows: int, messages: int = 1, *, begin: int = 0) -> None:
    """Add agents that wait, each with so many messages of 1 KiB.

    Args:
        kernel: where to.
        rows: how many.
        messages: how many each.
        begin: the number of the first one.
    """
    for first in range(begin, begin + rows, _AT_ONCE):
        numbers = range(first, min(first + _AT_ONCE, begin + rows))
        await asyncio.gather(*(_add(kernel, number, messages) for number in numbers))
    await kernel.idle()


async def _add(kernel: Scheduler, number: int, messages: int) -> None:
    history = [Message.user(text(number + index)) for index in range(messages)]
    await kernel.submit("talk", task_id=name(number), messages=history)


def name(number: int) -> str:
    """The id of an agent."""
    return f"agent-{number}"


async def resume(kernel: Scheduler, numbers: Sequence[int]) -> None:
    """Have these agents take a turn each; they wait again on return."""
    await asyncio.gather(*(kernel.resume(name(number)) for number in numbers))
    await kernel.idle()


async def run_course(kernel: Scheduler, agents: int, course: Course) -> float:
    """Run agents through a course; seconds from the first turn until all turns are durable."""
    tasks = [f"runner-{number}" for number in range(agents)]
    await asyncio.gather(*(kernel.submit("run_on", task_id=task) for task in tasks))
    began = perf_counter()
    course.start.set()
    await kernel.join()
    return perf_counter() - began
