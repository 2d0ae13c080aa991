"""A clock that tests own, storages that fail on request, and a client of the log with a model beside it."""

from __future__ import annotations

import anyio
import anyio.lowlevel
from msgspec import structs

from kernelckpt.abc import Append, Put, Remove
from kernelckpt.storage import MemoryStorage

RUN = "run"


class ManualClock:
    """Time passes only by sleeping, at once."""

    def __init__(self):
        self.now = 1000.0
        self.sleeps = []
        self.on_sleep = None

    def wall_ms(self):
        return 1_700_000_000_000 + int(self.now * 1000)

    def monotonic(self):
        return self.now

    async def sleep(self, seconds):
        self.sleeps.append(seconds)
        self.now += seconds
        if self.on_sleep is not None:
            await self.on_sleep()
        await anyio.lowlevel.checkpoint()


class ScriptedStorage(MemoryStorage):
    """Memory in segments of a few entries, whose appends and blobs fail as told."""

    per_segment = 4

    def __init__(self, state=None):
        super().__init__(state)
        self.before = []
        self.after = []
        self.finish = []
        self.gate = None
        self.appended = []
        self.entered = anyio.Event()
        self.reads = 0

    def _segment(self, info):
        return f"{info.epoch}:{(info.sequence - 1) // self.per_segment}" if self.per_segment else ""

    async def append(self, run_id, epoch, sequence, entry, meta):
        self.appended.append((sequence, b"".join(entry)))
        self.entered.set()
        if self.gate is not None:
            await self.gate.wait()
        error = self.before.pop(0) if self.before else None
        if error is not None:
            raise error
        await super().append(run_id, epoch, sequence, entry, meta)
        error = self.after.pop(0) if self.after else None
        if error is not None:
            raise error

    async def finish_blob(self, run_id, epoch, name):
        if self.finish:
            raise self.finish.pop(0)
        return await super().finish_blob(run_id, epoch, name)

    async def list_entries(self, run_id, *, after=0, limit=1000):
        found = await super().list_entries(run_id, after=after, limit=limit)
        return [structs.replace(info, segment=self._segment(info)) for info in found]

    async def read(self, run_id, epoch, sequence, *, offset=0, length=None):
        self.reads += 1
        return await super().read(run_id, epoch, sequence, offset=offset, length=length)

    def entries(self):
        return self._state.runs[RUN].entries

    def blobs(self):
        return self._state.runs[RUN].blobs

    def damage(self, sequence, index=-30):
        info, body = self.entries()[sequence]
        rotten = bytearray(body)
        rotten[index] ^= 1
        self.entries()[sequence] = (info, bytes(rotten))

    def damage_blob(self, name, index=60):
        rotten = bytearray(self.blobs()[name])
        rotten[index] ^= 1
        self.blobs()[name] = bytes(rotten)


class Client:
    """A client of the log: keeps its live state as a model, and the state as of every checkpoint."""

    def __init__(self, log):
        self.log = log
        self.records = dict(log.loaded.records)
        self.streams = {key: list(items) for key, items in log.loaded.streams.items()}
        self.commit = 0
        self.turn = log.loaded.turn
        self.at = {}
        self.states = {0: self.state()}
        self.keeps_states = False

    def stage(self, *changes):
        for change in changes:
            if isinstance(change, Put):
                self.records[change.key] = change.record
                self.streams.pop(change.key, None)
            elif isinstance(change, Remove):
                self.records.pop(change.key, None)
                self.streams.pop(change.key, None)
            elif change.items:
                stream = self.streams.setdefault(change.key, [])
                stream[change.start :] = change.items
        self.commit += 1
        self.turn += 1
        if self.keeps_states:
            self.states[self.commit] = self.state()
        self.log.stage(changes, self.commit, self.turn)

    def put(self, name, value):
        self.stage(Put(("row", name, 0), value))

    def remove(self, name):
        self.stage(Remove(("row", name, 0)))

    def say(self, name, *items):
        key = ("history", name, 0)
        self.stage(Append(key, len(self.streams.get(key, ())), items))

    async def flush(self, trigger="turn"):
        state = self.state()
        info = await self.log.flush(trigger)
        self.at[info.sequence] = self.states[info.commit] if self.keeps_states else state
        return info

    async def base(self, *, between=None):
        info = await self.log.write_base(self.scan(between))
        state = self.states[info.commit] if self.keeps_states else self.state()
        self.at.setdefault(info.sequence - 1, state)  # a base writes what is staged before its own entry
        self.at[info.sequence] = state
        return info

    def scan(self, between=None):
        for key in list(self.records):
            if key in self.records:
                yield key, self.records[key]
            if between is not None:
                between()
        for key in list(self.streams):
            if key in self.streams:
                yield key, None

    def state(self):
        return dict(self.records), {key: list(items) for key, items in self.streams.items()}


def state_of(loaded):
    return loaded.records, loaded.streams
