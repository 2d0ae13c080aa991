"""One simulated history: owners that live, die, are frozen and replaced, and in the end finish the work."""

import asyncio
import gc
import itertools
from contextlib import contextmanager
from functools import partial
from unittest import mock

from sim_ending import check_ending
from sim_machine import CALM, WEATHER, FileMachine, ServerMachine
from sim_owner import RUN, Owner
from sim_script import random_script
from sim_world import BrokenError, World

from kernelckpt import verify
from kernelckpt.testing import SimLoop

STEPS = 300_000
"""Rounds of the loop after which a history that has not ended never will."""

FATES = ("kill", "kill", "power", "power", "stop", "cancel", "rival", *["zombie"] * 4)
TEN_YEARS, ONE_HOUR = 10 * 365 * 86_400_000, 3_600_000


def simulate(seed, *, steps=STEPS, verbose=False):
    """Live through one history; the world as it is after it. Odd seeds shuffle the loop's callbacks.

    Raises:
        BrokenError: something happened that must not; its second argument is the world.
    """
    with repeatable(), SimLoop(seed, shuffled=seed % 2 == 1) as loop:
        world = World(loop, random_roots(loop.chance), verbose=verbose)
        history = History(world, steps)
        loop.on_step = history.look
        try:
            loop.run(history.main())
        except BrokenError:
            raise
        except Exception as error:
            world.fail(f"the simulation itself: {error!r}")
            raise BrokenError(world.broken, world) from error
        if world.broken:
            raise BrokenError(world.broken, world)
        return world


def random_roots(chance):
    """What is to be submitted: the script and the limit of turns of each root."""
    return {
        f"r{number}": [random_script(chance), chance.choice([2, 4, 40, 40, 40])]
        for number in range(chance.randint(1, 6))
    }


@contextmanager
def repeatable():
    """Take from the package what is not the seed's: names of files, the processor's time, freed memory."""
    names = (f"tmp.{number:032x}" for number in itertools.count())
    ticks = (tick * 0.0001 for tick in itertools.count())
    gc.disable()
    try:
        with (
            mock.patch("kernelckpt.storage.file.owner.temporary_name", partial(next, names)),
            mock.patch("kernelckpt.storage.file.claim.SEGMENT_BYTES", 3000),
            mock.patch("kernelckpt.log.time_slice.perf_counter", partial(next, ticks)),
            mock.patch("kernelckpt.log.time_slice.thread_time", return_value=0.0),
            mock.patch("kernelckpt.checkpoint.hook.holder", return_value="a process"),
        ):
            yield
    finally:
        gc.enable()


class History:
    """What happens to the owners of one run."""

    def __init__(self, world, steps):
        self.world, self.chance, self.loop = world, world.chance, world.loop
        self.machine = self.chance.choice(
            [FileMachine, FileMachine, FileMachine, ServerMachine, ServerMachine]
        )(world)
        self._limit = steps
        self._alarms = []
        self._beside = []
        self._is_over = False

    def look(self):
        """After each round of the loop: whether something broke, and whether it is time for something."""
        if self._is_over:
            return
        if self.world.broken:
            self._is_over = True
            for owner in self.world.owners:
                owner.process.kill()
            raise BrokenError(self.world.broken, self.world)
        if self.loop.steps > self._limit:
            self.world.fail(f"no end after {self._limit} steps")
        for alarm in [alarm for alarm in self._alarms if alarm[0] <= self.loop.steps]:
            self._alarms.remove(alarm)
            alarm[1].set()

    async def main(self):
        weather = self._begin(self._weather())
        for _ in range(self.chance.randint(1, 6)):
            await self._life(self.chance.choice(FATES))
        weather.cancel()
        self.machine.turn(CALM)
        await self._last_life()
        self.machine.note()
        self._is_over = not self.world.broken

    def _begin(self, coroutine):
        task = asyncio.ensure_future(coroutine)
        self._beside.append(task)
        return task

    async def _weather(self):
        while True:
            self.machine.turn(self.chance.choice(WEATHER) if self.world.counts["weather"] else CALM)
            self.world.note("weather", self.machine.weather)
            await asyncio.sleep(self.chance.expovariate(1 / self.chance.choice([0.1, 1.0, 20.0])))

    async def _life(self, fate):
        """One owner, up to its end, or until it is frozen."""
        owner = Owner(self.world, self.machine, takeover=self._takes_over())
        task = owner.start()
        if self.chance.random() < 0.8:
            await asyncio.wait([task, self._begin(owner.entered.wait())], return_when=asyncio.FIRST_COMPLETED)
        await self._until(task, self.chance.choice([20, 100, 400, 1500]))
        self.world.note("fate", owner.name, fate)
        if self.chance.random() < 0.2:
            self._jump()
        await getattr(self, f"_{fate}")(owner, task)

    def _takes_over(self):
        """Whether the next owner does not wait for those that are still about."""
        return any(not other.is_over for other in self.world.owners) and self.chance.random() < 0.8

    async def _until(self, task, most):
        """Wait for some steps, or for the owner's end."""
        due = asyncio.Event()
        self._alarms.append((self.loop.steps + self.chance.randint(1, most), due))
        waiter = self._begin(due.wait())
        await asyncio.wait([waiter, task], return_when=asyncio.FIRST_COMPLETED)
        waiter.cancel()

    def _jump(self):
        milliseconds = self.chance.choice([-ONE_HOUR, TEN_YEARS])
        self.world.note("jump", milliseconds)
        for owner in self.world.owners:
            owner.clock.jump(milliseconds)

    async def _kill(self, owner, task):
        owner.process.kill()

    async def _power(self, owner, task):
        self.machine.cut_power()

    async def _stop(self, owner, task):
        if owner.kernel is not None:
            owner.kernel.request_stop(self.chance.choice([0.0, 0.1, 10.0]))
        else:
            task.cancel()
        await self._ended(owner, task)

    async def _cancel(self, owner, task):
        for _ in range(self.chance.randint(1, 2)):
            task.cancel()
            await asyncio.sleep(self.chance.choice([0, 0.001, 0.1]))
        await self._ended(owner, task)

    async def _zombie(self, owner, task):
        owner.process.freeze()
        self._begin(self._thaw(owner))

    async def _thaw(self, owner):
        """Go on with a frozen owner at some time, as if nothing had been."""
        for _ in range(self.chance.randint(1, 3)):
            await asyncio.sleep(self.chance.choice([0.001, 0.1, 0.1, 1.0, 100.0]))
        self.world.note("thaw", owner.name)
        owner.process.thaw()

    async def _rival(self, owner, task):
        """Somebody else who wants the run is refused while its owner is alive, or has it after that."""
        rival = Owner(self.world, self.machine, owner_wait=self.chance.choice([0.0, 2.0]))
        await asyncio.wait([rival.start()], timeout=50)
        await self._until(task, 300)
        for one in (owner, rival):
            one.process.kill()

    async def _ended(self, owner, task):
        """Wait for an end that was asked for; it comes, though not before a stalled disk answers."""
        await asyncio.wait([task], timeout=4 * 3600)
        self.world.check(task.done(), f"{owner.name} does not end")

    async def _last_life(self):
        """No faults any more: whoever owns the run comes to its end; others may still be about."""
        self._begin(self._bury_others())
        for _ in range(3):
            takeover = self._takes_over()
            owner = Owner(self.world, self.machine, takeover=takeover, owner_wait=1e6, is_last=True)
            await asyncio.wait([owner.start()])
            if owner.is_done:
                return await self._check_all(owner)
        return self.world.fail("the last owner does not come to its end")

    async def _bury_others(self):
        """A while after the last owner has begun, all others are certainly dead."""
        await asyncio.sleep(self.chance.choice([0.5, 300.0]))
        for other in self.world.owners:
            if not other.is_last and not other.is_over:
                self.world.note("bury", other.name)
                other.process.kill()

    async def _check_all(self, owner):
        check_ending(self.world, owner)
        self.world.check_facts(owner.model)
        report = await verify(self.machine.reader(), RUN, all_checkpoints=self.chance.random() < 0.2)
        for finding in report.findings:
            self.world.fail(f"verify: {finding}")
