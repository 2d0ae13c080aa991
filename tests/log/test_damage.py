"""Damage: every flipped bit is refused or harmless; falling back is loud, exact, and a new branch."""

import asyncio
import itertools

import msgpack
import pytest
from log_kit import RUN, Client, ScriptedStorage, state_of
from msgspec import structs

from kernelckpt.abc import Append, Claim, Put
from kernelckpt.codec import entry
from kernelckpt.codec.change import Reference
from kernelckpt.codec.codec import PLAIN_CODEC
from kernelckpt.codec.entry import _seal, decode_meta, encode_meta
from kernelckpt.codec.frame import entry_origin
from kernelckpt.codec.version import FORMAT_VERSION
from kernelckpt.errors import CorruptionError, FormatError, UnsupportedVersionError
from kernelckpt.log import Retention, RunLog, list_checkpoints, read_run
from kernelckpt.log.stream_reader import decode_items


@pytest.fixture
async def small(client):
    client.put("a", b"1")
    client.say("a", b"hello", b"world")
    client.put("b", b"2")
    client.remove("b")
    await client.flush()
    await client.base()
    client.say("a", b"again")
    await client.flush()
    return client


async def refused_or_equal(storage, expected):
    try:
        loaded = await read_run(storage, RUN)
    except FormatError:
        return False
    assert state_of(loaded) == expected
    return True


@pytest.mark.parametrize("sequence", [1, 2, 3])
async def test_every_flipped_bit_of_an_entry_is_refused_or_harmless(small, storage, sequence):
    info, body = storage.entries()[sequence]
    harmless = 0
    for bit in range(len(body) * 8):
        rotten = bytearray(body)
        rotten[bit // 8] ^= 1 << (bit % 8)
        storage.entries()[sequence] = (info, bytes(rotten))
        harmless += await refused_or_equal(storage, small.state())
    # The first entry is not read whole: the base refers to the frame of items in it.
    assert harmless == 0 if sequence > 1 else harmless > 0


async def test_every_flipped_bit_of_metadata_is_refused(small, storage):
    for sequence in (2, 3):
        info, body = storage.entries()[sequence]
        for bit in range(len(info.meta) * 8):
            rotten = bytearray(info.meta)
            rotten[bit // 8] ^= 1 << (bit % 8)
            changed = type(info)(info.epoch, sequence, info.size, bytes(rotten))
            storage.entries()[sequence] = (changed, body)
            assert not await refused_or_equal(storage, small.state())
        storage.entries()[sequence] = (info, body)


async def test_every_flipped_bit_of_a_base_is_refused(small, storage):
    ((name, blob),) = storage.blobs().items()
    for bit in range(len(blob) * 8):
        rotten = bytearray(blob)
        rotten[bit // 8] ^= 1 << (bit % 8)
        storage.blobs()[name] = bytes(rotten)
        assert not await refused_or_equal(storage, small.state())


async def test_every_truncation_is_refused(small, storage):
    ((name, blob),) = storage.blobs().items()
    for length in range(len(blob)):
        storage.blobs()[name] = blob[:length]
        assert not await refused_or_equal(storage, small.state())
    storage.blobs()[name] = blob + b"\xc0"
    assert not await refused_or_equal(storage, small.state())
    storage.blobs()[name] = blob
    for sequence in (2, 3):
        info, body = storage.entries()[sequence]
        for length in range(len(body)):
            storage.entries()[sequence] = (info, body[:length])
            assert not await refused_or_equal(storage, small.state())
        storage.entries()[sequence] = (info, body)
    assert await refused_or_equal(storage, small.state())


async def test_an_entry_of_another_run_or_another_place_is_refused(small, storage, clock):
    other = ScriptedStorage()
    log = await RunLog.open(other, "another", holder="test", clock=clock)
    log.stage([Put(("row", "a", 0), b"spliced")], 1, 1)
    await log.flush("turn")
    foreign = other._state.runs["another"].entries[1]
    mine = dict(storage.entries())
    storage.entries()[3] = foreign[0].__class__(1, 3, foreign[0].size, foreign[0].meta), foreign[1]
    assert not await refused_or_equal(storage, small.state())
    storage.entries()[3] = mine[3][0], foreign[1]
    assert not await refused_or_equal(storage, small.state())
    storage.entries()[3] = mine[3][0], mine[1][1]
    assert not await refused_or_equal(storage, small.state())
    await log.aclose()


@pytest.fixture
async def twin(clock):
    """A run of the same id, epochs, numbers and times, with other contents."""
    storage = ScriptedStorage()
    log = await RunLog.open(storage, RUN, holder="test", clock=clock)
    twin = Client(log)
    for value in (b"A", b"B", b"C"):
        twin.put("a", value)
        await twin.flush()
        if value == b"B":
            await twin.base()
    yield storage
    await log.aclose()


@pytest.mark.parametrize("part", ["entry", "body", "blob"])
async def test_parts_of_a_twin_are_refused(client, storage, twin, part):
    for value in (b"a", b"b", b"c"):
        client.put("a", value)
        await client.flush()
        if value == b"b":
            await client.base()
    if part == "blob":
        storage.blobs().update(twin.blobs())
        match = "blob base-1-1: it is not the one"
    elif part == "body":
        storage.entries()[4] = storage.entries()[4][0], twin.entries()[4][1]
        match = "entry 4: its digest is not the one listed"
    else:
        storage.entries()[3] = twin.entries()[3]
        match = "not the entry its successor names"
    with pytest.raises(CorruptionError, match=match):
        await read_run(storage, RUN)


async def test_the_body_of_a_twin_is_refused(client, storage, twin):
    client.put("a", b"a")
    await client.flush()
    storage.entries()[1] = storage.entries()[1][0], twin.entries()[1][1]
    with pytest.raises(CorruptionError, match="its digest is not the one listed"):
        await read_run(storage, RUN)


async def test_a_reference_to_other_items_is_refused(client, storage):
    client.say("a", b"x")
    client.say("b", b"y")
    await client.flush()
    _, body = storage.entries()[1]
    offset = body.index(b"\x95\x02")
    length = next(size for size in range(30, 90) if _is_frame(body, offset, size))
    place = Reference("", 1, 1, offset, length, 0)
    piece = body[offset : offset + length]
    assert decode_items(piece, RUN, place, PLAIN_CODEC).items == (b"x",)
    with pytest.raises(CorruptionError, match="not the items"):
        decode_items(piece, RUN, Reference("", 1, 1, offset, length, 5), PLAIN_CODEC)


def _is_frame(body, offset, size):
    try:
        return bool(msgpack.unpackb(body[offset : offset + size]))
    except ValueError:
        return False


async def test_appends_that_disagree_are_refused(client, storage):
    client.say("a", b"x", b"y")
    await client.flush()
    client.log._writer.streams["history", "a", 0].staged -= 1
    client.log.stage([Append(("history", "a", 0), 1, (b"not y",))], 2, 2)
    await client.log.flush("turn")
    with pytest.raises(CorruptionError, match="two appends disagree from item 1"):
        await read_run(storage, RUN)


async def test_a_gap_in_a_stream_is_refused(client, storage):
    client.say("a", b"x", b"y")
    await client.flush()
    client.log._writer.streams["history", "a", 0].staged += 1
    client.log.stage([Append(("history", "a", 0), 3, (b"not z",))], 2, 2)
    await client.log.flush("turn")
    with pytest.raises(CorruptionError, match="items begin at 3, the stream has 2"):
        await read_run(storage, RUN)


async def test_a_base_that_rests_on_what_its_chain_leaves_out_is_refused(client, storage):
    """It holds what entry 2 said, while entry 3, its own, follows entry 1."""
    client.put("a", b"1")
    await client.flush()
    appender = client.log._bases._appender
    first = appender.tip
    client.put("a", b"2")
    await client.flush()

    def leave_out():
        appender.tip = first

    await client.log.write_base(client.scan(between=leave_out))
    with pytest.raises(CorruptionError, match="entry 2, which it rests on, is not on its chain"):
        await read_run(storage, RUN)


async def test_a_base_whose_metadata_names_another_blob_is_refused(client, storage):
    client.put("a", b"1")
    await client.flush()
    first, second = await client.base(), await client.base()
    infos = {number: storage.entries()[number][0] for number in (first.sequence, second.sequence)}
    raw, other = (msgpack.unpackb(info.meta[:-18]) for info in infos.values())
    changed = msgpack.packb([*other[:-3], raw[-3], *other[-2:]])
    seal = _seal(changed, entry_origin(RUN, 1, second.sequence))
    info, body = storage.entries()[second.sequence]
    storage.entries()[second.sequence] = (structs.replace(info, meta=changed + b"\xc4\x10" + seal), body)
    with pytest.raises(CorruptionError, match="it names another blob than its metadata"):
        await read_run(storage, RUN)


async def test_swapped_frames_are_refused(client, storage):
    client.say("a", b"same length 1")
    client.say("b", b"same length 2")
    await client.flush()
    info, body = storage.entries()[1]
    objects, ends = [], [0]
    unpacker = msgpack.Unpacker()
    unpacker.feed(body)
    for value in unpacker:
        objects.append(value)
        ends.append(unpacker.tell())
    header, first, second, end = (body[begin:stop] for begin, stop in itertools.pairwise(ends))
    assert len(first) == len(second)
    storage.entries()[1] = (info, header + second + first + end)
    with pytest.raises(CorruptionError, match="frame 0"):
        await read_run(storage, RUN)
    assert [len(value) for value in objects] == [2, 5, 5, 2]


async def test_an_entry_without_one_of_its_frames_is_refused_although_its_closing_fits(client, storage):
    client.say("a", b"one")
    client.say("b", b"two")
    await client.flush()
    info, body = storage.entries()[1]
    unpacker = msgpack.Unpacker()
    unpacker.feed(body)
    unpacker.skip()
    unpacker.skip()
    cut = body[: unpacker.tell()] + msgpack.packb(["end", 1])
    storage.entries()[1] = (info, cut)
    with pytest.raises(CorruptionError, match="entry 1: its digest is not the one listed"):
        await read_run(storage, RUN)


async def test_an_entry_that_begins_like_one_of_another_version_is_refused(client, storage):
    client.put("a", b"1")
    await client.flush()
    info, body = storage.entries()[1]
    rest = body[len(msgpack.packb(["kckpt", 2])) :]
    for begin, match in (
        (["kckpt", 1], "of another version than its header"),
        (["kckpt", 3], "written in format 3"),
        (["other", 2], "not of this format"),
        (["kckpt", 2, "delta"], "more is written of it than should be"),
    ):
        storage.entries()[1] = (info, msgpack.packb(begin) + rest)
        with pytest.raises(CorruptionError, match=match):
            await read_run(storage, RUN)
    storage.entries()[1] = (info, msgpack.packb(["kckpt", 1]) + msgpack.packb(["end", 0]))
    with pytest.raises(CorruptionError, match="its header says"):
        await read_run(storage, RUN)


async def test_corruption_says_what_would_be_lost(client, storage):
    for number in range(9):
        client.put("a", b"%d" % number)
        await client.flush()
    storage.damage(6)
    with pytest.raises(CorruptionError) as caught:
        await read_run(storage, RUN)
    assert caught.value.lost == ("entries 6 to 9 are left out, kernel turns 5 to 9",)
    assert "entry 6" in str(caught.value)
    assert 'on_corruption="fall_back"' in str(caught.value)
    loaded = await read_run(storage, RUN, on_corruption="fall_back")
    assert state_of(loaded) == client.at[5]
    assert "entry 6" in loaded.notes[0]
    assert "entries 6 to 9" in loaded.notes[1]


async def test_falling_back_begins_a_branch_and_destroys_nothing(client, reopen, storage):
    for number in range(9):
        client.put("a", b"%d" % number)
        client.say("a", b"%d" % number)
        await client.flush()
    storage.damage(6)
    before = dict(storage.entries())
    with pytest.raises(CorruptionError):
        await reopen()
    again = await reopen(on_corruption="fall_back")
    assert again.state() == client.at[5]
    assert again.log.loaded.notes
    again.say("a", b"another way")
    info = await again.flush()
    assert info.sequence == 10, "no number is used twice"
    assert {number: storage.entries()[number] for number in before} == before
    third = await reopen()
    assert third.state() == again.state()
    assert not third.log.loaded.notes
    infos = {info.sequence: info.damage for info in await list_checkpoints(storage, RUN)}
    assert [number for number, damage in infos.items() if not damage] == [1, 2, 3, 4, 5, 10]
    assert "set aside" in infos[7]
    await third.base()
    await third.log.prune(Retention(bases=1))
    assert set(range(6, 10)) <= set(storage.entries()), "what was set aside is never deleted"


async def test_a_missing_entry_is_a_hole(client, storage):
    for number in range(9):
        client.put("a", b"%d" % number)
        await client.flush()
    del storage.entries()[4]
    with pytest.raises(CorruptionError, match="entry 4: it is missing"):
        await read_run(storage, RUN)
    loaded = await read_run(storage, RUN, on_corruption="fall_back")
    assert state_of(loaded) == client.at[3]
    damage = [info.damage for info in await list_checkpoints(storage, RUN)]
    assert damage[:3] == ["", "", ""]
    assert all("entry 4" in text for text in damage[3:])


async def scarred(client, reopen, storage):
    """A run with all that a listing must judge: bases, pruned and damaged entries, what was set aside."""
    for number in range(24):
        client.put("a", b"%d" % number)
        await client.flush()
        if number % 6 == 5:
            await client.base()
    await client.log.prune(Retention(bases=2))
    for number in range(3):
        client.put("b", b"%d" % number)
        await client.flush()
    storage.damage(30)
    again = await reopen(on_corruption="fall_back")
    for number in range(9):
        again.put("a", b"%d" % number)
        await again.flush()
        if number == 4:
            await again.base()
    del storage.entries()[40]
    again.put("a", b"last")
    await again.flush()


@pytest.mark.parametrize("lost", [None, "base-1-3", "base-1-4", "base-2-1"])
async def test_the_newest_checkpoints_are_judged_as_in_the_whole_listing(client, reopen, storage, lost):
    await scarred(client, reopen, storage)
    if lost is not None:
        storage.blobs().pop(lost, None)
    listed = await list_checkpoints(storage, RUN)
    assert {"", "set aside"} <= {info.damage[:9] for info in listed}
    assert any("which it rests on" in info.damage for info in listed)
    for newest in range(1, len(listed) + 3):
        assert await list_checkpoints(storage, RUN, newest) == listed[-newest:]


async def test_the_newest_checkpoint_is_known_to_rest_on_damage_far_below(client, storage):
    for number in range(1, 2200):
        client.put("a", b"%d" % number)
        await client.flush()
    info, body = storage.entries()[3]
    other = storage.entries()[4][0].meta
    twin = encode_meta(structs.replace(decode_meta(info.meta, RUN, 1, 3), digest=bytes(16)), RUN, 1, 3)
    for spoilt in (
        structs.replace(info, meta=b""),
        structs.replace(info, meta=other),
        structs.replace(info, meta=twin),
        structs.replace(info, damage="checksum"),
        structs.replace(info, epoch=2),
        None,
    ):
        del storage.entries()[3]
        if spoilt is not None:
            storage.entries()[3] = (spoilt, body)
        (newest,) = await list_checkpoints(storage, RUN, 1)
        assert "entry 3, which it rests on" in newest.damage
        assert len(await list_checkpoints(storage, RUN, 2300)) == len(storage.entries())
        storage.entries()[3] = (info, body)
    (newest,) = await list_checkpoints(storage, RUN, 1)
    assert newest.damage == ""


async def test_a_checkpoint_may_rest_on_one_far_below_thousands_of_lost_numbers(client, reopen, storage):
    client.put("a", b"1")
    await client.flush()
    await storage.acquire_as(RUN, "test", Claim(2, 5000))
    again = await reopen(on_corruption="fall_back")
    for number in range(2200):
        again.put("a", b"%d" % number)
        await again.flush()
    (newest,) = await list_checkpoints(storage, RUN, 1)
    assert (newest.sequence, newest.damage) == (7200, "")
    assert state_of(await read_run(storage, RUN)) == again.state()


async def test_a_listing_leaves_the_event_loop_nothing_to_do(client, storage):
    for number in range(4):
        client.put("a", b"%d" % number)
        await client.flush()
    loop, made = asyncio.get_running_loop(), []

    def factory(loop, coro, **options):
        made.append(coro)
        return asyncio.Task(coro, loop=loop, **options)

    loop.set_task_factory(factory)
    assert len(await list_checkpoints(storage, RUN, 2)) == 2
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not made


async def test_metadata_that_were_listed_before_are_not_decoded_again(client, storage, monkeypatch):
    for number in range(40):
        client.put("a", b"%d" % number)
        await client.flush()
    entry._fields.cache_clear()  # another test may have listed the very same
    decoded, decoder = [], entry._META

    class Counting:
        def decode(self, data):
            decoded.append(data)
            return decoder.decode(data)

    monkeypatch.setattr(entry, "_META", Counting())
    first = await list_checkpoints(storage, RUN, 10)
    assert len(decoded) == 40
    assert await list_checkpoints(storage, RUN, 10) == first
    assert await list_checkpoints(storage, RUN, 20) == (await list_checkpoints(storage, RUN))[20:]
    assert len(decoded) == 40


async def test_a_lost_newest_entry_is_noticed(client, reopen, storage):
    for number in range(3):
        client.put("a", b"%d" % number)
        await client.flush()
    del storage.entries()[3]
    with pytest.raises(CorruptionError, match="entry 3: it was acknowledged and is missing"):
        await reopen()
    again = await reopen(on_corruption="fall_back")
    assert again.state() == client.at[2]
    again.put("a", b"x")
    assert (await again.flush()).sequence == 4
    assert (await reopen()).state() == again.state()


async def test_a_damaged_base_is_replaced_by_an_older_one(client, reopen, storage):
    for number in range(12):
        client.put("a", b"%d" % number)
        client.say("a", b"%d" % number)
        await client.flush()
        if number in {3, 8}:
            await client.base()
    storage.damage_blob("base-1-2")
    with pytest.raises(CorruptionError) as caught:
        await reopen()
    assert "nothing is lost" in caught.value.lost[0]
    again = await reopen(on_corruption="fall_back")
    assert again.state() == client.state()
    assert again.log.loaded.base == 5
    assert again.log.base_is_due()
    again.put("a", b"x")
    await again.flush()
    await again.base()
    await again.log.prune(Retention())
    third = await reopen()
    assert third.state() == again.state()
    assert {"base-1-1", "base-3-1"} <= set(storage.blobs()), "a damaged base does not count as kept"


async def test_damaged_history_behind_a_base(client, storage):
    client.say("a", b"first")
    await client.flush()
    await client.base()
    client.put("a", b"1")
    await client.flush()
    storage.damage(1)
    with pytest.raises(CorruptionError):
        await read_run(storage, RUN)
    with pytest.raises(CorruptionError, match="nothing before it is whole"):
        await read_run(storage, RUN, on_corruption="fall_back")


async def test_damage_before_a_base_that_covers_it_is_no_damage(client, storage):
    for number in range(4):
        client.put("a", b"%d" % number)
        await client.flush()
    await client.base()
    storage.damage(2)
    assert state_of(await read_run(storage, RUN)) == client.state()
    with pytest.raises(CorruptionError):
        await read_run(storage, RUN, at=3)
    assert state_of(await read_run(storage, RUN, at=3, on_corruption="fall_back")) == client.at[1]


async def test_damage_that_the_storage_reports(small, storage):
    info, body = storage.entries()[3]
    rotten = type(info)(info.epoch, 3, info.size, info.meta, damage="checksum")
    storage.entries()[3] = (rotten, body)
    with pytest.raises(CorruptionError, match="checksum"):
        await read_run(storage, RUN)
    assert (await read_run(storage, RUN, on_corruption="fall_back")).sequence == 2
    assert [info.damage for info in await list_checkpoints(storage, RUN)] == ["", "", "checksum"]


async def test_a_run_that_lost_everything_is_not_taken_for_a_new_one(client, reopen, storage):
    client.put("a", b"1")
    await client.flush()
    storage.entries().clear()
    for choice in ("refuse", "fall_back"):
        with pytest.raises(CorruptionError):
            await reopen(on_corruption=choice)


async def test_a_newer_format_is_named(small, storage):
    info, body = storage.entries()[3]
    raw = msgpack.unpackb(info.meta[:-18])
    raw[0] = FORMAT_VERSION + 1
    newer = msgpack.packb([*raw, "a field of the future"])
    seal = _seal(newer, entry_origin(RUN, 1, 3))
    storage.entries()[3] = (type(info)(1, 3, info.size, newer + b"\xc4\x10" + seal), body)
    for choice in ("refuse", "fall_back"):
        with pytest.raises(UnsupportedVersionError) as caught:
            await read_run(storage, RUN, on_corruption=choice)
        assert (caught.value.found, caught.value.supported) == (FORMAT_VERSION + 1, FORMAT_VERSION)
