"""An event loop that owns time and order: one seed, one history."""

from __future__ import annotations

import asyncio
import heapq
import random
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self, TypeVar, TypeVarTuple, Unpack
from unittest import mock

from anyio import CancelScope, to_thread
from anyio._backends._asyncio import CancelScope as AsyncioScope
from typing_extensions import override

from kernelckpt.testing.sim_process import SimProcess, process_of
from kernelckpt.testing.sim_thread import Job, SimThreads

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

Latency = Callable[[random.Random], float]
"""Gives the seconds that the next thing takes."""


def quick(chance: random.Random) -> float:
    """A latency of up to a millisecond."""
    return chance.uniform(0.0, 0.001)


class SimDeadlockError(RuntimeError):
    """Nothing on the loop can ever happen again, but it was not told to stop."""


class SimTask(asyncio.Task[Any]):
    """A task that sets hold in the order of its number, not of its address."""

    def __init__(self, *args: Any, loop: SimLoop, **options: Any) -> None:
        self._number = loop.next_number()
        self.process = process_of(options.get("context"))
        super().__init__(*args, loop=loop, **options)

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return self is other


class SimLoop(asyncio.BaseEventLoop):
    """An asyncio loop without a clock, sockets or threads that run by themselves.

    Time stands still while anything is ready to run, and jumps to the next timer when nothing is. Calls in
    executors (`run_in_executor`, `anyio.to_thread.run_sync`, aiofiles) begin and end after a latency that the
    seed decides, those of an executor with one worker in their order. They never run while the loop does, so
    the same seed gives the same history, whatever the machine does meanwhile.

        with SimLoop(seed=7) as loop:
            loop.run(main())

    The order of callbacks is that of asyncio, first come first served, or with `shuffled` any order among
    those that are ready at a time: asyncio promises the first, and code should rarely rely on it.

    What the code under test takes from elsewhere (`random`, `time`, names of temporary files, the hashes of
    texts) is not the loop's to repeat.

    Attributes:
        chance: the source of everything that the seed decides.
        steps: how often the loop has gone round.
        on_step: called after each round, outside of any task; what it raises leaves `run`.
    """

    _ready: deque[asyncio.Handle]
    _scheduled: list[asyncio.TimerHandle]
    _stopping: bool

    def __init__(self, seed: int | str = 0, *, shuffled: bool = False, latency: Latency = quick) -> None:
        """Stand at time 0.

        Args:
            seed: decides the order of callbacks, if shuffled, and how long calls in executors take.
            shuffled: whether callbacks that are ready at the same time run in any order.
            latency: how long a call in an executor waits to begin, and its caller for the answer.
        """
        super().__init__()
        self.chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self.steps = 0
        self.on_step: Callable[[], None] | None = None
        self._shuffled = shuffled
        self._now = 0.0
        self._numbers = 0
        self._threads = SimThreads(self, lambda: latency(self.chance))
        self.set_task_factory(_sim_task)

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end, then kill frozen processes, and cancel and await all other tasks.

        Raises:
            SimDeadlockError: it waits for what can never come.
        """
        try:
            return self.run_until_complete(main)
        finally:
            self._cancel_rest()

    def process(self, name: str) -> SimProcess:
        """A new process of the simulated machine, with nothing in it yet."""
        return SimProcess(name, self)

    def pause(self, seconds: float) -> None:
        """Let simulated time pass within a call in an executor, and others run meanwhile.

        Anywhere else it does nothing.
        """
        self._threads.pause(seconds)

    def hold(self, handles: list[asyncio.Handle]) -> None:
        """Have callbacks that were held back run next."""
        self._ready.extend(handles)

    def kill_jobs(self, process: SimProcess) -> None:
        """Have nothing run any more of the calls in executors that a killed process had begun."""
        self._threads.kill(process)

    def next_number(self) -> int:
        """1, 2, ..."""
        self._numbers += 1
        return self._numbers

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @override
    def time(self) -> float:
        """Simulated seconds since the loop was made."""
        return self._now

    @override
    def run_forever(self) -> None:
        """Run until stopped; the sets of anyio, and its threads, are this loop's meanwhile."""
        with _owned_by(self):
            super().run_forever()

    @override
    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Run a function later in simulated time; the executor only says how many may run at once."""
        job = Job(lambda: func(*args), process_of())
        self._threads.submit(executor, job)
        return asyncio.wrap_future(job.future, loop=self)

    @override
    def close(self) -> None:
        """Let go of everything."""
        self._threads.close()
        super().close()

    def _write_to_self(self) -> None:
        """Nobody sleeps who would have to be woken."""

    def _run_once(self) -> None:
        """Run what is ready now, in the order asked for."""
        self._take_due()
        handles = list(self._ready)
        self._ready.clear()
        if self._shuffled:
            self.chance.shuffle(handles)
        for handle in handles:
            process = process_of(handle._context)  # type: ignore[attr-defined]  # noqa: SLF001 - loops know it
            if (process is None or process.admits(handle)) and not handle.cancelled():
                handle._run()  # noqa: SLF001 - how loops run what they hold
        self.steps += 1
        if self.on_step is not None:
            self.on_step()

    def _take_due(self) -> None:
        """Move timers that are due to what is ready; first let time pass if nothing is."""
        timers = self._scheduled
        while timers and timers[0].cancelled():
            heapq.heappop(timers)
        if not self._ready and not self._stopping:
            if not timers:
                raise SimDeadlockError("nothing is left to happen, and the loop was not told to stop")
            self._now = max(self._now, timers[0].when())
        while timers and timers[0].when() <= self._now:
            timer = heapq.heappop(timers)
            self._ready.append(timer)

    def _cancel_rest(self) -> None:
        tasks = sorted(asyncio.all_tasks(self), key=hash)
        for process in [task.process for task in tasks if isinstance(task, SimTask) and task.process]:
            if process.state == "frozen":
                process.kill()
        alive = [task for task in tasks if _is_alive(task)]
        for task in alive:
            task.cancel()
        if alive:
            self.run_until_complete(asyncio.gather(*alive, return_exceptions=True))
        self.run_until_complete(self.shutdown_asyncgens())


def _is_alive(task: asyncio.Task[Any]) -> bool:
    return not isinstance(task, SimTask) or task.process is None or task.process.state != "killed"


def _sim_task(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> Any:
    assert isinstance(loop, SimLoop)
    task = SimTask(coro, loop=loop, **options)
    if task.process is not None:
        task.process.admit(task)
    return task


def _same_hash(_: object) -> int:
    return 0


@contextmanager
def _owned_by(loop: SimLoop) -> Iterator[None]:
    """Take what is not the loop's by itself: the order of anyio's sets, and anyio's threads.

    anyio cancels the tasks and scopes of a scope in the order of a set, which goes by address.
    """

    async def run_sync(func: Callable[..., T], *args: Any, **_: Any) -> T:
        with CancelScope(shield=True):
            found: T = await loop.run_in_executor(None, func, *args)
        return found

    ordered = mock.patch.object(AsyncioScope, "__hash__", _same_hash)
    with ordered, mock.patch.object(to_thread, "run_sync", run_sync):
        yield
