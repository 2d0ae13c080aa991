"""The process in which a kernel under test lives: started, killed, and started again in the same world."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeAlias, TypeVar

from kernelckpt import KernelEvent, MemoryStorage, Scheduler
from kernelckpt.errors import UsageError
from kernelckpt.testing.agent_fakes import FakeCall, Fakes, UnansweredError, tools_for
from kernelckpt.testing.agent_life import Life, Points
from kernelckpt.testing.agent_timers import TimerCount
from kernelckpt.testing.clock import ManualClock
from kernelckpt.testing.sim_process import SimKilledError

T = TypeVar("T")

Programs: TypeAlias = Mapping[str, Any]
"""Programs by name, as a scheduler takes them."""


class AgentProcess:
    """What `AgentHarness` is made of: one life of a kernel after another."""

    def __init__(
        self,
        programs: Programs | Callable[[], Programs],
        *,
        fakes: Mapping[str, Any] | None,
        tools: Sequence[Any],
        deps: Any,
        clock: ManualClock | None,
        run_id: str,
        settings: Mapping[str, Any],
    ) -> None:
        """See `AgentHarness`."""
        self.clock = clock or ManualClock()
        self.fakes = Fakes(fakes or {})
        self.events: list[KernelEvent] = []
        self.deps = deps
        self.lives = 0
        self.timers = TimerCount(self.clock.wall_ms)
        self._programs = programs
        self._tools = tools_for(tools, fakes or {})
        self._run_id = run_id
        self._settings = settings
        self._storage = MemoryStorage()
        self._life: Life | None = None

    # the process

    async def __aenter__(self) -> Self:
        await self.restart()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        life = self._life
        self._life = None
        if life is not None:
            if value is not None:
                life.points.die()
            await (life.ended() if life.is_dead else life.stop())

    @property
    def is_entered(self) -> bool:
        """Whether it was entered and not left since."""
        return self._life is not None

    async def restart(self) -> None:
        """Start the process: the first time, or after `crash`, as the same program is started again.

        Raises:
            UsageError: it runs.
        """
        if self._life is not None and not self._life.is_dead:
            raise UsageError("the process runs", hint="await harness.crash() first")
        points = self._next_points()
        life = Life(self._storage, self.clock, points, timers=self.timers, scheduler=self._scheduler)
        life.kernel.call_tools_by(partial(self._call, life))
        self._life = life
        self.lives += 1
        try:
            await life.start()
        except SimKilledError:
            await life.ended()
            raise
        if self._listens:
            life.kernel.start_soon(self._listen, life.kernel)

    async def crash(self) -> None:
        """End the process as `kill -9` does: what was not durable is gone, nothing is tidied up.

        What is cut off is ended at once; what its `finally` blocks do to the kernel, to the storage or to the
        fakes is ignored.

        Raises:
            UsageError: it does not run.
        """
        life = self._running()
        life.points.die()
        await life.ended()

    @property
    def kernel(self) -> Scheduler:
        """The kernel of this life.

        Raises:
            UsageError: the process does not run.
        """
        return self._running().kernel

    # inside

    _listens = True
    """Whether what happens is noted in `events`."""

    def _next_points(self) -> Points:
        return Points()

    async def _outlive(self, call: Callable[[], Awaitable[T]]) -> T:
        return await call()

    def _running(self) -> Life:
        if self._life is None:
            raise UsageError("the process was not started", hint="use it within `async with`")
        if self._life.is_dead:
            self._life.refuse_unkilled()
            raise UsageError("the process is dead", hint="await harness.restart()")
        return self._life

    def _scheduler(self, **given: Any) -> Scheduler:
        programs = self._programs() if callable(self._programs) else self._programs
        run_id, tools = self._run_id, self._tools
        return Scheduler(programs, run_id=run_id, tools=tools, deps=self.deps, **self._settings, **given)

    async def _listen(self, kernel: Scheduler) -> None:
        async for event in kernel.events():
            self.events.append(event)

    async def _call(self, life: Life, tool: Any, call: Any, effect: Any) -> Any:
        """Make a call in place of the tool."""
        (args, kwargs), points = call.arguments, life.points
        made = FakeCall(
            tool.name, args, kwargs, effect.token, call.task_id, call.number, effect.runs, effect.policy.value
        )
        points.reach(f"in {made.name}, before it is done")
        self.fakes.calls.append(made)
        try:
            value = await self.fakes.answer(made)
        except UnansweredError as error:
            life.fail(error)
            raise SimKilledError from error
        except Exception as error:
            made.error = error
            points.reach(f"in {made.name}, after it has raised")
            raise
        if points.is_dead:
            raise SimKilledError
        made.value, made.done = value, True
        points.reach(f"in {made.name}, after it is done")
        await asyncio.sleep(0)
        points.reach(f"at the end of {made.name}")
        return value
