"""One life of a kernel under test: its points are numbered, and it can be killed at any of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from anyio import sleep_forever
from anyio.lowlevel import checkpoint
from typing_extensions import override

from kernelckpt import CheckpointHook, Commit, Hook, KernelHost, LogOptions, MemoryStorage, Scheduler
from kernelckpt.abc import Put, StorageCall, StorageWrapper
from kernelckpt.errors import FencedError, UsageError
from kernelckpt.model.effect import Effect
from kernelckpt.testing.agent_timers import TimerCount
from kernelckpt.testing.clock import ManualClock
from kernelckpt.testing.sim_process import SimKilledError

T = TypeVar("T")

_MOST_ROUNDS = 10_000
"""So long what is left of a dead process may take to end."""

_is_upkeep: ContextVar[bool] = ContextVar("_is_upkeep", default=False)
"""Whether what runs is the saver's own and not the agents': it would have time wake somebody for ever."""

_FOR_EVER = 1e9
"""Seconds that writing may hold the loop: to yield as real time goes would change the order of things."""

_WRITES = frozenset({"append", "write_part", "finish_blob", "delete", "delete_posted"})


class Points:
    """Numbers the moments of one life, and says at which of them it ends.

    Attributes:
        labels: what was reached so far.
        moved: how much has happened; those who wait until nothing does look at it.
    """

    def __init__(self, last: int | None = None) -> None:
        """Let it live until point `last`; None: until somebody kills it."""
        self.labels: list[str] = []
        self.moved = 0
        self.is_dead = False
        self.on_death: Callable[[], None] = _nothing
        self._last = last

    def reach(self, label: str) -> None:
        """Count a point.

        Raises:
            SimKilledError: the process ends here, or has ended.
        """
        self.moved += 1
        if self.is_dead:
            raise SimKilledError
        self.labels.append(label)
        if len(self.labels) == self._last:
            self.die()
            raise SimKilledError

    def die(self) -> None:
        """End it: nothing of it reaches the world or the storage any more."""
        self.is_dead = True
        self.on_death()


class MortalClock:
    """The world's clock as a process sees it; a dead one does not wait."""

    def __init__(self, clock: ManualClock, points: Points) -> None:
        """Show the time of a clock."""
        self.wall_ms = clock.wall_ms
        self.monotonic = clock.monotonic
        self._clock = clock
        self._points = points

    async def sleep(self, seconds: float) -> None:
        """Return after so many seconds, or at once."""
        self._points.moved += 1
        if _is_upkeep.get():
            await sleep_forever()
        if self._points.is_dead:
            await checkpoint()
            return
        await self._clock.sleep(seconds)
        self._points.moved += 1


class MortalStorage(StorageWrapper):
    """A client of the world's storage that dies with its process: it may have written, and never says so."""

    def __init__(self, storage: MemoryStorage, points: Points) -> None:
        """Pass calls on."""
        super().__init__(storage)
        self.storage = storage
        self._points = points

    @override
    async def pass_on(self, call: StorageCall[T]) -> T:
        self._points.moved += 1
        if self._points.is_dead:
            raise FencedError("this process is dead")
        answer = await call.send()
        if call.method in _WRITES:
            self._points.reach(f"written: {call.method}")
        return answer


@contextmanager
def _upkeep() -> Iterator[None]:
    token = _is_upkeep.set(True)
    try:
        yield
    finally:
        _is_upkeep.reset(token)


class _Saver(CheckpointHook):
    """Writes what is committed; no bases, which only time would ask for."""

    @override
    async def on_start(self, kernel: KernelHost) -> None:
        with _upkeep():
            await super().on_start(kernel)

    @override
    async def on_open(self, kernel: KernelHost) -> None:
        with _upkeep():
            await super().on_open(kernel)


class _Before(Hook):
    """Counts each commit before anything of it is written."""

    def __init__(self, points: Points, timers: TimerCount) -> None:
        self._points = points
        self._timers = timers

    @override
    async def on_start(self, kernel: KernelHost) -> None:
        self._timers.begin(())

    @override
    def on_commit(self, kernel: KernelHost, commit: Commit) -> None:
        if not self._points.is_dead:  # what is left of a dead one may commit what it likes
            self._timers.see(commit)
            self._points.reach(_label(commit))


class _After(Hook):
    """Counts each acknowledgement that something is durable."""

    def __init__(self, points: Points, timers: TimerCount) -> None:
        self._points = points
        self._timers = timers

    @override
    async def on_start(self, kernel: KernelHost) -> None:
        assert isinstance(kernel, Scheduler), "the harness has made it"
        self._timers.begin(kernel.tasks.scan())

    @override
    async def durable(self, commit: int) -> None:
        self._points.reach("durable")

    @override
    async def kept(self, commit: int) -> None:
        self._points.reach("kept")


def _label(commit: Commit) -> str:
    records = [change.record for change in commit.changes if isinstance(change, Put)]
    effects = [record for record in records if isinstance(record, Effect)]
    if commit.ended_turn:
        return f"commit of a turn of {', '.join(sorted({c.key[1] for c in commit.changes if c.key[1]}))}"
    if effects:
        return "commit: " + ", ".join(f"{effect.name} {effect.status.value}" for effect in effects)
    return f"commit of {', '.join(sorted({change.key[0] for change in commit.changes}))}"


class Life:
    """A process: a kernel over the world's storage, from its start to its stop or its death.

    Attributes:
        kernel: the scheduler.
        points: its points.
    """

    def __init__(
        self,
        storage: MemoryStorage,
        clock: ManualClock,
        points: Points,
        *,
        timers: TimerCount,
        scheduler: Callable[..., Scheduler],
    ) -> None:
        """Describe it; `scheduler` makes a kernel with such `hooks` and such a `clock`."""
        self.points = points
        saver = _Saver(
            MortalStorage(storage, points),
            every=None,
            signals=[],
            stop_signals=[],
            log=LogOptions(slice_seconds=_FOR_EVER),
        )
        hooks = [_Before(points, timers), saver, _After(points, timers)]
        self.kernel = scheduler(hooks=hooks, clock=MortalClock(clock, points))
        self._over = asyncio.Event()
        self._died = asyncio.Event()
        self._failure: BaseException | None = None
        points.on_death = self._end
        self._task: asyncio.Task[None] | None = None

    @property
    def is_dead(self) -> bool:
        """Whether it was killed."""
        return self.points.is_dead

    async def start(self) -> None:
        """Enter the kernel.

        Raises:
            SimKilledError: it was killed meanwhile.
        """
        begun = asyncio.Event()
        self._task = asyncio.ensure_future(self._live(begun))
        await self._first(begun.wait())

    async def do(self, call: Callable[[Scheduler], Awaitable[T]]) -> T:
        """Call the kernel from outside.

        Raises:
            SimKilledError: the process was killed before it answered.
        """
        self.refuse_failed()
        return await self._first(call(self.kernel))

    def fail(self, error: BaseException) -> None:
        """End it for a reason that the test is to hear."""
        self._failure = self._failure or error
        self.points.die()

    def refuse_failed(self) -> None:
        """Raise why the kernel has ended, if it has."""
        self.refuse_unkilled()
        if self.is_dead:
            raise SimKilledError
        if self._task is None or self._task.done():
            raise UsageError("the process has ended", hint="await harness.restart()")

    async def stop(self) -> None:
        """Leave the kernel in order; turns at work are cut off, for nothing lets them go on any more."""
        self.kernel.request_stop(0)
        self._over.set()
        await self.ended()
        self.refuse_unkilled()

    def refuse_unkilled(self) -> None:
        """Raise the error that the kernel has ended with, if it was not killed."""
        if self._failure is not None and not isinstance(self._failure, SimKilledError):
            raise self._failure

    def _end(self) -> None:
        """What happens at the very moment of death."""
        self._died.set()
        self._over.set()
        self.kernel.halt(SimKilledError())

    async def _live(self, begun: asyncio.Event) -> None:
        try:
            async with self.kernel:
                begun.set()
                await self._over.wait()
        except BaseException as error:  # noqa: BLE001 - `refuse_failed` tells it
            self._failure = self._failure or (SimKilledError() if self.is_dead else error)

    async def _first(self, call: Awaitable[T]) -> T:
        """What a call gives, unless the process ends before."""
        asked = asyncio.ensure_future(call)
        died = asyncio.ensure_future(self._died.wait())
        assert self._task is not None, "it was started"
        try:
            await asyncio.wait({asked, died, self._task}, return_when=asyncio.FIRST_COMPLETED)
            if asked.done() and not isinstance(_error_of(asked), SimKilledError) and not self.is_dead:
                return asked.result()
            self.refuse_unkilled()
            raise SimKilledError
        finally:
            for task in (asked, died):
                task.cancel()
            await asyncio.gather(asked, died, return_exceptions=True)

    async def ended(self) -> None:
        """Return when nothing is left of it."""
        assert self._task is not None, "it was started"
        for _ in range(_MOST_ROUNDS):
            if self._task.done():
                return
            await asyncio.sleep(0)
        self._task.cancel()
        raise UsageError("the process does not end", hint="something in it waits that cannot be cancelled")


def _error_of(task: asyncio.Future[Any]) -> BaseException | None:
    return asyncio.CancelledError() if task.cancelled() else task.exception()


def _nothing() -> None:
    """Nobody waits for the death."""
