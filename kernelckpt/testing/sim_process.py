"""Processes of a simulated machine: what runs in one can be frozen, and killed at any instant."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import warnings
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal, Protocol
from weakref import WeakSet

_MOST_AWAITS = 1000
"""So often what a killed process runs may catch its end."""

_process: ContextVar[SimProcess | None] = ContextVar("_process", default=None)


class SimKilledError(BaseException):
    """Raised in what a killed process was at: nothing of it happens any more."""


class ProcessLoop(Protocol):
    """What is needed of the loop."""

    def create_task(self, coro: Coroutine[Any, Any, Any], *, context: contextvars.Context) -> Any:
        """Begin a task."""

    def hold(self, handles: list[asyncio.Handle]) -> None:
        """Take back what a frozen process was not given."""

    def kill_jobs(self, process: SimProcess) -> None:
        """End its calls in executors."""


def process_of(context: contextvars.Context | None = None) -> SimProcess | None:
    """The process that a context, or the running code, belongs to."""
    return _process.get() if context is None else context.get(_process)


class SimProcess:
    """What `start` begins and all that comes of it: tasks, callbacks, calls in executors.

    Attributes:
        name: for people.
        state: whether it runs.
        at_kill: called when it is killed, for what the system does then: to close its files and connections.
    """

    def __init__(self, name: str, loop: ProcessLoop) -> None:
        """A process with nothing in it; `SimLoop.process` makes them."""
        self.name = name
        self.state: Literal["running", "frozen", "killed"] = "running"
        self.at_kill: list[Callable[[], None]] = []
        self._loop = loop
        self._held: list[asyncio.Handle] = []
        self._tasks: WeakSet[asyncio.Task[Any]] = WeakSet()
        self._context = contextvars.copy_context()
        self._context.run(_process.set, self)

    @staticmethod
    def is_dead() -> bool:
        """Whether the running code is what is left of a killed process, and what it does is to be ignored."""
        process = process_of()
        return process is not None and process.state == "killed"

    def start(self, main: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Begin a coroutine in the process. Its task never ends when the process is killed first."""
        task: asyncio.Task[Any] = self._loop.create_task(main, context=self._context.copy())
        return task

    def freeze(self) -> None:
        """Let nothing of it happen any more for now, as SIGSTOP does."""
        if self.state == "running":
            self.state = "frozen"

    def thaw(self) -> None:
        """Let it go on as if nothing had been, as SIGCONT does; for it, timers have been late."""
        if self.state == "frozen":
            self.state = "running"
            held, self._held = self._held, []
            self._loop.hold(held)

    def kill(self) -> None:
        """End it as SIGKILL does: no line of it runs any more, no `finally` of its tasks counts.

        Not from within the process. What Python does to clean up (ending coroutines, cutting off calls) is
        done at once, after `at_kill`; what that code does to the world is to be ignored, see `is_dead`.
        """
        if self.state == "killed":
            return
        self.state = "killed"
        for callback in self.at_kill:
            callback()
        self._loop.kill_jobs(self)
        while alive := sorted((task for task in self._tasks if not task.done()), key=hash):
            for task in alive:  # ending one may begin others
                self._tasks.discard(task)
                self._context.copy().run(_bury, task)
        self._held = []

    def admit(self, task: asyncio.Task[Any]) -> None:
        """Count a task as one of the process."""
        self._tasks.add(task)

    def admits(self, handle: asyncio.Handle) -> bool:
        """Whether a callback of the process may run now; one of a frozen process runs when it goes on."""
        if self.state == "frozen":
            self._held.append(handle)
        return self.state == "running"


def _bury(task: asyncio.Task[Any]) -> None:
    """End what a task ran, so that nobody finds it unfinished; each `await` in a `finally` is ended too."""
    task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001 - it is meant to be pending
    coroutine: Any = task.get_coro()
    with _as_current(task), warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*was never awaited", RuntimeWarning)  # what it was to begin with
        if inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED:
            coroutine.close()
            return
        for _ in range(_MOST_AWAITS):
            try:
                coroutine.throw(SimKilledError())
            except BaseException:  # noqa: BLE001 - it has ended; nobody is left to be told how
                return
        coroutine.close()


@contextmanager
def _as_current(task: asyncio.Task[Any]) -> Iterator[None]:
    """Let a task be the one that runs: anyio's scopes refuse to be left by another."""
    loop = task.get_loop()
    current = asyncio.current_task(loop)
    if current is not None:
        asyncio.tasks._leave_task(loop, current)  # noqa: SLF001 - for those who write loops and tasks
    asyncio.tasks._enter_task(loop, task)  # noqa: SLF001
    try:
        yield
    finally:
        asyncio.tasks._leave_task(loop, task)  # noqa: SLF001
        if current is not None:
            asyncio.tasks._enter_task(loop, current)  # noqa: SLF001
