"""A harness for agents: a kernel in a test, with fakes for its tools, a clock to move, and crashes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

import msgspec
from msgspec import UNSET

from kernelckpt import (
    Approval,
    LoopResult,
    Message,
    RuntimeSignal,
    Scheduler,
    Tcb,
)
from kernelckpt.errors import UnknownTaskError, UsageError
from kernelckpt.testing.agent_fakes import FakeCall
from kernelckpt.testing.agent_process import AgentProcess, Programs
from kernelckpt.testing.clock import ManualClock

T = TypeVar("T")

InDoubt: TypeAlias = "Callable[[AgentHarness, Approval], Awaitable[None]]"
"""Answers the question about a call of which nobody knows whether it happened."""

_STILL = 60
"""So many rounds of the loop without anything happening are rest."""

_MOST_ROUNDS = 1_000_000
"""So many rounds an agent may take until it rests."""

_EFFECT_KEY = "effect:"
"""What the key of a question about a call begins with: its number, the turn and the run follow."""


class AgentHarness(AgentProcess):
    """Agents in a test, without files, servers and waiting; an async context manager.

        async with AgentHarness({"clerk": clerk}, fakes={"pay": "paid"}) as harness:
            await harness.submit("clerk", task_id="c1")
            await harness.step()
            (question,) = harness.approvals()
            await harness.crash()
            await harness.restart()
            await harness.approve(question)
            assert (await harness.join("c1")).text == "paid"
            assert harness.counts() == {"c1: pay(amount=3)": 1}

    What survives a crash is what was durable, and the world: the fakes with their calls, `deps`, the clock.
    The kernel only runs while the test awaits. Calls of tools never reach the functions of the tools, but the
    fakes: what an agent calls and nothing stands for fails the test.

    Attributes:
        clock: the clock of the kernel; nothing else moves it but the test.
        fakes: what stands for the tools.
        events: what `kernel.events()` has told, over all lives.
        deps: what turns have as `turn.deps`.
        timers: counts the timers that have fired.
        lives: how often the kernel was started.
    """

    def __init__(
        self,
        programs: Programs | Callable[[], Programs],
        *,
        fakes: Mapping[str, Any] | None = None,
        tools: Sequence[Any] = (),
        deps: Any = None,
        clock: ManualClock | None = None,
        run_id: str = "run",
        in_doubt: InDoubt | None = None,
        **settings: Any,
    ) -> None:
        """Describe it; nothing runs before it is entered.

        Args:
            programs: the programs by name, or a function that makes them: it is called at each start, so that
                what programs keep in variables is lost in a crash, as it is outside of tests.
            fakes: what stands for a tool or a function called as an effect, by name: a value, an exception to
                raise, a function to call, or `Answers`. "the probe of NAME" stands for the probe of a tool;
                one that has no fake looks up whether the call has happened.
            tools: the tools as they are declared; of those only named in `fakes` nothing is known, and a call
                in doubt is a question.
            deps: handed to every turn.
            clock: the clock; one of its own by default.
            run_id: the name of the run.
            in_doubt: answers what is in doubt in `step`; by default the test does.
            settings: further arguments of `Scheduler`, as `budget` or `governance`.
        """
        super().__init__(
            programs, fakes=fakes, tools=tools, deps=deps, clock=clock, run_id=run_id, settings=settings
        )
        self._in_doubt = in_doubt
        self._sent = self._submitted = 0

    # from outside

    async def do(self, call: Callable[[Scheduler], Awaitable[T]]) -> T:
        """Call the kernel from outside, as in `await harness.do(lambda kernel: kernel.cancel("c1"))`."""
        return await self._outlive(lambda: self._running().do(call))

    async def submit(self, program: str, *, task_id: str | None = None, **options: Any) -> str:
        """Add a root task; its id, by default "task-1" and so on. Options are those of `Scheduler.submit`."""
        self._submitted += 1
        named = task_id or f"task-{self._submitted}"
        return await self.do(lambda kernel: kernel.submit(program, task_id=named, **options))

    async def send(self, task_id: str, message: Message | str, *, key: str | None = None) -> None:
        """Send a message, under a key of its own unless one is given."""
        self._sent += 1
        named = key or f"message-{self._sent}"
        await self.do(lambda kernel: kernel.send(task_id, message, key=named))

    async def signal(self, signal: RuntimeSignal, task_id: str | None = None) -> None:
        """Send a signal."""
        await self.do(lambda kernel: kernel.signal(signal, task_id))

    async def approve(self, question: Approval, *, by: str | None = None, outcome: Any = UNSET) -> None:
        """Say yes to a question of `approvals()`; with an outcome, the call it asks about is done, so."""
        await self._answer(
            question,
            lambda kernel: kernel.approve(question.task_id, question.key, by=by, outcome=outcome),
        )

    async def deny(self, question: Approval, *, reason: str = "") -> None:
        """Say no to a question of `approvals()`."""
        await self._answer(
            question, lambda kernel: kernel.deny(question.task_id, question.key, reason=reason)
        )

    async def _answer(self, question: Approval, answer: Callable[[Scheduler], Awaitable[None]]) -> None:
        tries = 0

        async def once(kernel: Scheduler) -> None:
            nonlocal tries
            tries += 1
            place = (question.task_id, question.key)
            if tries == 1 or place in [(item.task_id, item.key) for item in kernel.approvals()]:
                await answer(kernel)  # else it was durable when the process died before it said so

        await self.do(once)

    # letting it run

    async def step(self) -> None:
        """Let everything happen that can happen without time passing and without input.

        Raises:
            UnansweredError: a tool was called that nothing stands for.
            UsageError: the agents do not come to rest, or the process does not run.
        """
        await self._outlive(self._step)

    async def advance(self, seconds: float) -> None:
        """Let time pass; whoever is woken acts at his own time, and `step` follows each."""
        end = self.clock.monotonic() + seconds
        await self.step()
        while (pause := self.clock.next_wake) is not None and self.clock.monotonic() + pause <= end:
            await self.clock.advance(max(pause, 0))
            await self.step()
        await self.clock.advance(max(end - self.clock.monotonic(), 0))
        await self.step()

    async def join(self, task_id: str, *, within: float = 86_400.0) -> LoopResult:
        """Let a task come to its end, with all the time it needs, and give its result.

        Args:
            task_id: the task.
            within: the seconds it may take.

        Raises:
            UsageError: it does not end without input, or not in time.
        """
        end = self.clock.monotonic() + within
        await self.step()
        while not self.task(task_id).state.is_terminal():
            pause = self.clock.next_wake
            if pause is None or self.clock.monotonic() + pause > end:
                row = self.task(task_id)
                waits = f", waiting for {row.wait.label()}" if row.wait else ""
                message = f"task {task_id!r} does not end: it is {row.state.label()}{waits}"
                raise UsageError(message, hint="answer its questions, send what it waits for")
            await self.advance(pause)
        return await self.do(lambda kernel: _joined(kernel, task_id))

    # looking

    def task(self, task_id: str) -> Tcb:
        """The row of a task.

        Raises:
            UnknownTaskError: there is none.
        """
        row = self.kernel.tasks.get(task_id)
        if row is None:
            raise UnknownTaskError(f"no task {task_id!r}", hint="submit it")
        return row

    def messages(self, task_id: str) -> list[Message]:
        """The history of a task."""
        return list(self.kernel.context(task_id).history)

    def texts(self, task_id: str) -> list[str]:
        """The texts of a task's history."""
        return [message.text for message in self.messages(task_id)]

    def state(self, task_id: str) -> Any:
        """What a task has set as its state, as plain data; None if it has not."""
        self.task(task_id)
        value = self.kernel.snapshot().states.get(task_id)
        return None if value is None else msgspec.msgpack.decode(value.data)

    def approvals(self) -> list[Approval]:
        """The questions nobody has answered."""
        return self.kernel.approvals()

    def drafts(self, task_id: str) -> list[Any]:
        """What a task has shown with `turn.emit`, lost turns included."""
        found = [event for event in self.events if (event.kind, event.task_id) == ("draft", task_id)]
        return [event.data["delta"] for event in found]

    @property
    def calls(self) -> list[FakeCall]:
        """The calls that have reached the world, in all lives, in their order."""
        return self.fakes.calls

    def counts(self) -> dict[str, int]:
        """How often each call has returned, by task, name and arguments, as "c1: pay(amount=3)"."""
        return dict(self.fakes.counts())

    def call_of(self, question: Approval) -> FakeCall | None:
        """The call that a question in doubt is about, if it has happened; None if it has not."""
        number, _, run = _place(question)
        return self.fakes.made(question.task_id, number, run)

    # inside

    async def _step(self) -> None:
        await self._rest()
        while self._in_doubt is not None and (asked := self._doubts()):
            await self._in_doubt(self, asked[0])
            await self._rest()

    async def _rest(self) -> None:
        life = self._running()
        still, seen = 0, -1
        for _ in range(_MOST_ROUNDS):
            life.refuse_failed()
            still = still + 1 if life.points.moved == seen else 0
            seen = life.points.moved
            if still == _STILL:
                return
            await asyncio.sleep(0)
        raise UsageError("the agents do not come to rest", hint="one of them begins turn after turn")

    def _doubts(self) -> list[Approval]:
        """The questions about calls that were begun and may have happened."""
        asked = [item for item in self.approvals() if item.key.startswith(_EFFECT_KEY)]
        effects = self.kernel.snapshot().effects if asked else {}
        return [item for item in asked if effects[item.task_id][_place(item)[0]].in_doubt]


async def _joined(kernel: Scheduler, task_id: str) -> LoopResult:
    result: LoopResult = await kernel.join(task_id)
    return result


def _place(question: Approval) -> tuple[int, int, int]:
    """The number of the call that a question of the kernel is about, the turn, and the run.

    Raises:
        UsageError: it is about none.
    """
    parts = question.key.removeprefix(_EFFECT_KEY).split(".")
    if not question.key.startswith(_EFFECT_KEY) or len(parts) < 3:
        raise UsageError(f"{question.key!r} is no question about a call", hint="it is one of a program")
    return int(parts[0]), int(parts[1]), int(parts[2])
