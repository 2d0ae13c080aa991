"""Bases: fuzzy scans, references instead of copies, when they pay; and what pruning may remove."""

import anyio
import pytest
from log_kit import RUN, state_of

from kernelckpt.abc import Append, Put, Remove
from kernelckpt.errors import CorruptionError, FencedError, NotFoundError, StorageFullError
from kernelckpt.log import LogOptions, Retention, list_checkpoints, read_run


async def fill(client, turns, name="a", size=100):
    for number in range(turns):
        client.put(name, b"%d" % number)
        client.say(name, b"%s-%d" % (name.encode(), number) + bytes(size))
        await client.flush()


async def test_a_restore_starts_at_the_newest_base(client, reopen, storage):
    await fill(client, 10)
    info = await client.base()
    assert (info.kind, info.sequence, info.changes) == ("base", 11, 0)
    await fill(client, 2)
    loaded = await read_run(storage, RUN)
    assert state_of(loaded) == client.state()
    assert (loaded.base, loaded.deltas) == (11, 2)
    assert (await reopen()).state() == client.state()


async def test_a_base_ends_although_entries_are_added_as_fast_as_they_are_listed(
    client, storage, monkeypatch
):
    await fill(client, 10)
    list_entries, added = storage.list_entries, []

    async def slow(*arguments, **options):
        if len(added) < 20:
            added.append(None)
            await fill(client, 1)
        return await list_entries(*arguments, **options)

    monkeypatch.setattr(storage, "list_entries", slow)
    await client.base()
    assert len(added) < 5


@pytest.mark.parametrize("sorted_at_once", [1, 2, 1000])
async def test_each_entry_is_read_once_however_the_streams_of_a_base_share_them(
    client, storage, monkeypatch, sorted_at_once
):
    monkeypatch.setattr("kernelckpt.log.stream_reader._CHUNK", sorted_at_once)
    for number in range(8):
        for task in "ab" if number % 3 else "ba":
            client.say(task, b"%d" % number)
        await client.flush()
    await client.base()
    storage.reads = 0
    loaded = await read_run(storage, RUN)
    assert state_of(loaded) == client.state()
    assert storage.reads == 9, "that of the base, and those of eight entries with items of two streams"


async def test_history_is_not_copied_into_bases(client, storage):
    await fill(client, 20, size=5000)
    info = await client.base()
    assert info.size < 2000
    (blob,) = storage.blobs().values()
    assert b"a-3" not in blob


async def test_a_base_is_exact_although_the_state_changes_under_the_scan(client, storage):
    for number in range(50):
        client.put(f"t{number}", b"0")
        client.say(f"t{number}", b"first")
    await client.flush()
    steps = iter(range(10_000))

    def change():
        step = next(steps)
        client.put(f"t{(step * 7) % 50}", b"changed %d" % step)
        client.say(f"t{(step * 3) % 50}", b"said %d" % step)
        if step % 5 == 0:
            client.remove(f"t{(step * 11) % 50}")
        if step % 9 == 0:
            key = ("history", f"t{(step * 13) % 50}", 0)
            client.stage(Remove(key), Append(key, 0, (b"anew %d" % step,)))

    async def flushing():
        while True:
            await client.flush()
            await anyio.sleep(0)

    async with anyio.create_task_group() as group:
        group.start_soon(flushing)
        info = await client.base(between=change)
        group.cancel_scope.cancel()
    await client.flush()
    assert state_of(await read_run(storage, RUN)) == client.state()
    assert (await read_run(storage, RUN)).base == info.sequence


async def test_a_stream_begun_anew_during_the_scan_is_read_right(still, reopen, storage):
    client = await reopen(options=LogOptions(slice_seconds=0.0))
    key = ("history", "a", 0)
    client.say("a", *(b"old %d" % i for i in range(5)))
    client.put("b", b"1")
    await client.flush()

    async def begin_anew():
        client.say("a", b"old 5")
        await client.flush()
        client.stage(Remove(key), Append(key, 0, (b"new 0",)))
        await client.flush()

    async with anyio.create_task_group() as group:
        group.start_soon(begin_anew)
        info = await client.log.write_base(iter([(("row", "b", 0), b"1"), (key, None)]))
    await client.flush()
    loaded = await read_run(storage, RUN)
    assert loaded.base == info.sequence
    assert state_of(loaded) == client.state()


async def test_what_is_only_staged_when_a_base_is_scanned_becomes_durable_first(client, storage):
    client.put("a", b"1")
    await client.flush()
    client.put("a", b"2")
    client.say("a", b"x")
    info = await client.base()
    assert client.log.durable_commit == client.commit
    assert info.sequence == 3
    assert state_of(await read_run(storage, RUN, at=3)) == client.state()
    assert (await read_run(storage, RUN, at=1)).records == {("row", "a", 0): b"1"}


async def test_when_a_base_is_due(reopen, storage):
    options = LogOptions(base_min_bytes=2000, base_factor=2.0, base_max_entries=500)
    client = await reopen(options=options)
    assert not client.log.base_is_due()
    while not client.log.base_is_due():
        await fill(client, 1)
    assert 2000 < client.log.stats.bytes_written < 2500
    again = await reopen(options=options)
    assert again.log.base_is_due(), "what was written before counts"
    again.put("large", bytes(10_000))
    await again.flush()
    info = await again.base()
    assert not again.log.base_is_due()
    written = again.log.stats.bytes_written
    while not again.log.base_is_due():
        await fill(again, 1)
    assert again.log.stats.bytes_written - written > 2 * info.size - 600
    last = await reopen(options=LogOptions(base_max_entries=3))
    await fill(last, 1)
    assert last.log.base_is_due(), "by the number of entries"


async def test_bases_come_more_rarely_as_a_history_grows_but_not_without_an_end(reopen):
    client = await reopen(options=LogOptions(base_min_bytes=2000, base_factor=0.0, base_max_entries=10_000))
    between, items = [], []
    for _ in range(11):
        before = client.log.stats.bytes_written
        while not client.log.base_is_due():
            client.say("a", bytes(400))
            await client.flush()
        between.append(client.log.stats.bytes_written - before)
        items.append(400 * len(client.streams["history", "a", 0]))
        await client.base()
    due = [2000, *(min(max(2000, size / 2), 8 * 2000) for size in items[:-1])]
    assert due[1] == 2000 < due[3] < due[5] < due[-1] == 16_000
    for seen, expected in zip(between, due, strict=True):
        assert abs(seen - expected) < 0.1 * expected + 600
    again = await reopen(options=LogOptions(base_min_bytes=2000, base_factor=0.0))
    again.say("a", bytes(12_000))
    await again.flush()
    assert not again.log.base_is_due(), "what the last base refers to is known from its entry"


async def test_a_base_that_fails_harms_nothing(reopen, storage):
    client = await reopen(options=LogOptions(base_max_entries=3))
    await fill(client, 5)
    storage.finish = [StorageFullError("full")]
    assert client.log.base_is_due()
    with pytest.raises(StorageFullError):
        await client.base()
    assert not client.log.base_is_due(), "not before some more entries"
    await fill(client, 20)
    assert client.log.base_is_due()
    assert state_of(await read_run(storage, RUN)) == client.state()
    await client.base()
    assert state_of(await read_run(storage, RUN)) == client.state()


async def test_bases_are_written_one_at_a_time(client, storage):
    await fill(client, 3)
    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(client.base)
    assert [info.kind for info in await list_checkpoints(storage, RUN)].count("base") == 3
    assert state_of(await read_run(storage, RUN)) == client.state()


async def test_pruning_keeps_what_the_kept_bases_need(client, reopen, storage):
    client.say("keeper", b"from the beginning")
    for _ in range(4):
        await fill(client, 10)
        await client.base()
    before = set(storage.entries())
    report = await client.log.prune(Retention(bases=2))
    assert report.blobs == 2
    assert client.streams, "all of the history is alive, so no segment with items may go"
    assert state_of(await read_run(storage, RUN)) == client.state()
    client.stage(Remove(("history", "a", 0)), Remove(("row", "a", 0)))
    for _ in range(2):
        await fill(client, 3, name="b")
        await client.base()
    report = await client.log.prune(Retention(bases=2))
    assert report.entries > 30
    assert report.size > 1000
    gone = before - set(storage.entries())
    assert 1 in set(storage.entries()), "it holds what keeper said"
    assert len(gone) > 20
    assert await client.log.prune(Retention(keep_all=True)) == await client.log.prune(Retention(bases=9))
    assert (await reopen()).state() == client.state()


async def test_pruned_checkpoints_are_not_listed_and_say_why(client, storage):
    client.say("keeper", b"k" * 5000)
    for number in range(4):
        await fill(client, 10, name=f"n{number}")
        client.stage(Remove(("history", f"n{number}", 0)))
        await client.base()
    await client.log.prune(Retention(bases=1))
    infos = await list_checkpoints(storage, RUN)
    assert [info.sequence for info in infos] == [1, 2, 3, 4, 48], "the first segment holds what keeper said"
    assert {info.damage for info in infos} == {""}
    with pytest.raises(NotFoundError, match="no checkpoint 20"):
        await read_run(storage, RUN, at=20)
    with pytest.raises(NotFoundError, match="pruning removed"):
        await read_run(storage, RUN, at=46)
    await fill(client, 5)
    for info in await list_checkpoints(storage, RUN):
        assert state_of(await read_run(storage, RUN, at=info.sequence)) == client.at[info.sequence]


async def test_every_listed_checkpoint_can_be_restored(client, storage):
    for number in range(6):
        await fill(client, 7, name=f"n{number}")
        await client.base()
        if number == 3:
            client.stage(*(Remove(("history", f"n{i}", 0)) for i in range(3)))
        await client.log.prune(Retention(bases=2))
        infos = await list_checkpoints(storage, RUN)
        assert len(infos) >= 8
        for info in infos:
            assert info.damage == ""
            assert state_of(await read_run(storage, RUN, at=info.sequence)) == client.at[info.sequence]


async def test_entries_that_stand_alone_are_pruned_in_groups(client, reopen, storage):
    storage.per_segment = 0
    await fill(client, 900, size=10)
    await client.base()
    assert (await client.log.prune(Retention(bases=1))).entries == 0, "all of the history is alive"
    client.stage(Remove(("history", "a", 0)))
    await client.flush()
    client.say("a", b"anew")
    await client.base()
    report = await client.log.prune(Retention(bases=1))
    assert 600 < report.entries <= 900
    assert state_of(await read_run(storage, RUN)) == client.state()
    again = await reopen()
    await again.base()
    await again.log.prune(Retention(bases=1))
    assert state_of(await read_run(storage, RUN)) == client.state()


async def test_pruning_keeps_what_came_while_the_kept_base_was_scanned(still, reopen, storage):
    client = await reopen(options=LogOptions(slice_seconds=0.0))
    storage.per_segment = 1
    for name in "abcd":
        client.put(name, b"1")
    await client.flush()
    client.remove("d")
    await client.flush()
    names = iter("abcabc")
    infos = []

    async def meanwhile():
        for name in names:
            client.put(name, b"after it was scanned")
            infos.append(await client.flush())

    async with anyio.create_task_group() as group:
        group.start_soon(meanwhile)
        base = await client.base()
    assert infos[0].sequence < base.sequence
    await client.log.prune(Retention(bases=1))
    assert min(storage.entries()) == 3
    assert state_of(await read_run(storage, RUN)) == client.state()


@pytest.mark.parametrize("pin", [3, 11, 26])
async def test_a_pinned_checkpoint_stays(client, storage, pin):
    retention = Retention(bases=1, pins=(pin,))
    for number in range(6):
        await fill(client, 9, name=f"n{number}")
        client.stage(Remove(("history", f"n{number}", 0)))
        await client.flush()
        await client.base()
        await client.log.prune(retention)
    assert len(storage.entries()) < 30
    assert state_of(await read_run(storage, RUN, at=pin)) == client.at[pin]
    with pytest.raises(NotFoundError):
        await read_run(storage, RUN, at=40)
    with pytest.raises(NotFoundError, match="remove the pin"):
        await client.log.prune(Retention(bases=1, pins=(40,)))
    await client.log.prune(Retention(bases=1))
    assert pin not in storage.entries()


async def test_what_is_left_in_sparse_segments_is_copied_once(reopen, storage):
    client = await reopen(options=LogOptions(sparse_below=0.5))
    client.say("keeper", b"k" * 50)
    await fill(client, 20, name="bulk", size=2000)
    await client.base()
    client.stage(Remove(("history", "bulk", 0)))
    await client.base()
    await client.base()
    assert "items-1-3" in storage.blobs()
    await client.log.prune(Retention(bases=1))
    assert 1 not in storage.entries()
    assert state_of(await read_run(storage, RUN)) == client.state()
    client.say("keeper", b"more")
    await client.flush()
    await client.base()
    await client.base()
    copies = [name for name, blob in storage.blobs().items() if b"k" * 50 in blob]
    assert copies == ["items-1-3"], "what was copied is alive: it is not copied again"
    await client.log.prune(Retention(bases=1))
    assert "items-1-3" in storage.blobs()
    again = await reopen()
    assert again.state() == client.state()
    await again.base()
    await again.log.prune(Retention(bases=1))
    assert (await reopen()).state() == client.state()


async def test_a_new_owner_knows_where_little_is_alive(reopen, storage):
    client = await reopen()
    client.say("keeper", b"k" * 50)
    await fill(client, 20, name="bulk", size=2000)
    client.stage(Remove(("history", "bulk", 0)))
    await client.base()
    again = await reopen()
    await again.base()
    assert "items-2-1" in storage.blobs()
    await again.log.prune(Retention(bases=1))
    assert 1 not in storage.entries()
    assert (await reopen()).state() == client.state()


async def test_what_is_pruned_while_it_is_read_is_not_damage(client, other_client, monkeypatch):
    await fill(client, 6)
    await client.base()
    await fill(client, 3)
    reader = other_client()
    read = reader.read

    async def read_late(*arguments, **options):
        monkeypatch.setattr(reader, "read", read)
        await fill(client, 3)
        await client.base()
        assert (await client.log.prune(Retention(bases=1))).blobs == 1, "of the base that is read"
        return await read(*arguments, **options)

    monkeypatch.setattr(reader, "read", read_late)
    loaded = await read_run(reader, RUN)
    assert (loaded.sequence, state_of(loaded)) == (client.log.newest.sequence, client.state())


async def test_readers_survive_pruning(client, other_client, storage):
    states = []

    async def read():
        reader = other_client()
        while True:
            loaded = await read_run(reader, RUN)
            states.append((loaded.sequence, state_of(loaded)))
            for info in await list_checkpoints(reader, RUN, newest=2):
                assert info.sequence

    await fill(client, 3)
    async with anyio.create_task_group() as group:
        group.start_soon(read)
        group.start_soon(read)
        for number in range(15):
            await fill(client, 4, name=f"n{number % 3}")
            if number % 4 == 3:
                client.stage(Remove(("history", "n1", 0)))
            await client.base()
            await client.log.prune(Retention(bases=1))
        group.cancel_scope.cancel()
    assert len(states) > 5
    for sequence, state in states:
        assert state == client.at[sequence]


async def test_a_fenced_owner_prunes_nothing(client, reopen, storage):
    for _ in range(3):
        await fill(client, 5)
        await client.base()
    await reopen()
    with pytest.raises(FencedError):
        await client.log.prune(Retention(bases=1))
    assert len(storage.entries()) == 18


async def test_items_that_cannot_be_copied_fail_the_base_only(reopen, storage):
    client = await reopen()
    client.say("keeper", b"k" * 50)
    await fill(client, 20, name="bulk", size=2000)
    client.stage(Remove(("history", "bulk", 0)))
    await client.base()
    storage.damage(1, index=120)
    with pytest.raises(CorruptionError):
        await client.base()
    client.stage(Put(("row", "a", 0), b"goes on"))
    await client.flush()
    assert client.log.failure is None


async def test_the_scan_does_not_hold_the_loop(client):
    turns = 0

    async def count():
        nonlocal turns
        while True:
            turns += 1
            await anyio.sleep(0)

    client.stage(*(Put(("row", f"t{i}", 0), b"x" * 100) for i in range(50_000)))
    await client.flush()
    async with anyio.create_task_group() as group:
        group.start_soon(count)
        await client.base()
        group.cancel_scope.cancel()
    assert turns > 100
