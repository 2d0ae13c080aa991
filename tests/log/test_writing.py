"""The writer: group commit, failures restated, answers lost, fencing, cancellation."""

import asyncio

import anyio
import pytest
from log_kit import RUN, ScriptedStorage, state_of

from kernelckpt.abc import Append, Put, Remove
from kernelckpt.errors import (
    CheckpointFailedError,
    FencedError,
    StorageError,
    StorageFullError,
    StorageUnavailableError,
    SyncFailedError,
    UnknownOutcomeError,
    UsageError,
)
from kernelckpt.log import LogOptions, container_writer, read_run


async def test_what_is_staged_while_an_entry_is_written_goes_into_the_next_one(client, storage):
    storage.gate = anyio.Event()
    async with anyio.create_task_group() as group:
        group.start_soon(client.log.run)
        client.put("a", b"0")
        client.log.request_flush("turn")
        await storage.entered.wait()
        for number in range(1, 51):
            client.put(f"a{number}", b"%d" % number)
            client.say("a", b"%d" % number)
            client.log.request_flush("turn")
        assert client.log.durable_commit == 0
        assert client.log.pending_changes == 51
        storage.gate.set()
        await client.log.wait_durable(client.commit)
        assert [sequence for sequence, _ in storage.appended] == [1, 2]
        assert state_of(await read_run(storage, RUN)) == client.state()
        await client.log.aclose()


async def test_waiters_share_one_append(client, storage):
    woken = []

    async def wait(commit):
        await client.log.wait_durable(commit)
        woken.append(commit)

    async with anyio.create_task_group() as group:
        group.start_soon(client.log.run)
        for number in range(20):
            client.put(f"a{number}", b"x")
            group.start_soon(wait, client.commit)
        await client.log.wait_durable(20)
        await client.log.aclose()
    assert sorted(woken) == list(range(1, 21))
    assert len(storage.appended) == 1


async def test_the_writer_rests_when_it_is_asked_with_nothing_staged(client, storage, monkeypatch):
    loop = asyncio.get_running_loop()
    begun = []
    call_soon = loop.call_soon
    async with anyio.create_task_group() as group:
        group.start_soon(client.log.run)
        client.put("a", b"1")
        await client.log.wait_durable(client.commit)
        client.log.request_flush("turn")
        await asyncio.sleep(0)
        monkeypatch.setattr(loop, "call_soon", lambda *a, **k: begun.append(a) or call_soon(*a, **k))
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(begun) < 110, "nobody but this test asks for the loop"
        monkeypatch.undo()
        client.put("a", b"2")
        client.log.request_flush("signal")
        await client.log.wait_durable(client.commit)
        assert client.log.newest.trigger == "signal"
        await client.log.aclose()
    assert len(storage.appended) == 2


async def test_waiting_without_the_background_writer_writes(client, storage):
    client.put("a", b"1")
    await client.log.wait_durable(1)
    assert client.log.durable_commit == 1
    assert len(storage.appended) == 1


@pytest.mark.parametrize("error", [StorageFullError("full"), SyncFailedError("EIO"), StorageError("odd")])
async def test_what_failed_is_restated_with_what_came_meanwhile(reopen, storage, clock, error):
    told = []
    client = await reopen(on_failure=lambda failure, consecutive: told.append((failure, consecutive)))
    client.put("a", b"1")
    client.put("b", b"1")
    client.say("a", b"0", b"1")
    client.say("c", b"0")
    client.say("d", b"0")
    storage.before = [error, error]

    async def meanwhile():
        if len(clock.sleeps) == 1:
            client.put("a", b"2")
            client.say("a", b"2")
            client.remove("b")
            client.stage(Remove(("history", "c", 0)), Append(("history", "c", 0), 0, (b"new",)))
            client.stage(Remove(("history", "d", 0)))

    clock.on_sleep = meanwhile
    info = await client.log.flush("turn")
    assert told == [(error, 1), (error, 2)]
    assert clock.sleeps == [0.05, 0.1]
    assert client.log.durable_commit == client.commit
    assert (info.sequence, info.commit) == (1, client.commit)
    assert state_of(await read_run(storage, RUN)) == client.state()
    assert client.log.stats.failures == 2
    assert client.log.stats.consecutive_failures == 0
    assert client.log.base_is_due() is isinstance(error, SyncFailedError)
    again = await reopen()
    assert again.state() == client.state()


async def test_too_many_failures_end_the_log(reopen, storage):
    client = await reopen(options=LogOptions(max_consecutive_failures=2))
    storage.before = [StorageFullError("disk full", hint="make room")] * 9
    client.put("a", b"1")
    with pytest.raises(CheckpointFailedError, match=r"3 checkpoints failed in a row.*disk full.*make room"):
        await client.log.flush("turn")
    storage.before = []
    with pytest.raises(CheckpointFailedError):
        await client.log.wait_durable(1)
    with pytest.raises(CheckpointFailedError):
        client.put("a", b"2")
    assert client.log.durable_commit == 0
    await client.log.aclose()
    assert (await read_run(storage, RUN)).sequence == 0


async def test_a_storage_that_is_away_for_half_a_minute_is_waited_for(client, storage, clock):
    storage.before = [StorageUnavailableError("connection refused")] * 12
    client.put("a", b"1")
    await client.log.flush("turn")
    assert 30 < sum(clock.sleeps) < 35
    assert state_of(await read_run(storage, RUN)) == client.state()


async def test_a_failure_reaches_everyone_who_waits(client, storage):
    storage.before = [StorageFullError("full")] * 99
    failed = []

    async def wait(commit):
        try:
            await client.log.wait_durable(commit)
        except CheckpointFailedError:
            failed.append(commit)

    with pytest.raises(ExceptionGroup) as caught:
        async with anyio.create_task_group() as group:
            for number in range(3):
                client.put(f"a{number}", b"x")
                group.start_soon(wait, client.commit)
            client.log.request_flush("turn")
            await client.log.run()
    assert caught.group_contains(CheckpointFailedError)
    assert failed == [1, 2, 3]
    assert isinstance(client.log.failure, CheckpointFailedError)


async def test_an_unexpected_exception_of_the_storage_ends_the_log(client, storage):
    storage.before = [ZeroDivisionError("bug")]
    client.put("a", b"1")
    with pytest.raises(CheckpointFailedError, match="ZeroDivisionError"):
        await client.log.flush("turn")


async def test_a_record_that_cannot_be_encoded_ends_the_log(reopen):
    def refuse(record):
        raise ValueError("no such luck")

    client = await reopen(encode=refuse)
    client.log.stage([Put(("row", "a", 0), LogOptions())], 1, 1)
    with pytest.raises(CheckpointFailedError, match="no such luck"):
        await client.log.flush("turn")


async def test_a_stale_owner_is_never_acknowledged(client, reopen, other_client, storage):
    client.put("a", b"1")
    await client.flush()
    other = await reopen()
    client.put("a", b"2")
    with pytest.raises(FencedError):
        await client.log.flush("turn")
    with pytest.raises(FencedError):
        await client.log.wait_durable(2)
    assert client.log.durable_commit == 1
    assert isinstance(client.log.failure, FencedError)
    other.put("a", b"3")
    await other.flush()
    with pytest.raises(FencedError):
        await client.log.write_base(iter(()))
    with pytest.raises(FencedError):
        client.put("a", b"4")
    assert (await read_run(storage, RUN)).records == {("row", "a", 0): b"3"}


@pytest.mark.parametrize("happened", [True, False])
async def test_a_lost_answer_is_resolved_by_reading_back(client, storage, happened):
    client.put("a", b"1")
    client.say("a", b"x")
    if happened:
        storage.after = [UnknownOutcomeError("connection lost")]
    else:
        storage.before = [UnknownOutcomeError("connection lost")]
    info = await client.log.flush("turn")
    assert info.sequence == 1
    assert len(storage.entries()) == 1
    assert client.log.stats.failures == (0 if happened else 1)
    client.say("a", b"y")
    await client.log.flush("turn")
    assert state_of(await read_run(storage, RUN)) == client.state()


async def test_a_lost_append_that_arrives_late_is_recognised(client, storage, clock):
    client.put("a", b"1")
    storage.before = [UnknownOutcomeError("connection lost")]

    async def arrive():
        (sequence, body), meta = storage.appended[0], late[0]
        await ScriptedStorage.__mro__[1].append(storage, RUN, client.log.epoch, sequence, [body], meta)
        client.put("b", b"meanwhile")

    late = []
    append = storage.append

    async def remember(run_id, epoch, sequence, entry, meta):
        late.append(meta)
        await append(run_id, epoch, sequence, entry, meta)

    storage.append = remember
    clock.on_sleep = arrive
    await client.log.flush("turn")
    assert client.log.durable_commit == 1
    await client.log.flush("turn")
    assert sorted(storage.entries()) == [1, 2]
    assert state_of(await read_run(storage, RUN)) == client.state()


async def test_a_foreign_entry_at_the_number_in_doubt_is_a_fence(client, storage):
    client.put("a", b"1")

    async def foreign(run_id, epoch, sequence, entry, meta):
        await ScriptedStorage.append(storage, run_id, epoch, sequence, [b"foreign"], b"meta")
        raise UnknownOutcomeError("connection lost")

    storage.append = foreign
    with pytest.raises(FencedError, match="another owner"):
        await client.log.flush("turn")


async def test_cancelling_the_writer_does_not_tear_an_append(client, storage):
    storage.gate = anyio.Event()
    client.put("a", b"1")
    async with anyio.create_task_group() as group:
        group.start_soon(client.log.run)
        client.log.request_flush("turn")
        await storage.entered.wait()
        group.cancel_scope.cancel()
        storage.gate.set()
    assert client.log.durable_commit == 1
    client.put("a", b"2")
    await client.log.aclose()
    assert state_of(await read_run(storage, RUN)) == client.state()


@pytest.mark.parametrize("arrives", [True, False])
async def test_an_append_that_never_answers_is_settled_later(reopen, storage, arrives):
    client = await reopen(options=LogOptions(append_seconds=0.01))
    client.put("a", b"1")
    client.say("a", b"x")
    append = ScriptedStorage.append

    async def hang(run_id, epoch, sequence, entry, meta):
        if arrives:
            await append(storage, run_id, epoch, sequence, entry, meta)
        storage.append = lambda *args: append(storage, *args)
        await anyio.sleep_forever()

    storage.append = hang
    await client.log.flush("turn")
    assert sorted(storage.entries()) == [1]
    assert state_of(await read_run(storage, RUN)) == client.state()


async def test_a_writer_cancelled_during_a_pause_loses_nothing(client, storage, clock):
    storage.before = [StorageFullError("full")]
    client.put("a", b"1")
    client.say("a", b"x")
    with anyio.CancelScope() as scope:

        async def cancel():
            client.put("a", b"2")
            client.say("a", b"y")
            scope.cancel()

        clock.on_sleep = cancel
        await client.log.flush("turn")
    assert client.log.durable_commit == 0
    clock.on_sleep = None
    await client.log.flush("turn")
    assert state_of(await read_run(storage, RUN)) == client.state()
    assert client.log.durable_commit == client.commit


async def test_a_raw_task_cancelled_within_an_append_is_settled(client, storage):
    import asyncio

    storage.gate = anyio.Event()
    client.put("a", b"1")
    task = asyncio.create_task(client.log.flush("turn"))
    await storage.entered.wait()
    client.put("b", b"2")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    storage.gate = None
    await client.log.flush("turn")
    assert client.log.durable_commit == 2
    assert state_of(await read_run(storage, RUN)) == client.state()


async def test_a_raw_task_cancelled_when_its_append_has_happened_is_settled(client, storage):
    import asyncio

    happened, append = anyio.Event(), storage.append

    async def append_and_say_nothing(*arguments):
        await append(*arguments)
        happened.set()
        await anyio.sleep_forever()

    storage.append = append_and_say_nothing
    client.put("a", b"1")
    task = asyncio.create_task(client.log.flush("turn"))
    await happened.wait()
    client.put("b", b"2")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    storage.append = append
    assert (await client.log.flush("turn")).sequence == 2
    assert client.log.durable_commit == 2
    assert state_of(await read_run(storage, RUN)) == client.state()


async def test_large_batches_are_encoded_in_slices(client):
    turns = 0

    async def count():
        nonlocal turns
        while True:
            turns += 1
            await anyio.sleep(0)

    client.log.stage([Put(("row", f"t{i}", 0), b"x" * 100) for i in range(50_000)], 1, 1)
    async with anyio.create_task_group() as group:
        group.start_soon(count)
        await client.log.flush("turn")
        group.cancel_scope.cancel()
    assert turns > 20


@pytest.mark.parametrize("size", [1, 60_000, 1024 * 1024])
async def test_what_is_hashed_does_not_give_the_interpreter_away(client, monkeypatch, size):
    hashed = []

    class Spy:
        def __init__(self, digest):
            self._digest = digest

        def update(self, data):
            hashed.append(len(data))
            self._digest.update(data)

        def digest(self):
            return self._digest.digest()

    begin = container_writer.frame_digest
    monkeypatch.setattr(container_writer, "frame_digest", lambda *a, **k: Spy(begin(*a, **k)))
    client.put("a", bytes(size))
    client.say("a", bytes(size))
    await client.flush()
    assert sum(hashed) > 2 * size
    assert max(hashed) < 2048, "hashlib lets other threads in from 2048 bytes on"


async def test_what_many_say_reaches_the_storage_in_few_pieces(client, storage):
    append, pieces = storage.append, []

    async def see_pieces(run_id, epoch, sequence, entry, meta):
        pieces.extend(entry)
        await append(run_id, epoch, sequence, entry, meta)

    storage.append = see_pieces
    for number in range(5000):
        client.say(f"t{number}", b"x" * 1000)
    await client.flush()
    assert len(pieces) < 10
    assert max(map(len, pieces)) < 1_100_000, "none takes long to copy"


async def test_the_cut_is_the_moment_the_batch_was_taken(client, storage):
    rows = [("row", f"t{number}", 0) for number in range(20_000)]
    changed = rows[::100]
    client.stage(*(Put(key, b"0") for key in rows))

    async def change():
        for _, name, _ in changed:
            client.put(name, b"1")
            await anyio.sleep(0)

    async with anyio.create_task_group() as group:
        group.start_soon(change)
        info = await client.log.flush("turn")
    assert info.commit < len(changed), "changes came while it was encoded"
    expected = dict.fromkeys(rows, b"0") | dict.fromkeys(changed[: info.commit - 1], b"1")
    assert (await read_run(storage, RUN, at=1)).records == expected


async def test_the_writer_runs_once(client):
    async with anyio.create_task_group() as group:
        group.start_soon(client.log.run)
        await anyio.sleep(0)
        with pytest.raises(UsageError, match="once"):
            await client.log.run()
        await client.log.aclose()


async def test_statistics(client):
    client.put("a", b"1")
    await client.flush()
    await client.base()
    stats = client.log.stats
    assert (stats.entries, stats.changes, stats.bases) == (2, 1, 1)
    assert stats.bytes_written > 100
    assert stats.base_bytes > 100
    assert stats.append_seconds >= stats.last_append_seconds > 0
    assert stats.longest_slice_seconds > 0
