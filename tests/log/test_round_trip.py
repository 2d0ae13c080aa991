import pytest
from log_kit import RUN, state_of
from msgspec import Struct, msgpack

from kernelckpt.abc import Append, Put, Remove
from kernelckpt.errors import CheckpointFailedError, NotFoundError, RunOwnedError, UsageError
from kernelckpt.log import Retention, RunLog, list_checkpoints, read_run
from kernelckpt.storage import MeteredStorage


class Row(Struct, frozen=True):
    name: str
    spent: int


async def test_what_is_flushed_is_read_back(client, storage):
    client.put("a", b"one")
    client.say("a", b"hello", b"world")
    client.put("b", b"two")
    info = await client.flush("turn")
    loaded = await read_run(storage, RUN)
    assert state_of(loaded) == client.state()
    assert (loaded.sequence, loaded.epoch, loaded.turn) == (1, 1, 3)
    assert loaded.wall_ms == info.wall_ms
    assert (info.sequence, info.kind, info.changes, info.trigger, info.commit) == (1, "delta", 3, "turn", 3)


async def test_structs_are_encoded_when_they_are_written(client, storage):
    client.log.stage([Put(("row", "a", 0), Row("a", 7))], 1, 1)
    await client.log.flush("turn")
    loaded = await read_run(storage, RUN)
    assert msgpack.decode(loaded.records["row", "a", 0], type=Row) == Row("a", 7)


async def test_changes_coalesce_by_key(client, storage):
    for number in range(100):
        client.put("a", b"%d" % number)
        client.say("a", b"m%d" % number)
    client.put("gone", b"x")
    client.remove("gone")
    info = await client.flush()
    assert info.changes == 3
    assert len(storage.appended) == 1
    assert state_of(await read_run(storage, RUN)) == client.state()


async def test_records_are_read_in_the_order_in_which_they_were_set_first(client, storage):
    for key in "abc":
        client.put(key, b"1")
    await client.flush()
    client.put("a", b"2")
    client.remove("b")
    client.put("b", b"2")  # removed and set again in one batch: it is a newcomer
    await client.flush()
    client.remove("a")
    await client.flush()
    client.put("a", b"3")
    await client.flush()
    loaded = await read_run(storage, RUN)
    assert list(loaded.records) == [("row", key, 0) for key in "cba"]


async def test_every_earlier_checkpoint_can_be_read(client, storage):
    for number in range(10):
        client.put("a", b"%d" % number)
        client.say("a", b"m%d" % number)
        await client.flush()
        if number == 5:
            await client.base()
    for sequence, state in client.at.items():
        assert state_of(await read_run(storage, RUN, at=sequence)) == state
    with pytest.raises(NotFoundError, match="no checkpoint 99"):
        await read_run(storage, RUN, at=99)
    with pytest.raises(NotFoundError):
        await read_run(storage, RUN, at=0)


async def test_a_run_goes_on_under_the_next_owner(reopen, storage):
    first = await reopen()
    first.put("a", b"1")
    first.say("a", b"hello")
    await first.flush()
    second = await reopen()
    assert second.log.epoch == 2
    assert second.state() == first.state()
    second.say("a", b"again")
    info = await second.flush()
    assert (info.epoch, info.sequence) == (2, 2)
    third = await reopen()
    assert third.state() == second.state()
    assert third.log.newest.sequence == 2


async def test_an_empty_run_and_one_that_does_not_exist(reopen, storage):
    with pytest.raises(NotFoundError):
        await read_run(storage, RUN)
    client = await reopen()
    loaded = await read_run(storage, RUN)
    assert (loaded.sequence, loaded.records, loaded.wall_ms) == (0, {}, None)
    assert client.log.newest is None
    assert (await client.flush("now")).sequence == 1
    assert (await client.flush("now")).sequence == 1, "nothing new: the newest is given"
    assert state_of(await read_run(storage, RUN)) == ({}, {})


async def test_one_changed_record_among_many_costs_its_bytes(client, storage):
    client.log.stage([Put(("row", f"t{i}", 0), b"x" * 200) for i in range(100_000)], 1, 1)
    await client.log.flush("all")
    client.log.stage([Put(("row", "t5", 0), b"y" * 200)], 2, 2)
    info = await client.log.flush("turn")
    assert info.size < 200 + 150
    loaded = await read_run(storage, RUN)
    assert len(loaded.records) == 100_000
    assert loaded.records["row", "t5", 0] == b"y" * 200


async def test_large_records_and_many_items_round_trip(client, storage):
    client.put("large", bytes(range(256)) * 20_000)
    client.say("large", *(b"%d" % i * 1000 for i in range(1000)))
    client.say("large", b"", b"\xff" * 3_000_000)
    await client.flush()
    await client.base()
    assert state_of(await read_run(storage, RUN)) == client.state()


async def test_a_record_that_is_too_large_ends_the_log(client):
    client.put("a", bytes(64 * 1024 * 1024))
    with pytest.raises(CheckpointFailedError, match="more than"):
        await client.log.flush("turn")
    with pytest.raises(CheckpointFailedError):
        client.put("b", b"small")


async def test_appends_are_idempotent_and_leave_no_gap(client, storage):
    key = ("history", "a", 0)
    client.log.stage([Append(key, 0, (b"0", b"1"))], 1, 1)
    await client.log.flush("turn")
    client.log.stage([Append(key, 1, (b"1", b"2")), Append(key, 0, (b"0",)), Append(key, 3, ())], 2, 1)
    await client.log.flush("turn")
    assert (await read_run(storage, RUN)).streams == {key: [b"0", b"1", b"2"]}
    with pytest.raises(UsageError, match="3 items"):
        client.log.stage([Append(key, 4, (b"4",))], 3, 1)
    with pytest.raises(UsageError):
        await client.log.flush("turn")


async def test_a_removed_stream_begins_anew(client, storage):
    key = ("history", "a", 0)
    client.say("a", b"old", b"older")
    await client.flush()
    client.stage(Remove(key), Append(key, 0, (b"new",)))
    await client.flush()
    assert (await read_run(storage, RUN)).streams == {key: [b"new"]}
    client.stage(Append(key, 1, (b"x",)))
    client.stage(Remove(key))
    await client.flush()
    assert (await read_run(storage, RUN)).streams == {}


async def test_commits_are_staged_in_order(client):
    client.log.stage([], 5, 1)
    with pytest.raises(UsageError, match="after 5"):
        client.log.stage([], 5, 1)


async def test_commits_without_changes_become_durable_without_an_entry(client, storage):
    client.log.stage([], 1, 1)
    await client.log.wait_durable(1)
    assert storage.appended == []
    with pytest.raises(UsageError, match="not staged"):
        await client.log.wait_durable(2)


async def test_listing_needs_no_bodies(client, storage):
    for number in range(500):
        client.put("a", b"%d" % number)
        await client.flush()
    storage.reads = 0
    infos = await list_checkpoints(storage, RUN)
    assert [info.sequence for info in infos] == list(range(1, 501))
    assert [info.sequence for info in await list_checkpoints(storage, RUN, newest=3)] == [498, 499, 500]
    metered = MeteredStorage(storage)
    await list_checkpoints(metered, RUN, newest=10)
    assert {name: calls.calls for name, calls in metered.stats.items()} == {"overview": 1}
    assert {(info.kind, info.trigger, info.commit, info.damage) for info in infos} == {
        ("delta", "turn", 0, "")
    }
    assert infos[9].turn == 10
    assert storage.reads == 0


async def test_long_runs_are_found_without_listing_all(client, storage, monkeypatch):
    for number in range(3500):
        client.put("a", b"%d" % number)
        client.log.stage([], client.commit + 1, number)
        client.commit += 1
        await client.log.flush("turn")
        if number == 3400:
            await client.base()
    pages = []
    listed = storage.list_entries

    async def counting(run_id, *, after=0, limit=1000):
        found = await listed(run_id, after=after, limit=limit)
        pages.append(len(found))
        return found

    monkeypatch.setattr(storage, "list_entries", counting)
    loaded = await read_run(storage, RUN)
    assert loaded.records == client.records
    assert sum(pages) < 1100


async def test_triggers_are_short(client):
    with pytest.raises(UsageError, match="64"):
        client.log.request_flush("x" * 65)


async def test_the_owner_is_waited_for(reopen, other_client, clock, caplog):
    first = await reopen()
    second = other_client()

    async def release_late():
        if clock.now >= 1010:
            await first.log.aclose()

    clock.on_sleep = release_late
    log = await RunLog.open(second, RUN, holder="second", clock=clock, owner_wait=30.0)
    assert log.epoch == 2
    assert 1010 <= clock.now < 1012
    assert clock.sleeps[:3] == [0.05, 0.1, 0.2]
    told = f"run {RUN!r}: its owner is alive (test); waiting up to 30 s for it to leave"
    assert caplog.messages == [told], "once, however often it is asked"
    await log.aclose()


async def test_the_owner_is_not_waited_for_ever(reopen, other_client, clock):
    await reopen()
    with pytest.raises(RunOwnedError) as caught:
        await RunLog.open(other_client(), RUN, holder="second", clock=clock, owner_wait=5.0)
    assert caught.value.holder == "test"
    assert clock.now == pytest.approx(1005.0)


async def test_closing_writes_what_is_staged_and_lets_others_in(reopen, other_client, storage, clock):
    first = await reopen()
    first.put("a", b"1")
    await first.log.aclose()
    await first.log.aclose()
    log = await RunLog.open(other_client(), RUN, holder="second", clock=clock, owner_wait=0)
    assert log.loaded.records == first.records
    with pytest.raises(UsageError, match="closed"):
        first.put("b", b"2")
    await log.aclose()


def test_retention_keeps_a_base():
    with pytest.raises(UsageError):
        Retention(bases=0)
