"""What the tests of effects share: a world that counts calls, and kernels that die in the midst of one."""

import anyio
from kernel_kit import Recorder, kernel_of

from kernelckpt import NotDone


class World:
    """The other side: what was done there, and under which keys.

    Attributes:
        calls: the arguments of each call.
        keys: the idempotency key of each call that was given one.
        probes: the arguments of each question whether a call happened.
        knows: what a probe is answered; an exception is raised.
    """

    def __init__(self):
        self.calls = []
        self.keys = []
        self.probes = []
        self.knows = NotDone()

    async def pay(self, amount):
        self.calls.append(amount)
        return {"paid": amount}

    def was_paid(self, amount):
        self.probes.append(amount)
        if isinstance(self.knows, Exception):
            raise self.knows
        return self.knows


class Stuck:
    """A function that never comes back from its first call."""

    def __init__(self, world):
        self._world = world
        self.under_way = anyio.Event()

    async def __call__(self, amount):
        self._world.calls.append(amount)
        if len(self._world.calls) == 1:
            self.under_way.set()
            await anyio.sleep_forever()
        return {"paid": amount}


async def run(program, *, hooks=(), **settings):
    """How a task of a program ends."""
    async with kernel_of({"p": program}, hooks=hooks, **settings) as kernel:
        await kernel.submit("p", task_id="t")
        with anyio.fail_after(10):
            return await kernel.join("t")


async def crashed(program, under_way, **settings):
    """The state of a kernel that died when an event was set."""
    recorder = Recorder()
    async with kernel_of({"p": program}, hooks=[recorder], **settings) as kernel:
        await kernel.submit("p", task_id="t")
        with anyio.fail_after(10):
            await under_way.wait()
        saved = recorder.saved()
        await kernel.stop(grace=0)
    return saved


async def restarted(program, saved, **settings):
    """How the task of such a state ends, if nobody is asked."""
    async with kernel_of({"p": program}, hooks=[Recorder(saved)], **settings) as kernel:
        with anyio.fail_after(10):
            return await kernel.join("t")
