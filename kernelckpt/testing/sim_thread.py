"""Calls in executors as operations of a simulated loop: real threads that run one at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from threading import Semaphore, Thread
from typing import Any, Protocol

from kernelckpt.testing.sim_process import SimKilledError, SimProcess

_BETWEEN = 1e-9
"""Seconds between two answers of one lane, which come in the order of the questions."""


class TimerLoop(Protocol):
    """What is needed of the loop."""

    def time(self) -> float:
        """Simulated seconds."""

    def call_at(self, when: float, callback: Callable[..., Any], *args: Any) -> Any:
        """Call back at a time."""


class Job:
    """One call, and the process that made it."""

    def __init__(self, call: Callable[[], Any], process: SimProcess | None) -> None:
        self.process = process
        self.future: Future[Any] = Future()
        self._call = call
        self._settle: Callable[[], None] = _nothing

    def run(self) -> None:
        """Make the call; its outcome is told by `settle`."""
        try:
            value = self._call()
        except BaseException as error:  # noqa: BLE001 - whatever it raised is its outcome
            raised = error
            self._settle = lambda: self.future.set_exception(raised)
        else:
            self._settle = lambda: self.future.set_result(value)

    def settle(self) -> None:
        """Tell whoever waits."""
        self._settle()


class _SimThread:
    """A thread that runs while, and only while, somebody is in `step`."""

    def __init__(self) -> None:
        self.job: Job | None = None
        self.is_killed = False
        self._pause: float | None = None
        self._go = Semaphore(0)
        self._back = Semaphore(0)
        self._thread = Thread(target=self._run, daemon=True, name="kernelckpt-sim")
        self._thread.start()

    @property
    def ident(self) -> int | None:
        return self._thread.ident

    def step(self) -> float | None:
        """Let it go on until it lets time pass, so many seconds, or is done: None."""
        self._pause = None
        self._go.release()
        self._back.acquire()
        return self._pause

    def pause(self, seconds: float) -> None:
        """Called in the thread: give the turn back for so long."""
        if not self.is_killed:
            self._pause = seconds
            self._back.release()
            self._go.acquire()
        if self.is_killed:
            raise SimKilledError

    def end(self) -> None:
        self.job = None
        self._go.release()
        self._thread.join()

    def _run(self) -> None:
        self._go.acquire()
        while self.job is not None:
            self.job.run()
            self._back.release()
            self._go.acquire()


class _Lane:
    """The calls of one executor: those that wait, and how many may run at once."""

    def __init__(self, executor: Executor | None) -> None:
        self.waiting: deque[Job] = deque()
        self.free: float = getattr(executor, "_max_workers", float("inf"))
        self.last_answer = 0.0


class SimThreads:
    """All calls in executors of one loop."""

    def __init__(self, loop: TimerLoop, latency: Callable[[], float]) -> None:
        """`latency` gives how long the next call waits to begin, or its caller for the answer."""
        self._loop = loop
        self._latency = latency
        self._lanes: dict[Executor | None, _Lane] = {}
        self._idle: list[_SimThread] = []
        self._busy: list[_SimThread] = []
        self._at_work: _SimThread | None = None

    def submit(self, executor: Executor | None, job: Job) -> None:
        """Begin a call when its executor has a worker for it."""
        lane = self._lanes.setdefault(executor, _Lane(executor))
        lane.waiting.append(job)
        self._start_next(lane)

    def pause(self, seconds: float) -> None:
        """Let time pass in the call that is at work."""
        if self._at_work is not None:
            self._at_work.pause(seconds)

    def kill(self, process: SimProcess) -> None:
        """End the calls of a process where they stand."""
        for thread in [thread for thread in self._busy if thread.job and thread.job.process is process]:
            thread.is_killed = True
            self._step(thread)
            thread.is_killed = False
            self._busy.remove(thread)
            self._idle.append(thread)

    def close(self) -> None:
        """End all threads; calls that were begun are cut off."""
        for thread in self._busy:
            thread.is_killed = True
            self._step(thread)
        for thread in [*self._busy, *self._idle]:
            thread.end()
        self._busy, self._idle, self._lanes = [], [], {}

    def _start_next(self, lane: _Lane) -> None:
        if lane.waiting and lane.free:
            lane.free -= 1
            self._after(self._latency(), self._begin, lane, lane.waiting.popleft())

    def _begin(self, lane: _Lane, job: Job) -> None:
        if not job.future.set_running_or_notify_cancel():
            self._end(lane)
            return
        thread = self._idle.pop() if self._idle else _SimThread()
        thread.job = job
        self._busy.append(thread)
        self._go_on(lane, job, thread)

    def _go_on(self, lane: _Lane, job: Job, thread: _SimThread) -> None:
        pause = self._step(thread)
        if pause is not None:
            self._after(pause, self._go_on, lane, job, thread)
            return
        self._busy.remove(thread)
        self._idle.append(thread)
        lane.last_answer = max(self._loop.time() + self._latency(), lane.last_answer + _BETWEEN)
        self._loop.call_at(lane.last_answer, job.settle)
        self._end(lane)

    def _step(self, thread: _SimThread) -> float | None:
        self._at_work = thread
        try:
            return thread.step()
        finally:
            self._at_work = None

    def _end(self, lane: _Lane) -> None:
        lane.free += 1
        self._start_next(lane)

    def _after(self, seconds: float, call: Callable[..., None], *args: Any) -> None:
        self._loop.call_at(self._loop.time() + seconds, call, *args)


def _nothing() -> None:
    """Nothing to tell yet."""
