"""Storages before other storages: what they pass on, try again, measure and refuse."""

import inspect
import random

import pytest

from kernelckpt import CheckpointHook, Scheduler, load, verify
from kernelckpt.abc import Claim, EntryInfo, StorageBackend, StorageWrapper
from kernelckpt.errors import (
    FencedError,
    NotFoundError,
    ReadOnlyError,
    StorageUnavailableError,
    UnknownOutcomeError,
)
from kernelckpt.storage import (
    FileStorage,
    MemoryState,
    MemoryStorage,
    MeteredStorage,
    ReadOnlyStorage,
    RetryingStorage,
)
from kernelckpt.testing import StorageConformance

METHODS = sorted(
    name
    for name, method in inspect.getmembers(StorageBackend, inspect.iscoroutinefunction)
    if not name.startswith("_")
)
READING = {
    "aclose",
    "list_blobs",
    "list_entries",
    "list_newest",
    "list_runs",
    "overview",
    "posted",
    "read",
    "read_blob",
}
MADE_ONCE = {"aclose", "append", "finish_blob", "write_part"}
ARGUMENTS = {
    "run_id": "run",
    "holder": "the test",
    "claim": Claim(7, 3),
    "epoch": 1,
    "sequence": 1,
    "entry": [b"12345"],
    "meta": b"678",
    "name": "blob",
    "index": 0,
    "data": b"",
    "message_id": "message",
    "message_ids": ["message"],
}


class Noting(StorageWrapper):
    """Notes which calls arrive; fails those that it is told to, before or after they were made."""

    def __init__(self, storage, failures=(), *, lost=False):
        super().__init__(storage)
        self.arrived = []
        self.failures = list(failures)
        self.lost = lost

    async def pass_on(self, call):
        self.arrived.append(call.method)
        if not self.failures:
            return await call.send()
        if self.lost:
            await call.send()
        raise self.failures.pop(0)


ARGUMENTS_OF = {
    "append": {"sequence": 2},
    "write_part": {"name": "another blob"},
    "finish_blob": {"name": "begun blob"},
}


async def called(storage, method):
    """Call it with all arguments that it must be given."""
    wanted = inspect.signature(getattr(StorageBackend, method)).parameters.values()
    given = ARGUMENTS | ARGUMENTS_OF.get(method, {})
    return await getattr(storage, method)(
        *(given[one.name] for one in wanted if one.default is one.empty and one.name != "self")
    )


async def filled(method=""):
    """A storage that has something to answer each call with."""
    storage = MemoryStorage()
    claim = await storage.acquire("run", "the test")
    await storage.append("run", claim.epoch, 1, [b"12345"], b"678")
    for name in ("blob", "begun blob"):
        await storage.write_part("run", claim.epoch, name, 0, [b"part"])
    await storage.finish_blob("run", claim.epoch, "blob")
    await storage.post("run", "message", b"data")
    if method == "delete_run":
        await storage.release("run", claim.epoch)
    return storage


class TestWrappedMemoryStorage(StorageConformance):
    @pytest.fixture
    def storage_factory(self):
        state = MemoryState()

        async def open_client():
            return RetryingStorage(MeteredStorage(MemoryStorage(state)))

        return open_client


@pytest.mark.parametrize("method", METHODS)
async def test_each_call_is_passed_on_under_its_name(method):
    noting = Noting(await filled(method))
    await called(StorageWrapper(noting), method)
    assert noting.arrived == [method]


async def test_what_is_said_of_a_storage_is_said_of_the_other_one(tmp_path):
    wrapper = StorageWrapper(FileStorage(tmp_path))
    assert (wrapper.name, wrapper.durable) == (FileStorage(tmp_path).name, True)
    wrapper._storage.notes = ("known once it is open",)
    assert wrapper.notes == ("known once it is open",)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("error", [StorageUnavailableError, UnknownOutcomeError, TimeoutError])
async def test_what_may_be_repeated_is_tried_again(method, error):
    waits = []

    async def sleep(seconds):
        waits.append(seconds)

    noting = Noting(await filled(method), [error("one"), error("two"), error("three")])
    storage = RetryingStorage(noting, tries=4, first=1, longest=3, chance=lambda: 0.5, sleep=sleep)
    if method in MADE_ONCE:
        with pytest.raises(error, match="one"):
            await called(storage, method)
        assert (noting.arrived, waits) == ([method], [])
    else:
        await called(storage, method)
        assert (noting.arrived, waits) == ([method] * 4, [0.5, 1.0, 1.5])


async def test_the_last_try_says_what_is_wrong():
    async def sleep(seconds):
        pass

    noting = Noting(MemoryStorage(), [StorageUnavailableError(f"{number}") for number in range(9)])
    with pytest.raises(StorageUnavailableError, match="2"):
        await RetryingStorage(noting, tries=3, sleep=sleep).list_runs()
    assert len(noting.arrived) == 3


async def test_other_errors_are_answers():
    noting = Noting(MemoryStorage())
    with pytest.raises(NotFoundError):
        await RetryingStorage(noting).list_entries("no such run")
    with pytest.raises(FencedError):
        await RetryingStorage(noting).delete("run", 1)
    with pytest.raises(NotFoundError):
        await RetryingStorage(noting).delete_run("no such run")
    assert noting.arrived == ["list_entries", "delete", "delete_run"]


async def test_a_closed_storage_is_not_tried_again():
    noting = Noting(MemoryStorage())
    storage = RetryingStorage(noting)
    await storage.aclose()
    with pytest.raises(StorageUnavailableError, match="closed"):
        await storage.list_runs()
    assert noting.arrived == ["aclose", "list_runs"]


@pytest.mark.parametrize("method", sorted({*METHODS} - MADE_ONCE))
async def test_a_repeated_call_whose_first_answer_was_lost_is_done_once(method):
    async def sleep(seconds):
        pass

    memory = await filled(method)
    noting = Noting(memory, [UnknownOutcomeError("lost")], lost=True)
    answer = await called(RetryingStorage(noting, sleep=sleep), method)
    if method == "acquire":
        assert answer == Claim(3, 1)
        await memory.append("run", answer.epoch, 2, [b""], b"")
    elif method == "acquire_as":
        await memory.append("run", 7, 4, [b""], b"")
    elif method == "delete_run":
        assert await memory.list_runs() == []
    elif method == "post":
        await memory.delete_posted("run", ["message"])
        noting.failures.append(UnknownOutcomeError("lost"))
        assert await RetryingStorage(noting, sleep=sleep).post("run", "message", b"again") is False
        (message,) = await memory.posted("run")
        assert message.data == b"again"


@pytest.mark.parametrize("seed", range(20))
async def test_a_run_of_calls_over_a_server_that_fails_at_random(seed):
    chance = random.Random(seed)

    class Failing(StorageWrapper):
        async def pass_on(self, call):
            answer = None
            if call.method in MADE_ONCE or chance.random() < 0.4:
                return await call.send()
            if chance.random() < 0.5:
                answer = await call.send()
            raise chance.choice([StorageUnavailableError, UnknownOutcomeError, TimeoutError])(f"{answer}")

    async def sleep(seconds):
        assert 0 <= seconds < 5

    storage = RetryingStorage(Failing(MemoryStorage()), tries=100, chance=chance.random, sleep=sleep)
    for number in range(1, 11):
        claim = await storage.acquire("run", "the test")
        assert claim.head == number - 1
        await storage.append("run", claim.epoch, number, [b"%d" % number], b"")
        await storage.post("run", f"message {number}", b"%d" % number)
        await storage.delete("run", claim.epoch, entries=[EntryInfo(claim.epoch, number - 5, 0, b"")])
    assert [entry.sequence for entry in await storage.list_entries("run")] == [6, 7, 8, 9, 10]
    assert [message.data for message in await storage.posted("run")] == [b"%d" % n for n in range(1, 11)]
    await storage.release("run", claim.epoch)
    await storage.delete_run("run")
    assert await storage.list_runs() == []


async def test_each_call_is_measured():
    now = iter(range(100))
    measured = []
    storage = MeteredStorage(await filled(), on_call=measured.append, clock=lambda: next(now))
    await storage.append("run", 1, 2, [b"1234", b"5"], b"67")
    await storage.read("run", 1, 2, offset=1)
    await storage.read_blob("run", "blob")
    await storage.post("run", "second", b"123456789")
    await storage.posted("run")
    await storage.list_entries("run")
    with pytest.raises(FencedError):
        await storage.append("run", 1, 2, [b"again"], b"")
    found = [(one.method, one.seconds, one.written, one.read, one.error) for one in measured]
    assert found == [
        ("append", 1, 7, 0, ""),
        ("read", 1, 0, 4, ""),
        ("read_blob", 1, 0, 4, ""),
        ("post", 1, 9, 0, ""),
        ("posted", 1, 0, 13, ""),
        ("list_entries", 1, 0, 0, ""),
        ("append", 1, 5, 0, "FencedError"),
    ]
    totals = storage.stats["append"]
    assert (totals.calls, totals.failures, totals.seconds, totals.written, totals.read) == (2, 1, 2, 12, 0)
    assert set(storage.stats) == {one.method for one in measured}


@pytest.mark.parametrize("method", METHODS)
async def test_only_what_reads_reaches_a_storage_that_is_only_read(method):
    noting = Noting(await filled(method))
    storage = ReadOnlyStorage(noting)
    if method in READING:
        await called(storage, method)
        assert noting.arrived == [method]
    else:
        with pytest.raises(ReadOnlyError, match=f"{method} is refused"):
            await called(storage, method)
        assert noting.arrived == []


async def test_a_run_can_be_looked_at_through_a_storage_that_is_only_read():
    async def program(turn):
        turn.complete("done")

    def scheduler(storage):
        return Scheduler({"agent": program}, run_id="run", hooks=[CheckpointHook(storage)])

    storage = MemoryStorage()
    async with scheduler(storage) as kernel:
        await kernel.submit("agent", task_id="one")
        await kernel.join("one")
    looking = ReadOnlyStorage(storage)
    assert await load(looking, "run") == await load(storage, "run")
    assert (await verify(looking, "run")).findings == ()
    with pytest.raises(ReadOnlyError):
        async with scheduler(looking):
            pass
