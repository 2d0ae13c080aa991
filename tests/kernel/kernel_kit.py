"""What the tests of the kernel share: hooks that record, hold back and fail; small programs; restarts."""

import asyncio
from types import SimpleNamespace

import anyio

from kernelckpt import Hook, Scheduler
from kernelckpt.abc import Append, Put
from kernelckpt.codec.record import encode_record


class Recorder(Hook):
    """Keeps what commits say, as a checkpoint would; given a saved state, restores it on start.

    Attributes:
        commits: every commit of this process.
        order: which points of the hook were called, in order.
    """

    def __init__(self, saved=None, *, downtime_ms=None, notes=()):
        self._saved = saved
        self._downtime_ms = downtime_ms
        self._notes = notes
        self._records = dict(saved.records) if saved else {}
        self._streams = {key: list(items) for key, items in saved.streams.items()} if saved else {}
        self.commits = []
        self.order = []
        self.history = []

    async def on_start(self, kernel):
        self.kernel = kernel
        self.order.append("start")
        if self._saved is not None:
            kernel.restore(self._saved, downtime_ms=self._downtime_ms, notes=self._notes)

    def on_commit(self, kernel, commit):
        self.commits.append(commit)
        for change in commit.changes:
            self._apply(change)
        self.history.append(self.saved())

    async def on_stop(self, kernel):
        self.order.append("stop")

    def _apply(self, change):
        if isinstance(change, Put):
            record = change.record
            self._records[change.key] = record if isinstance(record, bytes) else encode_record(record)
        elif isinstance(change, Append):
            stream = self._streams.setdefault(change.key, [])
            assert change.start == len(stream)
            stream.extend(change.items)
        else:
            self._records.pop(change.key, None)
            self._streams.pop(change.key, None)

    def saved(self):
        """The state as of the newest commit, as a hook would hand it to `restore`."""
        streams = {key: tuple(items) for key, items in self._streams.items()}
        return SimpleNamespace(records=dict(self._records), streams=streams)


class Gate(Hook):
    """Holds `durable` back (and `ready`, if told to) until the test lets it pass."""

    def __init__(self, *, held=True, ready_held=False):
        self._durable = anyio.Event()
        self._ready = anyio.Event()
        self.asked = []
        if not held:
            self._durable.set()
        if not ready_held:
            self._ready.set()

    def hold(self):
        self._durable = anyio.Event()

    def open(self):
        self._durable.set()
        self._ready.set()

    async def ready(self):
        await self._ready.wait()

    async def durable(self, commit):
        self.asked.append(commit)
        await self._durable.wait()


class Failing(Hook):
    """Raises from the points named, from the moment it is told to."""

    def __init__(self, *points, error=None):
        self.points = set(points)
        self.error = error or RuntimeError("the disk is gone")

    def _check(self, point):
        if point in self.points:
            raise self.error

    def on_commit(self, kernel, commit):
        self._check("on_commit")

    async def ready(self):
        self._check("ready")

    async def durable(self, commit):
        self._check("durable")

    async def on_stop(self, kernel):
        self._check("on_stop")


class Spy:
    """Counts the calls of functions that stand for the outside world."""

    def __init__(self):
        self.calls = []

    def __call__(self, *arguments):
        self.calls.append(arguments)


async def settle(rounds=60):
    """Let everything happen that can happen without time passing or the test doing something."""
    for _ in range(rounds):
        await asyncio.sleep(0)


def kernel_of(programs=None, *, hooks=(), **settings):
    """A scheduler of the run "run"."""
    return Scheduler(programs or {}, run_id="run", hooks=hooks, **settings)


def texts(kernel, task_id):
    """The texts of a task's history."""
    return [message.text for message in kernel.context(task_id).history]


def kinds(kernel):
    """Each task's state, and what it waits for."""
    return {row.id: (row.state.label(), row.wait.label() if row.wait else None) for row in kernel.tasks}


async def count(turn):
    """Say and count until five."""
    turn.say(f"turn {turn.number}")
    turn.set_state({"count": turn.number})
    if turn.number == 5:
        return turn.complete("counted")
    return None


async def listen(turn):
    """Say what is sent, until told to stop."""
    for message in turn.inbox:
        turn.say(message.text)
        if message.text == "stop":
            return turn.complete("stopped")
    return turn.wait_for_message()


async def once(turn):
    """Complete at once."""
    return turn.complete("done")
