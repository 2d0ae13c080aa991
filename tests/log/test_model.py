"""Any sequence of stages, flushes, bases, prunings, failures and restarts equals a plain dict."""

import asyncio
from unittest import mock

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from log_kit import RUN, Client, ManualClock, ScriptedStorage, state_of

from kernelckpt.abc import Append, Put, Remove
from kernelckpt.errors import StorageFullError, SyncFailedError, UnknownOutcomeError
from kernelckpt.log import LogOptions, Retention, RunLog, list_checkpoints, read_run

NAMES = st.sampled_from(["a", "b", "c", "dé/…"])
DATA = st.binary(max_size=40) | st.binary(min_size=200, max_size=400)
STEPS = st.one_of(
    st.tuples(st.just("put"), NAMES, DATA),
    st.tuples(st.just("remove"), NAMES, st.none()),
    st.tuples(st.just("say"), NAMES, st.lists(DATA, max_size=3)),
    st.tuples(st.just("say"), NAMES, st.lists(DATA, min_size=1, max_size=3)),
    st.tuples(st.just("forget"), NAMES, st.booleans()),
    st.tuples(st.just("flush"), st.none(), st.none()),
    st.tuples(st.just("flush"), st.none(), st.none()),
    st.tuples(st.just("base"), st.none(), st.none()),
    st.tuples(st.just("busy base"), NAMES, DATA),
    st.tuples(st.just("prune"), st.integers(1, 2), st.none()),
    st.tuples(st.just("kill"), st.none(), st.none()),
    st.tuples(st.just("close"), st.none(), st.none()),
    st.tuples(st.just("fail"), st.integers(0, 3), st.none()),
)
FAILURES = [
    ("before", StorageFullError("full")),
    ("before", SyncFailedError("EIO")),
    ("before", UnknownOutcomeError("lost")),
    ("after", UnknownOutcomeError("lost")),
]


class Driver:
    def __init__(self):
        self.storage = ScriptedStorage()
        self.clock = ManualClock()
        self.at = {}
        self.client = None

    async def open(self):
        options = LogOptions(max_consecutive_failures=99, sparse_below=0.9, slice_seconds=0.0)
        log = await RunLog.open(
            self.storage, RUN, holder="test", clock=self.clock, takeover=True, options=options
        )
        self.client = Client(log)
        self.client.at = self.at
        self.client.keeps_states = True

    async def step(self, kind, first, second):
        client = self.client
        if kind == "put":
            client.put(first, second)
        elif kind == "remove":
            client.remove(first)
        elif kind == "say":
            client.say(first, *second)
        elif kind == "forget":
            key = ("history", first, 0)
            anew = [Append(key, 0, (b"anew",))] if second else []
            client.stage(Remove(key), *anew)
        elif kind == "fail":
            where, error = FAILURES[first]
            getattr(self.storage, where).append(error)
        else:
            await getattr(self, kind.replace(" ", "_"))(first, second)

    async def flush(self, *_):
        await self.client.flush()

    async def base(self, *_):
        await self.client.flush()
        await self.client.base()

    async def busy_base(self, name, data):
        await self.client.flush()
        turns = iter(range(1000))

        def change():
            number = next(turns)
            self.client.put(name, data)
            self.client.say("abc"[number % 3], data)
            if number % 3 == 2:
                self.client.remove("abc"[number % 3])
                self.client.stage(Remove(("history", name, 0)), Append(("history", name, 0), 0, (data,)))

        async def flushing():
            for _ in range(20):
                await self.client.flush()
                await anyio.sleep(0)

        async with anyio.create_task_group() as group:
            group.start_soon(flushing)
            await self.client.base(between=change)
        await self.client.flush()

    async def prune(self, bases, _):
        await self.client.flush()
        await self.client.log.prune(Retention(bases=bases))

    async def kill(self, *_):
        durable = await read_run(self.storage, RUN)
        await self.open()
        assert state_of(durable) == self.client.state()

    async def close(self, *_):
        self.at[self.client.log._writer._appender.head + 1] = self.client.state()
        await self.client.log.aclose()
        expected = self.client.state()
        await self.open()
        assert self.client.state() == expected

    async def check(self):
        await self.client.flush()
        assert state_of(await read_run(self.storage, RUN)) == self.client.state()
        for info in await list_checkpoints(self.storage, RUN):
            assert info.damage == ""
            loaded = await read_run(self.storage, RUN, at=info.sequence)
            assert state_of(loaded) == self.at[info.sequence]


async def drive(steps):
    with mock.patch("kernelckpt.log.time_slice.perf_counter", return_value=0.0):  # nobody rests
        driver = Driver()
        await driver.open()
        for step in steps:
            await driver.step(*step)
        await driver.check()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEPS, max_size=40))
def test_the_log_equals_a_dict(steps):
    asyncio.run(drive(steps))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(max_examples=5000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEPS, max_size=80))
def test_the_log_equals_a_dict_for_long(steps):
    asyncio.run(drive(steps))


def test_changes_are_applied_in_the_order_of_their_staging():
    key = ("row", "a", 0)

    async def run():
        driver = Driver()
        await driver.open()
        driver.client.stage(Put(key, b"1"), Remove(key), Put(key, b"2"))
        driver.client.stage(Remove(("row", "b", 0)), Put(("row", "b", 0), b"3"), Remove(("row", "b", 0)))
        await driver.check()

    asyncio.run(run())
