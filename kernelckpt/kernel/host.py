"""The life of a kernel: its task group, its places for running tasks, its start and its stop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractContextManager, suppress
from types import TracebackType
from typing import Any, Self

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from kernelckpt.abc import Clock, Commit, RuntimeHook
from kernelckpt.errors import SchedulerStopped, UsageError
from kernelckpt.kernel.argument import milliseconds
from kernelckpt.kernel.calls.performer import CallTool, Durability
from kernelckpt.kernel.calls.tool import Tools
from kernelckpt.kernel.cancellation import was_cancelled_here
from kernelckpt.kernel.core import Core, result_of
from kernelckpt.kernel.error_text import error_text, told_error_text
from kernelckpt.kernel.governance import governing
from kernelckpt.kernel.hook_points import HookPoints
from kernelckpt.kernel.hosted_state import HostedState
from kernelckpt.kernel.program import Programs
from kernelckpt.kernel.runner import Runner
from kernelckpt.kernel.settings import Settings
from kernelckpt.kernel.timers import Timers
from kernelckpt.model.result import LoopResult

_HANDFUL = 64
"""How many activations are begun at a time."""

GRACE = 10.0
"""Seconds that running turns are given when the kernel stops."""


class End:
    """What those who join a task wait for."""

    def __init__(self, result: LoopResult | None = None) -> None:
        self.event = anyio.Event()
        self.result = result


class Host(HostedState):
    """What `Scheduler` is made of: a `KernelHost` that runs what is ready and stops cleanly."""

    def __init__(
        self,
        programs: Programs,
        tools: Tools,
        settings: Settings,
        *,
        hooks: Iterable[RuntimeHook],
        deps: Any,
        clock: Clock,
    ) -> None:
        """See `Scheduler`."""
        core = Core(programs, tools, clock, settings, on_commit=self._on_commit)
        super().__init__(core, settings.run_id, clock)
        self._hooks = HookPoints(hooks, self.halt)
        self._core.is_stopping = self._is_stopping
        self._core.on_ready = self._pump
        self._core.on_ask = self._confirm_soon
        self._core.on_end = self._announce_end
        durability = Durability(self._durable, self._kept, self._hooks.keeps)
        self._runner = Runner(self._core, deps, self._hooks.ready, durability)
        self._timers = Timers(self._core, clock, lambda: self._runner.stopping)
        self._core.on_timer = self._timers.rearm
        self._core.on_interrupt = self._runner.interrupt
        self._max = settings.max_concurrency
        self._group: TaskGroup | None = None
        self._host_task: asyncio.Task[Any] | None = None
        self._watched: anyio.Event | None = None
        self._stopping = anyio.Event()
        self._stopped = anyio.Event()
        self._starting = 0
        self._at_work: set[str] = set()
        self._entered = False
        self._early_stop: float | None = None
        self._confirmed = 0
        self._failure: BaseException | None = None
        self._ends: dict[str, End] = {}
        self._callbacks: list[Callable[[], None]] = []

    def call_tools_by(self, call_tool: CallTool) -> None:
        """Have calls of tools and of probes made by this function, as tests do; before it is entered."""
        self._runner.call_tools_by(call_tool)

    # life

    async def __aenter__(self) -> Self:
        if self._entered:
            raise UsageError("this scheduler was entered before", hint="make a new Scheduler")
        self._entered = True
        self._host_task = asyncio.current_task()
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        try:
            await self._hooks.start(self)
            if self._restored is None:
                governing.begin(self._core)
                self._core.touch_totals()
                self._core.state.commit()
            await self._hooks.open(self)
        except BaseException:
            self._core.contexts.stop()
            self._group.cancel_scope.cancel()
            await self._group.__aexit__(None, None, None)
            raise
        self._open = True
        self.start_soon(self._timers.run)
        if self._core.state.unread:
            self.start_soon(self._core.contexts.run)
        self._pump()
        if self._failure is not None:
            self.halt(self._failure)
        elif self._early_stop is not None:
            self.request_stop(self._early_stop)
        elif self._restored is not None and self._restored.in_doubt:
            await self._confirm_start()
        return self

    async def _confirm_start(self) -> None:
        """Wait until the questions that a restore asks are durable: none is shown that a crash takes back."""
        try:
            with suppress(SchedulerStopped):
                await self._durable(self.commit_number)
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with anyio.CancelScope(shield=True):
                self.request_stop()
                await self._stopped.wait()
        finally:  # whoever cancels this a second time gets no leaked tasks either
            was_cancelled = await self._close_group(value)
        if self._failure is not None and (
            value is None or was_cancelled or isinstance(value, SchedulerStopped)
        ):
            raise self._failure
        if self._failure is not None and value is not None:
            value.add_note(f"the kernel was halted: {error_text(self._failure)}")
        if was_cancelled:
            raise SchedulerStopped("the kernel stopped before its body was done", hint="start it again")

    async def _close_group(self, value: BaseException | None) -> bool:
        """End the background tasks; whether the kernel itself had cancelled the body of its `async with`."""
        assert self._group is not None
        cancelled = value if isinstance(value, asyncio.CancelledError) else None
        self._group.cancel_scope.cancel()
        try:
            swallowed = await self._group.__aexit__(type(cancelled) if cancelled else None, cancelled, None)
        finally:
            for callback in self._callbacks:
                callback()
        return cancelled is not None and bool(swallowed)

    async def stop(self, grace: float = GRACE) -> None:
        """Stop: no turn begins any more, running ones get `grace` seconds, then the hooks stop.

        Not from within a turn: it would wait for itself; call `request_stop` there.

        Raises:
            SchedulerStopped: the kernel was never started.
            InvalidValueError: the grace is not a number of seconds.
        """
        milliseconds(grace, "grace")
        if self._group is None:
            raise SchedulerStopped("the kernel does not run", hint="use it within `async with`")
        self.request_stop(grace)
        await self._stopped.wait()

    def request_stop(self, grace: float | None = None) -> None:
        """Begin to stop, and return at once; asked for while hooks start, it begins after that."""
        if not self._open:
            self._early_stop = GRACE if grace is None else grace
        if not self._open or self._group is None or self._stopping.is_set():
            return
        self._begin_stop()
        self._group.start_soon(self._finish_stop, GRACE if grace is None else grace)

    def halt(self, error: BaseException) -> None:
        """Stop without another output; `error` is raised when the scheduler is left."""
        if self._failure is None:
            self._failure = error
            self.report("halted", error=told_error_text(error))
        if not self._open or self._group is None:
            return
        if not self._stopping.is_set():
            self._begin_stop()
            self._group.start_soon(self._finish_stop, 0.0)
        self._runner.cancel_all()

    def _begin_stop(self) -> None:
        self._runner.stop()
        self._core.contexts.stop()
        self._stopping.set()
        self._core.events.emit("stopping")

    async def _finish_stop(self, grace: float) -> None:
        with anyio.CancelScope(shield=True):
            await self._drain(grace)
            error = await self._hooks.stop(self)
            self._failure = self._failure or error
            self._core.events.close()
            self._stopped.set()
            for end in self._ends.values():
                end.event.set()
            self._tell()
            if (self._callbacks or self._failure is not None) and self._group is not None:
                self._group.cancel_scope.cancel()  # the body may be waiting for something else

    async def _drain(self, grace: float) -> None:
        """Wait for the turns at work; cancel them when the grace is over."""
        if not self._at_work:
            return
        async with anyio.create_task_group() as group:

            async def end_of_grace() -> None:
                await self._clock.sleep(grace)
                self._runner.cancel_all()

            group.start_soon(end_of_grace)
            while self._at_work:
                await self._news()
            group.cancel_scope.cancel()

    async def _news(self) -> None:
        """Wait until something was committed or stopped; several may wait, and look again after it."""
        if self._watched is None:
            self._watched = anyio.Event()
        await self._watched.wait()

    def _tell(self) -> None:
        """End the waits of `_news`."""
        if self._watched is not None:
            self._watched.set()
            self._watched = None

    def _is_stopping(self) -> bool:
        cancelled = (  # both are, when the loop is torn down; a body may also have caught its own
            self._host_task is not None and self._host_task.cancelling() > 0 and was_cancelled_here()
        )
        return cancelled or self._runner.stopping

    # running

    def _pump(self) -> None:
        """Give places to ready tasks, a handful at a time: those that are quick leave theirs to the next."""
        if not self._open or self._group is None:
            return
        while self._starting < _HANDFUL and not self._runner.stopping and not self._full():
            task_id = self._core.pop()
            if task_id is None:
                return
            self._starting += 1
            self._core.active.add(task_id)
            self._group.start_soon(self._activate, task_id)

    def _full(self) -> bool:
        return self._max is not None and len(self._core.active) >= self._max

    def _crowded(self) -> bool:
        return bool(self._core.ready) and self._full()

    async def _activate(self, task_id: str) -> None:
        self._at_work.add(task_id)
        try:
            await checkpoint()  # an eager task factory would begin the turn within the commit that woke it
            self._starting -= 1
            if not self._starting:
                self._pump()
            await self._runner.run(task_id, self._crowded)
        except SchedulerStopped:
            pass
        except Exception as error:  # noqa: BLE001 - a fault of the kernel itself: nothing may go on
            self.halt(error)
        finally:
            self._at_work.discard(task_id)
            self._core.active.discard(task_id)
            if self._core.removal.forget_surplus():
                self._core.state.commit(urgent=False)
            row = self._core.state.table.get(task_id)
            if row is not None and self._core.can_run(row):
                self._core.push(task_id)
            self._pump()
            self._tell()

    # hooks

    def _on_commit(self, commit: Commit) -> None:
        self._hooks.on_commit(self, commit)
        self._tell()

    async def _durable(self, commit: int) -> None:
        await self._hooks.durable(commit)
        self._confirm_up_to(commit)

    def _confirm_up_to(self, commit: int) -> None:
        if self._failure is not None:
            raise SchedulerStopped("the kernel was halted") from self._failure
        self._confirmed = max(self._confirmed, commit)

    async def _kept(self, commit: int) -> None:
        await self._hooks.kept(commit)
        self._confirm_up_to(commit)

    def _confirm_soon(self) -> None:
        """Have the commit that is being made confirmed, so that what it asks is shown."""
        if self._group is not None:
            self._group.start_soon(self._confirm, self.commit_number + 1)

    async def _confirm(self, commit: int, then: Callable[[], None] | None = None) -> None:
        try:
            await checkpoint()  # an eager task factory would begin this within the commit
            with suppress(SchedulerStopped):
                await self._durable(commit)
        finally:
            if then is not None:
                then()

    # what hooks ask of it

    def start_soon(self, function: Callable[..., Awaitable[None]], *args: Any) -> None:
        """Run a coroutine until the kernel ends; what it raises halts the kernel."""
        assert self._group is not None

        async def guarded() -> None:
            try:
                await function(*args)
            except Exception as error:  # noqa: BLE001 - see the contract
                self.halt(error)

        self._group.start_soon(guarded)

    def call_at_end(self, callback: Callable[[], None]) -> None:
        """Call back when the scheduler has been left."""
        self._callbacks.append(callback)

    def _accepting(self) -> AbstractContextManager[None]:
        """What a call from outside is made within: it raises if the kernel takes none."""
        if self._failure is not None:
            raise SchedulerStopped("the kernel was halted") from self._failure
        if not self._open or self._stopping.is_set():
            raise SchedulerStopped("the kernel does not run", hint="use it within `async with`")
        return self._core.redactor.errors()

    def _announce_end(self, task_id: str) -> None:
        end = self._ends.pop(task_id, None)
        if end is not None:
            end.result = result_of(self._core.state.row(task_id))
            end.event.set()
