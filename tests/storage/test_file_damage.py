"""Damaged folders: what was acknowledged is reported when it is lost, what was not is dropped in silence."""

import shutil

import msgpack
import pytest

from kernelckpt.errors import CorruptionError, NotFoundError, StorageError, UnsupportedVersionError
from kernelckpt.storage.file.ops import FileOps
from kernelckpt.storage.file.owner import Mark, read_mark, write_mark
from kernelckpt.storage.file.record import encode_record

ALL = [(1, 1, False), (1, 2, False), (1, 3, False)]
LAST_LOST = [(1, 1, False), (1, 2, False), (1, 3, True)]


@pytest.fixture
async def three(folder):
    """A run of three small entries, whose owner is gone."""
    await folder.write(b"one", b"two", b"three")
    return folder


def ends(folder):
    """Where each entry of the first segment ends, from the metadata on."""
    data = (folder.run / "seg.1.1").read_bytes()
    starts = [data.index(b"meta %d" % number) - 22 for number in (1, 2, 3)]
    return [*starts[1:], len(data)]


async def test_a_torn_tail_that_was_acknowledged_is_damage(three):
    path, (_, begin, end) = three.run / "seg.1.1", ends(three)
    data = path.read_bytes()
    for size in range(begin, end):
        path.write_bytes(data[:size])
        assert await three.listed() == LAST_LOST
    storage = three.client()
    with pytest.raises(CorruptionError, match="entry 3 of epoch 1") as caught:
        await storage.read("run", 1, 3)
    assert caught.value.lost == ("entry 3 of epoch 1",)
    claim = await storage.acquire("run", "test")
    assert claim.head == 3
    await storage.append("run", claim.epoch, 4, [b"four"], b"")
    assert await three.listed() == [*LAST_LOST, (2, 4, False)]


async def test_a_torn_tail_that_was_not_acknowledged_is_dropped(three):
    path, (_, begin, end) = three.run / "seg.1.1", ends(three)
    data = path.read_bytes()
    (three.run / "head").unlink()
    for size in range(begin, end):
        path.write_bytes(data[:size])
        assert await three.listed() == ALL[:2]
    storage = three.client()
    with pytest.raises(NotFoundError):
        await storage.read("run", 1, 3)
    assert (await storage.acquire("run", "test")).head == 2


@pytest.mark.parametrize("tail", [b"\0" * 300, b"\xaa" * 300, b"\x94\xcf" * 100, b"\x94"])
async def test_rubbish_after_the_last_entry_is_dropped(three, tail):
    path = three.run / "seg.1.1"
    path.write_bytes(path.read_bytes() + tail)
    assert await three.listed() == ALL


async def test_a_last_entry_of_zeros(three):
    """The size of the file reached the disk before a power cut, the data did not."""
    path = three.run / "seg.1.1"
    path.write_bytes(path.read_bytes().replace(b"three", bytes(5)))
    assert await three.listed() == LAST_LOST
    (three.run / "head").unlink()
    assert await three.listed() == ALL[:2]


async def test_a_torn_entry_where_the_next_epoch_began_is_void(three):
    path = three.run / "seg.1.1"
    whole = path.read_bytes()
    (three.run / "head").unlink()
    path.write_bytes(whole[: ends(three)[1] + 30])
    await three.write(b"three, again")
    assert await three.listed() == [*ALL[:2], (2, 3, False)]
    path.write_bytes(whole)  # the write of the stale owner arrives late
    assert await three.listed() == [*ALL[:2], (2, 3, False)]
    with pytest.raises(NotFoundError):
        await three.client().read("run", 1, 3)


async def test_a_later_epoch_tells_what_was_acknowledged(three):
    await three.write()
    (three.run / "head").unlink()
    path, (_, begin, _) = three.run / "seg.1.1", ends(three)
    path.write_bytes(path.read_bytes()[: begin + 30])
    assert await three.listed() == LAST_LOST


async def test_several_lost_entries_before_the_next_epoch(three):
    await three.write(b"four")
    path, (first, _, _) = three.run / "seg.1.1", ends(three)
    path.write_bytes(path.read_bytes()[:first])
    assert await three.listed() == [(1, 1, False), (1, 2, True), (2, 4, False)]


async def test_every_flipped_bit_is_reported_or_harmless(three):
    path = three.run / "seg.1.1"
    data = path.read_bytes()
    silent = []
    for bit in range(len(data) * 8):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        try:
            listed = await three.listed()
            assert [sequence for _, sequence, _ in listed] == [1, 2, 3]
            if listed == ALL and await three.contents() != [b"one", b"two", b"three"]:
                silent.append(bit)
        except (CorruptionError, UnsupportedVersionError):
            continue
    assert silent == []


async def test_without_the_mark_only_the_last_entry_can_vanish(three):
    path = three.run / "seg.1.1"
    data = path.read_bytes()
    (three.run / "head").unlink()
    for bit in range(0, len(data) * 8, 3):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        try:
            listed = await three.listed()
        except UnsupportedVersionError:
            continue
        assert [sequence for _, sequence, _ in listed][:2] == [1, 2]
        assert len(listed) == 3 or bit // 8 >= ends_of(data)[1]


def ends_of(data):
    return [data.index(b"meta %d" % number) - 22 for number in (2, 3)]


async def test_entries_after_a_damaged_one_are_still_read(three):
    path, (first, _, _) = three.run / "seg.1.1", ends(three)
    data = bytearray(path.read_bytes())
    data[first + 5] ^= 1
    path.write_bytes(data)
    assert await three.listed() == [(1, 1, False), (1, 2, True), (1, 3, False)]
    storage = three.client()
    assert await storage.read("run", 1, 3) == b"three"
    with pytest.raises(CorruptionError, match=r"unreadable bytes at \d+ of seg\.1\.1"):
        await storage.read("run", 1, 2)


async def test_a_rotten_body_is_found_by_reading(three):
    path = three.run / "seg.1.1"
    path.write_bytes(path.read_bytes().replace(b"one", b"0ne"))
    assert await three.listed() == ALL
    with pytest.raises(CorruptionError, match="entry 1 of epoch 1"):
        await three.client().read("run", 1, 1)


async def test_a_damaged_segment_header_alone_loses_nothing(three):
    path = three.run / "seg.1.1"
    data = bytearray(path.read_bytes())
    data[:10] = b"\xff" * 10
    path.write_bytes(data)
    assert await three.contents() == [b"one", b"two", b"three"]


@pytest.mark.parametrize("content", [b"", b"\0" * 500, None])
async def test_a_lost_segment_is_reported(three, content):
    await three.write(b"four", b"five")
    path = three.run / "seg.2.1"
    path.unlink() if content is None else path.write_bytes(content)
    assert await three.listed() == [*ALL, (2, 4, True)]
    with pytest.raises(CorruptionError, match="entry 4"):
        await three.client().read("run", 2, 4)
    assert (await three.client().acquire("run", "test")).head == 5


async def test_a_deleted_segment_is_not_reported(three):
    storage = three.client()
    claim = await storage.acquire("run", "test")
    await storage.append("run", claim.epoch, 4, [b"four"], b"")
    await storage.delete("run", claim.epoch, entries=await storage.list_entries("run", after=3))
    assert await three.listed() == ALL
    await storage.delete("run", claim.epoch, entries=await storage.list_entries("run"))
    assert await three.listed() == []
    assert (await storage.acquire("run", "test")).head == 4


async def test_segments_deleted_from_the_middle_are_not_reported(folder):
    for number in range(5):
        await folder.write(b"%d" % number)
    storage = folder.client()
    claim = await storage.acquire("run", "test")
    entries = await storage.list_entries("run")
    await storage.delete("run", claim.epoch, entries=[entries[1], entries[3]])
    assert await folder.listed() == [(1, 1, False), (3, 3, False), (5, 5, False)]


async def test_a_torn_note_of_a_deletion_takes_no_older_one_along(folder, monkeypatch):
    """What was deleted before is still known to be deleted, not taken for lost."""
    monkeypatch.setattr("kernelckpt.storage.file.claim.SEGMENT_BYTES", 1)
    await folder.write(*(b"%d" % number for number in range(1, 6)))
    storage = folder.client()
    claim = await storage.acquire("run", "test")
    entries = await storage.list_entries("run")
    await storage.delete("run", claim.epoch, entries=[entries[1]])
    await storage.aclose()
    for size in range(len(encode_record("kernelckpt-removed", 4))):
        storage, ops = folder.faulty()
        claim = await storage.acquire("run", "test")
        ops.shorten(size, nth=2, path="/head")
        ops.fail("pwritev", nth=2, path="/head")
        with pytest.raises(StorageError):
            await storage.delete("run", claim.epoch, entries=[entries[3]])
        await storage.aclose()
        assert await folder.listed() == [(1, number, False) for number in (1, 3, 4, 5)]


async def test_frames_count_only_where_they_were_written(three):
    shutil.copy(three.run / "seg.1.1", three.run / "seg.1.2")
    assert await three.listed() == ALL
    shutil.copy(three.run / "seg.1.1", three.run / "seg.1.9")
    (three.run / "seg.1.1").unlink()
    assert await three.listed() == [(1, 1, True)]


async def test_a_frame_within_an_entry_is_none(folder):
    """An entry holds the bytes of its own segment; its head is damaged, so the scan walks through them."""
    storage = folder.client()
    claim = await storage.acquire("run", "test")
    await storage.append("run", claim.epoch, 1, [b"one"], b"")
    path = folder.run / "seg.1.1"
    own = path.read_bytes()
    await storage.append("run", claim.epoch, 2, [own], b"")
    await storage.append("run", claim.epoch, 3, [b"three"], b"")
    data = bytearray(path.read_bytes())
    data[len(own)] ^= 1
    path.write_bytes(data)
    assert await folder.listed() == [(1, 1, False), (1, 2, True), (1, 3, False)]


CUT_MARK = b"\x95" + msgpack.packb("kernelckpt-head") + b"\x0d" + bytes(40)
"""A mark whose write was cut short: what stands where its version belongs says nothing."""


@pytest.mark.parametrize("content", [b"", b"\xff" * 500, CUT_MARK, None])
async def test_a_damaged_mark_is_ignored(three, content):
    path = three.run / "head"
    path.unlink() if content is None else path.write_bytes(content)
    assert await three.listed() == ALL
    assert (await three.client().acquire("run", "test")).head == 3


async def test_only_the_record_of_a_mark_is_written_and_read(folder):
    """Not what an older, longer one left behind it."""
    ops, path = FileOps(), folder.path.parent / "head"
    longest = encode_record("kernelckpt-head", 2**48, 2**48).ljust(64, b"\xc1")
    path.write_bytes(longest)
    fd = ops.open(str(path), write=True)
    write_mark(ops, fd, 2, 4)
    ops.close(fd)
    record = encode_record("kernelckpt-head", 2, 4)
    assert path.read_bytes() == record + longest[len(record) :]
    assert read_mark(ops, str(path.parent)) == Mark(2, 4)


async def test_a_growing_segment_is_followed(folder):
    storage, reader = folder.client(), folder.client()
    claim = await storage.acquire("run", "test")
    path = folder.run / "seg.1.1"
    for number in range(1, 6):
        await storage.append("run", claim.epoch, number, [b"%d" % number], b"")
        assert len(await folder.listed(reader)) == number
    data = path.read_bytes()
    path.write_bytes(data[:-3])
    assert await folder.listed(reader) == [(1, number, number == 5) for number in range(1, 6)]
    path.write_bytes(data)
    assert await folder.listed(reader) == [(1, number, False) for number in range(1, 6)]
