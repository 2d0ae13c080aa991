"""Runs of the log on a simulated file system, a model beside them, and the search for what a crash breaks."""

from __future__ import annotations

import itertools
import random
from contextlib import contextmanager
from unittest import mock

import pytest
from msgspec import Struct, field

from kernelckpt.abc import Append, Put, Remove
from kernelckpt.errors import CheckpointFailedError, FencedError, KernelCkptError, NotFoundError
from kernelckpt.log import LogOptions, Retention, RunLog, read_run
from kernelckpt.storage import FileStorage
from kernelckpt.testing import ManualClock, SimFileSystem

RUN = "run"
FOLDER = "/machine/state"
OPERATIONS = ("delta", "base", "prune", "takeover", "restart")
SECTOR = 256
SEGMENT_BYTES = 700
GO_ON = ("delta", "base", "restart")
"""What is done after each restore."""
SYNCS = ("fdatasync", "fsync", "fsync_folder")
OPTIONS = LogOptions(sparse_below=0.9, max_consecutive_failures=1)


class BrokenRunError(Exception):
    """A crash lost something or left something that cannot be read."""


@contextmanager
def repeatable(boot, segment_bytes):
    """Storages without threads, in small segments that a few entries fill, with names that repeat.

    `boot` is how often the machine was started: names of one start are not used again by the next.
    """
    numbers = itertools.count()

    def temporary_name():
        return f"tmp.{boot:08x}{next(numbers):024x}"

    def at_once(work):
        async def run(executor):
            return work()

        return run

    with (
        mock.patch("kernelckpt.storage.file.wrap", at_once),
        mock.patch("kernelckpt.storage.file_claim.SEGMENT_BYTES", segment_bytes),
        mock.patch("kernelckpt.storage.file_owner.temporary_name", temporary_name),
    ):
        yield


class State(Struct):
    """What a client of the log holds, field by field."""

    records: dict = field(default_factory=dict)
    streams: dict = field(default_factory=dict)
    turn: int = 0

    @classmethod
    def of(cls, loaded):
        return cls(dict(loaded.records), {k: list(v) for k, v in loaded.streams.items()}, loaded.turn)

    @property
    def version(self):
        return int(self.records.get(("row", "version", 0), b"0"))

    def changed(self, *changes):
        """The state after one more commit."""
        records, streams = dict(self.records), {k: list(v) for k, v in self.streams.items()}
        for change in changes:
            if isinstance(change, Put):
                records[change.key] = change.record
            elif isinstance(change, Remove):
                records.pop(change.key, None)
                streams.pop(change.key, None)
            else:
                streams.setdefault(change.key, []).extend(change.items)
        return State(records, streams, self.turn + 1)


class History:
    """The model: the state at every version, and from which point on each was staged and acknowledged."""

    def __init__(self, first=None):
        first = first or State()
        self.states = {first.version: first}
        self.staged = [(0, first.version)]
        self.acknowledged = [(0, first.version)]

    def check(self, state, point):
        """Fail unless a crash at this point may leave this state."""
        oldest = max(version for at, version in self.acknowledged if at <= point)
        newest = max(version for at, version in self.staged if at <= point)
        assert oldest <= state.version <= newest, f"version {state.version}, not {oldest} to {newest}"
        assert state == self.states[state.version], f"{state} is not {self.states[state.version]}"

    def until(self, point):
        """What had happened at a point."""
        found = History()
        found.states = dict(self.states)
        found.staged = [(at, version) for at, version in self.staged if at <= point]
        found.acknowledged = [(at, version) for at, version in self.acknowledged if at <= point]
        return found


def next_version(state):
    """Two commits, always the same ones after the same state: rows and streams set, changed and removed."""
    version = state.version + 1
    items = (b"said %d" % version, bytes([version]) * 40)
    told, anew = ("history", "told", 0), ("history", f"anew {version % 2}", 0)
    first = [Put(("row", "a", 0), b"row %d" % version * 9)]
    if version % 2 == 0 and told in state.streams:
        first += [Remove(told), Append(told, 0, items)]
    else:
        first.append(Append(told, len(state.streams.get(told, ())), items))
    second = [Append(anew, 0, items[:1]), Remove(("history", f"anew {1 - version % 2}", 0))]
    if version % 3 == 0:
        second.append(Remove(("row", "a", 0)))
    return first, [*second, Put(("row", "version", 0), b"%d" % version)]


class Life:
    """One owner of the run, as a process of the simulated machine has it."""

    def __init__(self, fs, history, storage, log):
        self.fs, self.history, self.storage, self.log = fs, history, storage, log
        self.state = State.of(log.loaded)
        self.commit = 0

    @classmethod
    async def open(cls, fs, history, *, takeover=False):
        """Become the owner; what was restored counts as acknowledged from here on."""
        storage = FileStorage(FOLDER, ops=fs)
        log = await RunLog.open(
            storage,
            RUN,
            holder="test",
            clock=ManualClock(),
            owner_wait=0.0,
            takeover=takeover,
            options=OPTIONS,
        )
        life = cls(fs, history, storage, log)
        history.check(life.state, fs.point)
        history.acknowledged.append((fs.point, life.state.version))
        return life

    def stage(self):
        for changes in next_version(self.state):
            self.state = self.state.changed(*changes)
            self.commit += 1
            self.log.stage(changes, self.commit, self.state.turn)

    def stage_version(self):
        self.stage()
        self.history.states[self.state.version] = self.state
        self.history.staged.append((self.fs.point, self.state.version))

    async def delta(self):
        self.stage_version()
        await self.log.flush("turn")
        self.history.acknowledged.append((self.fs.point, self.state.version))

    async def base(self):
        """Write a base of a state that is only staged when the base begins."""
        self.stage_version()
        scan = [*self.state.records.items(), *((key, None) for key in self.state.streams)]
        await self.log.write_base(iter(scan))
        self.history.acknowledged.append((self.fs.point, self.state.version))

    async def prune(self):
        await self.log.prune(Retention(bases=1))

    async def stray(self):
        """Write as an owner that does not know it was replaced: it must not be told that it succeeded."""
        self.stage()
        with pytest.raises((FencedError, CheckpointFailedError)) as caught:
            await self.log.flush("stray")
        assert isinstance(caught.value, FencedError) or isinstance(caught.value.__cause__, FencedError)

    async def close(self):
        await self.log.aclose()
        await self.storage.aclose()


async def read_only(fs):
    """What a reader finds that changes nothing."""
    storage = FileStorage(FOLDER, ops=fs)
    try:
        return State.of(await read_run(storage, RUN))
    except NotFoundError:
        return State()
    finally:
        await storage.aclose()


async def work(fs, operations, life=None):
    """Do these operations; returns the last owner, and the point at which each operation began."""
    life = life or await Life.open(fs, History())
    begun, replaced = [], []
    for operation in operations:
        begun.append(fs.point)
        if operation == "takeover":
            replaced.append(life)
            life = await Life.open(fs, life.history, takeover=True)
            await replaced[-1].stray()
        elif operation == "restart":
            await life.close()
            life = await Life.open(fs, life.history)
        else:
            await getattr(life, operation)()
    return life, begun


class Counts(Struct):
    """How much was explored; an image that was seen before is compared again, not restored again."""

    workloads: int = 0
    points: int = 0
    images: int = 0
    restored: int = 0
    second_crashes: int = 0

    def __str__(self):
        return (
            f"{self.workloads} workloads, {self.points} crash points, {self.images} images, "
            f"{self.restored} distinct ones restored; {self.second_crashes} recoveries crashed at every point"
        )


class Exploration:
    """Crashes runs at every point into many images, restores each, and fails at the first that is wrong.

    Attributes:
        limit: how many images are taken of a crash point.
        second_limit: how many of a point of a second crash.
        share: how many of the restored images meet a second crash.
        kills: at how many of the points before a sync the processes are killed, and the power is cut later.
        segment_bytes: when a segment is full.
        counts: how much was explored.
    """

    def __init__(self, *, limit, second_limit=0, share=0.0, kills=0.0, segment_bytes=SEGMENT_BYTES, seed=0):
        self.limit, self.second_limit, self.share = limit, second_limit, share
        self.kills = kills
        self.segment_bytes = segment_bytes
        self.counts = Counts()
        self._seed = seed
        self._chance = random.Random(seed)
        self._known = {}

    async def all_workloads(self, length):
        """Every sequence of so many operations; what a sequence shares with the last is not crashed again."""
        last = ()
        for operations in itertools.product(OPERATIONS, repeat=length):
            same = next(
                (at for at, pair in enumerate(zip(operations, last, strict=False)) if len({*pair}) > 1), 0
            )
            await self.workload(operations, same)
            last = operations

    async def workload(self, operations, same=0):
        """Run operations and crash at every point of those after the first `same` ones."""
        label = " ".join(operations)
        with self._naming(label), repeatable(0, self.segment_bytes):
            fs = SimFileSystem()
            life, begun = await work(fs, operations)
            await life.close()
        self.counts.workloads += 1
        first = begun[same] if same else 0
        await self._crash(fs, life.history, first, label, limit=self.limit)
        for point in range(first, fs.point):
            if fs.log[point].call in SYNCS and self._chance.random() < self.kills:
                await self._kill(fs, life.history, point, label)

    async def _crash(self, fs, history, first, label, *, limit, go_on=GO_ON):
        """Take images of every point from `first` on."""
        for point in range(first, fs.point + 1):
            self.counts.points += 1
            for number, image in enumerate(fs.images(point, limit, sector=SECTOR, seed=self._seed)):
                self.counts.images += 1
                where = f"{label}, point {point}, image {number}"
                with self._naming(where):
                    history.check(await self._restored(image, where, go_on), point)

    async def _restored(self, image, where, go_on):
        """What is restored from an image; the first time, the run also goes on from there."""
        key = hash((image.key, go_on))
        if key not in self._known:
            self.counts.restored += 1
            with repeatable(1 if go_on else 2, self.segment_bytes):
                fs = SimFileSystem.from_image(image)
                state = await read_only(fs)
                history = History(state)
                life, _ = await work(fs, go_on, await Life.open(fs, history))
                await life.close()
            self._known[key] = state
            if go_on and self._chance.random() < self.share:
                await self._second(fs, history, 0, where)
        return self._known[key]

    async def _kill(self, fs, history, point, label):
        """Kill the processes at a point, go on, and cut the power: nothing was synced by dying."""
        label += f", killed at {point}"
        with self._naming(label), repeatable(1, self.segment_bytes):
            fs, history = fs.killed(point), history.until(point)
            life, _ = await work(fs, GO_ON, await Life.open(fs, history))
            await life.close()
        await self._second(fs, history, point, label)

    async def _second(self, fs, history, first, label):
        """Crash what was done after a crash, restore, and leave it at that."""
        self.counts.second_crashes += 1
        await self._crash(fs, history, first, label + ", then", limit=self.second_limit, go_on=())

    @contextmanager
    def _naming(self, where):
        try:
            yield
        except (KernelCkptError, AssertionError, pytest.fail.Exception) as error:
            raise BrokenRunError(f"{where}: {type(error).__name__}: {error}") from error
