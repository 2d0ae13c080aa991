"""What the tests of the hook share: a storage that can be held up or broken, and waiting for quiet."""

import asyncio
import hashlib
from contextlib import contextmanager
from pathlib import Path

import anyio

from kernelckpt import CheckpointHook, Scheduler
from kernelckpt.log import list_checkpoints
from kernelckpt.storage import MemoryStorage


async def settled():
    """Return when nothing on the event loop can go on by itself; there must be no threads at work."""
    loop = asyncio.get_running_loop()
    await asyncio.sleep(0)
    while loop._ready:
        await asyncio.sleep(0)


async def pass_time(clock, seconds):
    """Let time pass, and everything happen that comes with it."""
    await clock.advance(seconds)
    await settled()


class GatedStorage:
    """Passes every call on to another storage; appends can be held, and made to fail.

    Attributes:
        begun: appends that were asked for.
        errors: raised by the next appends, one each, instead of appending.
    """

    def __init__(self, storage=None):
        self._storage = storage or MemoryStorage()
        self.begun = 0
        self.errors = []
        self._open = anyio.Event()
        self._open.set()
        self._news = anyio.Event()

    def __getattr__(self, name):
        return getattr(self._storage, name)

    @contextmanager
    def blocked(self):
        """Hold appends; they go on at the end, also of a test that fails: else it would wait for ever."""
        self._open = anyio.Event()
        try:
            yield
        finally:
            self._open.set()

    async def append(self, *arguments):
        self.begun += 1
        await self._open.wait()
        if self.errors:
            raise self.errors.pop(0)
        await self._storage.append(*arguments)
        self._news.set()

    async def appended(self):
        """Return after the next append."""
        self._news = anyio.Event()
        with anyio.fail_after(10):
            await self._news.wait()


def make(storage, programs, *, run_id="run", clock=None, tools=(), max_concurrency=None, **settings):
    """A scheduler with a hook that asks for nothing by itself unless told to."""
    hook = CheckpointHook(storage, **{"every": None, "owner_wait": 0, **settings})
    kernel = Scheduler(
        programs, run_id=run_id, hooks=[hook], clock=clock, tools=tools, max_concurrency=max_concurrency
    )
    return kernel, hook


async def triggers(storage, run_id="run"):
    """What asked for each checkpoint of a run, oldest first."""
    return [info.trigger for info in await list_checkpoints(storage, run_id)]


def digests(folder: Path):
    """Every file below a folder, with what is in it."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


async def count(turn):
    """Say and count until five."""
    turn.say(f"turn {turn.number}")
    turn.set_state({"count": turn.number})
    if turn.number == 5:
        return turn.complete("counted")
    return None


async def listen(turn):
    """Say what is sent, for ever."""
    for message in turn.inbox:
        turn.say(message.text)
    return turn.wait_for_message()
