"""Runs of the log on a simulated file system, a model beside them, and crashes of all of it."""

from __future__ import annotations

import itertools
import zlib
from contextlib import contextmanager
from unittest import mock

from msgspec import Struct, field

from kernelckpt import KeyRing
from kernelckpt.abc import Append, Put, Remove
from kernelckpt.codec.codec import PLAIN_CODEC, Codec
from kernelckpt.errors import CheckpointFailedError, FencedError, NotFoundError
from kernelckpt.log import LogOptions, Retention, RunLog, read_run
from kernelckpt.storage import FileStorage
from kernelckpt.testing import CrashExplorer, CrashFoundError, ManualClock, SimFileSystem

RUN = "run"
FOLDER = "/machine/state"
OPERATIONS = ("delta", "batch", "base", "prune", "takeover", "restart", "rekey")
"""Each is a method of `Life`. A run that is rekeyed is encrypted from its beginning."""
KEYS = {"one": bytes(range(32)), "two": bytes(range(32, 64))}
GO_ON = ("base", "restart")
"""What is done after the first checkpoint from one in `FULL_EVERY` images."""
FULL_EVERY = 16
SECTORS = (64, 256, 512)
SEGMENT_BYTES = 700
OPTIONS = LogOptions(sparse_below=0.9, max_consecutive_failures=1)


class Names:
    """Temporary names that repeat from run to run, but not after a start of the same machine."""

    def __init__(self):
        self.start(1)

    def start(self, number):
        self._number, self._next = number, itertools.count()

    def __call__(self):
        return f"tmp.{self._number:08x}{next(self._next):024x}"

    def salt(self, size):
        return self().encode()[-size:]


NAMES = Names()


def at_once(work):
    async def run(executor):
        return work()

    return run


class Reader:
    """How runs are written and read: plain, or encrypted with the active one of two keys."""

    codec = PLAIN_CODEC

    @classmethod
    def seal(cls):
        """Encrypt from now on."""
        cls.codec = Codec(KeyRing(KEYS))


@contextmanager
def repeatable(segment_bytes=SEGMENT_BYTES, *, start=1, sealed=False):
    """Storages without threads, in small segments that a few entries fill, with names that repeat."""
    NAMES.start(start)
    codec = Codec(KeyRing(KEYS)) if sealed else PLAIN_CODEC
    with (
        mock.patch.object(Reader, "codec", codec),
        mock.patch("kernelckpt.codec.envelope.os.urandom", NAMES.salt),
        mock.patch("kernelckpt.storage.file.storage.wrap", at_once),
        mock.patch("kernelckpt.storage.file.claim.SEGMENT_BYTES", segment_bytes),
        mock.patch("kernelckpt.storage.file.owner.temporary_name", NAMES),
    ):
        yield


class Hurry(ManualClock):
    """A clock on which nobody waits."""

    async def sleep(self, seconds):
        return


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

    def __init__(self, first=None, point=0):
        """Nothing has happened but that this state was there from a point on."""
        first = first or State()
        self.states = {first.version: first}
        self.staged = [(point, first.version)]
        self.acknowledged = [(point, first.version)]

    def check(self, state, point):
        """Fail unless a crash at this point may leave this state."""
        oldest = max(version for at, version in self.acknowledged if at <= point)
        newest = max(version for at, version in self.staged if at <= point)
        assert oldest <= state.version <= newest, f"version {state.version}, not {oldest} to {newest}"
        assert state == self.states[state.version], f"{state} is not {self.states[state.version]}"


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

    def __init__(self, fs, ops, history, storage, log):
        self.fs, self.ops, self.history, self.storage, self.log = fs, ops, history, storage, log
        self.state = State.of(log.loaded)
        self.commit = 0

    @classmethod
    async def open(cls, fs, history=None, *, ops=None, takeover=False):
        """Become the owner; what was restored counts as acknowledged from here on."""
        ops = ops or fs
        storage = FileStorage(FOLDER, ops=ops)
        log = await RunLog.open(
            storage,
            RUN,
            holder="test",
            clock=Hurry(),
            owner_wait=0.0,
            takeover=takeover,
            options=OPTIONS,
            codec=Reader.codec,
        )
        life = cls(fs, ops, history, storage, log)
        if history is None:
            life.history = History(life.state, fs.point)
        else:
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

    def acknowledge(self):
        self.history.acknowledged.append((self.fs.point, self.state.version))

    async def delta(self):
        self.stage_version()
        await self.log.flush("turn")
        self.acknowledge()
        return self

    async def batch(self):
        """Several versions in one entry: all of them are there, or none is."""
        for _ in range(3):
            self.stage()
        self.stage_version()
        await self.log.flush("turn")
        self.acknowledge()
        return self

    async def base(self):
        """Write a base of a state that is only staged when the base begins."""
        self.stage_version()
        scan = [*self.state.records.items(), *((key, None) for key in self.state.streams)]
        await self.log.write_base(iter(scan))
        self.acknowledge()
        return self

    async def prune(self):
        await self.log.prune(Retention(bases=1))
        return self

    async def rekey(self):
        """Write everything anew under the other key, and remove what was written before."""
        keys = Reader.codec.keys
        keys.use("two" if keys.active == "one" else "one")
        scan = [*self.state.records.items(), *((key, None) for key in self.state.streams)]
        await self.log.write_base(iter(scan), "rekey", copy_items=True)
        await self.log.prune(Retention(bases=1))
        return self

    async def takeover(self):
        """Another process takes the run over; this one goes on for a moment."""
        following = await Life.open(self.fs, self.history, ops=self.ops, takeover=True)
        await self.stray()
        return following

    async def restart(self):
        await self.close()
        return await Life.open(self.fs, self.history, ops=self.ops)

    async def stray(self):
        """Write as an owner that does not know it was replaced: it must not be told that it succeeded."""
        self.stage()
        try:
            await self.log.flush("stray")
        except (FencedError, CheckpointFailedError):
            return
        raise AssertionError("an owner that was replaced was told that its checkpoint is durable")

    async def close(self):
        await self.log.aclose()
        await self.storage.aclose()


async def read_only(fs):
    """What a reader finds that changes nothing."""
    storage = FileStorage(FOLDER, ops=fs)
    try:
        return State.of(await read_run(storage, RUN, codec=Reader.codec))
    except NotFoundError:
        return State()


async def has_entry(fs, epoch, sequence):
    """Whether the newest entry that a reader finds is this one, whole."""
    storage = FileStorage(FOLDER, ops=fs)
    (entry,) = await storage.list_entries(RUN, after=sequence - 1)
    return (entry.epoch, entry.sequence, entry.damage) == (epoch, sequence, "") and bool(
        await storage.read(RUN, epoch, sequence)
    )


class Exploration:
    """Crashes sequences of operations: every image is restored, and the run goes on from there.

    Attributes:
        explorer: what was explored.
        workloads: how many sequences were run.
    """

    def __init__(self, *, segment_bytes=SEGMENT_BYTES, seed=0, **settings):
        """Settings are those of `CrashExplorer`."""
        self.explorer = CrashExplorer(
            self._recover, go_on=self._live_on, sectors=SECTORS, seed=seed, **settings
        )
        self._seed = seed
        self.workloads = 0
        self._segment_bytes = segment_bytes
        self._life = None
        self._states = {}

    def __str__(self):
        return str(self.explorer.counts)

    async def each_workload(self, length):
        """Crash every sequence of up to so many operations, yielding after each of this length.

        What a sequence shares with the last one is not crashed again.
        """
        last = ()
        for operations in itertools.product(OPERATIONS, repeat=length):
            shared = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(operations, last, strict=False))
            await self.workload(operations, sum(1 for _ in shared))
            yield operations
            last = operations

    async def workload(self, operations, same=0):
        """Run operations and crash at every point of those after the first `same` ones."""
        with repeatable(self._segment_bytes, sealed="rekey" in operations):
            fs, history, begun = await self._record(operations)
            points = range(begun[same] if same else 0, fs.point + 1)
            await self.explorer.explore(fs, history.check, points=points, label=" ".join(operations))
        self.workloads += 1

    async def replay(self, operations, trail):
        """Do the crashes of one failure again."""
        with repeatable(self._segment_bytes, sealed="rekey" in operations):
            fs, history, _ = await self._record(operations)
            await self.explorer.replay(fs, history.check, trail, label=" ".join(operations))

    async def _record(self, operations):
        try:
            return await record(operations)
        except Exception as error:
            raise CrashFoundError(" ".join(operations), "", self._seed, error) from error

    async def _recover(self, fs):
        NAMES.start(fs.starts)
        self._life = await Life.open(fs)
        state = self._life.state
        known = self._states.setdefault(state.version, state)  # equal states are kept once
        return known if known == state else state

    async def _live_on(self, fs, state):
        """Write another checkpoint and find it again; from some of the images do more, and restore all."""
        life = await self._life.delta()
        if zlib.crc32(fs.origin.key) % FULL_EVERY:
            assert await has_entry(fs, life.log.epoch, life.log.newest.sequence)
            return life.history.check
        for operation in GO_ON:
            life = await getattr(life, operation)()
        assert await read_only(fs) == life.state
        return life.history.check


async def work(life, operations):
    """Do these operations; returns the last owner, and the point at which each operation began."""
    begun = []
    for operation in operations:
        begun.append(life.fs.point)
        life = await getattr(life, operation)()
    return life, begun


async def record(operations):
    """Do these operations; returns what they wrote on, the model, and the point at which each began."""
    fs = SimFileSystem()
    life, begun = await work(await Life.open(fs, History()), operations)
    await life.close()
    return fs, life.history, begun
