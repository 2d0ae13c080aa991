"""One process of the simulation: a kernel that owns the run, watched at every commit."""

import asyncio

from sim_driver import Driver
from sim_model import Model
from sim_script import programs, tools

from kernelckpt import CheckpointHook, Hook, LogOptions, Retention, Scheduler
from kernelckpt.codec.record import encode_record
from kernelckpt.errors import (
    CheckpointFailedError,
    FencedError,
    RunOwnedError,
    SchedulerStopped,
    StorageError,
)
from kernelckpt.model.task_state import StateKind
from kernelckpt.model.wait import WaitKind
from kernelckpt.testing import SimClock, SimProcess

RUN = "run"
ENDS = (
    SchedulerStopped,
    CheckpointFailedError,
    FencedError,
    RunOwnedError,
    StorageError,
    asyncio.CancelledError,
)
"""How a process may end that is stopped, replaced, or whose storage fails."""


class Owner:
    """A process that owns the run, or tries to.

    Attributes:
        epoch: the owner's number; 0 until it has read the run.
        model: the state that its commits amount to.
        digests: the state's digest after each commit; the first one is that of what was read.
        acknowledged: the newest commit that something outside rests on.
        superseded: the commit at which a later owner went on; None while there is none.
    """

    def __init__(self, world, machine, *, takeover=False, owner_wait=100.0, is_last=False):
        self.world, self.machine = world, machine
        self.name = f"owner-{len(world.owners) + 1}"
        self.process = world.loop.process(self.name)
        self.clock = SimClock(world.loop)
        self.epoch, self.model, self.digests = 0, Model(), [0]
        self.acknowledged, self.superseded = 0, None
        self.is_last = is_last
        self.entered = asyncio.Event()
        self.is_done = False
        self.kernel = self.hook = self.task = None
        self._options = {"takeover": takeover, "owner_wait": owner_wait}
        world.owners.append(self)

    def start(self):
        self.world.note("start", self.name, *self._options.values())
        self.task = self.process.start(self._main())
        return self.task

    @property
    def is_over(self):
        return self.process.state == "killed" or (self.task is not None and self.task.done())

    async def _main(self):
        ended = "done"
        try:
            storage = self.machine.open(self)
            try:
                await self._live(storage)
            finally:
                await storage.aclose()
        except ENDS as error:
            ended = type(error).__name__
        except BaseException as error:
            self.world.fail(f"{self.name} ended by {error!r}")
            raise
        self.world.note("ended", self.name, ended)

    async def _live(self, storage):
        chance = self.world.chance
        self.hook = WatchedHook(
            self,
            storage,
            every=chance.choice([0.5, 5.0, None]),
            max_ahead=chance.choice([0, 3, 1000]),
            retention=Retention(bases=chance.choice([1, 2])),
            log=LogOptions(
                base_min_bytes=chance.choice([500, 5000]),
                base_factor=0.5,
                base_max_entries=30,
                sparse_below=0.9,
            ),
            signals=(),
            stop_signals=(),
            **self._options,
        )
        scheduler = Scheduler(
            programs(self.world),
            run_id=RUN,
            tools=tools(self.world),
            hooks=[self.hook, Watcher(self)],
            clock=self.clock,
            max_concurrency=chance.choice([None, None, 1, 2]),
        )
        async with scheduler as kernel:
            self.kernel = kernel
            self.entered.set()
            self.world.note("entered", self.name)
            driver = Driver(self)
            await driver.run()
            self.is_done = driver.is_all_done()
            self.look()

    # what is looked at

    def committed(self, commit):
        self.model.apply(commit.changes)
        self.digests.append(self.model.digest)
        self.world.note("commit", self.name, commit.number, f"{self.model.digest:032x}")
        chance = self.world.chance.random()
        if chance < 0.02:
            self.world.loop.call_soon(self.look)
        elif chance < 0.05:
            self.check_model()

    def check_model(self):
        for fault in self.model.faults():
            self.world.fail(f"{self.name}: {fault}")

    def look(self):
        """Compare the live kernel with the model, and look whether anything was forgotten to be woken."""
        if self.process.state == "killed" or self.kernel is None:
            return
        world, core = self.world, self.kernel._core
        records = {key: None if item is None else encode_record(item) for key, item in self.kernel.scan()}
        expected = {**self.model.records, **dict.fromkeys(self.model.streams)}
        world.check(records == expected, f"{self.name}: the live records are not those of the commits")
        mine, other = self.kernel.snapshot().to_dict(), self.model.snapshot().to_dict()
        if mine != other:
            differing = {name: (mine[name], other[name]) for name in mine if mine[name] != other.get(name)}
            world.fail(f"{self.name}: a snapshot is not the state of its commit: {differing}")
        for row in core.state.table.live():
            world.check(self._is_waited_for(core, row), f"{self.name}: nothing will ever wake {row}")

    def _is_waited_for(self, core, row):
        """Whether something will wake a task, or does already."""
        if row.deferred_until is not None:
            return core.state.table.next_timer() <= row.deferred_until
        if row.state.kind is StateKind.RUNNING or core.can_run(row):
            return row.id in core._queued or row.id in core.active or self.kernel._runner.stopping
        if row.wait.kind is WaitKind.SUB_AGENT_JOIN:
            pending = core.joining._pending.get(row.id, ())
            return pending and not any(core.state.row(child).state.is_terminal() for child in pending)
        return row.wait.kind is not WaitKind.SIGNAL or row.id in core.signal_waiters


class WatchedHook(CheckpointHook):
    """A checkpoint hook that tells what it has read, and what it acknowledges."""

    def __init__(self, owner, storage, **options):
        super().__init__(storage, **options)
        self._owner = owner

    async def _restore(self, kernel, loaded, restore):
        owner = self._owner
        owner.model = Model(loaded.records, loaded.streams)
        owner.digests = [owner.model.digest]
        owner.epoch = self._log.epoch
        owner.world.loaded(owner)
        await super()._restore(kernel, loaded, restore)
        restored = self._kernel.restored
        if restored is not None and restored.differences:
            owner.world.fail(f"{owner.name}: {restored.differences}")

    async def durable(self, commit):
        await super().durable(commit)
        self._owner.world.acknowledged(self._owner, commit)

    async def checkpoint(self):
        commit = self._owner.kernel.commit_number
        info = await super().checkpoint()
        self._owner.world.acknowledged(self._owner, commit)
        return info


class Watcher(Hook):
    """Follows the commits of an owner."""

    def __init__(self, owner):
        self._owner = owner

    def on_commit(self, kernel, commit):
        if not SimProcess.is_dead():
            self._owner.committed(commit)
