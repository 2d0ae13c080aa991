"""The folder of the file storage: its layout, its owners, and what it refuses to touch."""

import asyncio
import errno
import itertools
import os
import stat
import subprocess
import sys
import textwrap
import threading
import zlib
from functools import partial

import msgpack
import pytest
from blockbuster import blockbuster_ctx

from kernelckpt.abc import Claim
from kernelckpt.errors import (
    CorruptionError,
    DamagedRunsError,
    FencedError,
    InvalidValueError,
    RunOwnedError,
    StorageError,
    StorageFullError,
    StorageUnavailableError,
    UnsupportedVersionError,
)
from kernelckpt.kernel.clock import SystemClock
from kernelckpt.log import RunLog
from kernelckpt.storage import FileStorage, open_storage
from kernelckpt.storage.file.claim import SEGMENT_BYTES
from kernelckpt.storage.file.name import run_folder_name, temporary_name
from kernelckpt.storage.file.record import encode_record
from kernelckpt.testing import FileFaults, FlakyFileOps, SimFileSystem, SimLoop

CHILD = """
    import asyncio, sys
    from kernelckpt.storage import FileStorage

    async def main():
        storage = FileStorage(sys.argv[1])
        claim = await storage.acquire("run", "the child")
        await storage.write_part("run", claim.epoch, "unfinished", 0, [b"part"])
        for number in range(claim.head + 1, 1_000_000):
            await storage.append("run", claim.epoch, number, [b"entry %d" % number], b"")
            print(number, flush=True)

    asyncio.run(main())
"""


async def test_the_layout_of_a_folder(folder):
    storage = folder.client()
    claim = await storage.acquire("run", "test")
    await storage.append("run", claim.epoch, 1, [b"x"], b"")
    await storage.write_part("run", claim.epoch, "base/1", 0, [b"x"])
    await storage.finish_blob("run", claim.epoch, "base/1")
    await storage.post("run", "m", b"x")
    names = folder.names()
    assert names[0] == "blob.base%2F1"
    assert names[1] == "head"
    assert names[2].startswith("inbox.")
    assert names[3:] == ["owner.1", "run", "seg.1.1"]
    assert sorted(path.name for path in folder.path.iterdir()) == ["kernelckpt", folder.run.name]


async def test_segments_are_plain_msgpack(folder):
    await folder.write(b"one", b"two" * 30_000)
    unpacker = msgpack.Unpacker(max_buffer_size=0)
    unpacker.feed((folder.run / "seg.1.1").read_bytes())
    header, first, body, _, second, large, _ = unpacker
    assert header[:2] == ["kernelckpt-segment", 1]
    assert (first[:3], body) == ([1, 3, b"meta 1"], b"one")
    assert (second[:3], large) == ([2, 90_000, b"meta 2"], b"two" * 30_000)


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o277])
async def test_modes_whatever_the_umask(folder, umask):
    before = os.umask(umask)
    try:
        await folder.write(b"x")
        await folder.client().post("run", "m", b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    assert stat.S_IMODE(folder.run.stat().st_mode) == 0o700
    modes = {stat.S_IMODE(path.stat().st_mode) for path in folder.path.rglob("*") if path.is_file()}
    assert modes == {0o600}


async def test_nothing_is_made_by_reading(folder):
    storage = folder.client()
    await storage.check()
    assert list(await storage.list_runs()) == []
    assert not folder.path.exists()


async def test_a_foreign_folder_is_refused(folder):
    folder.path.mkdir()
    (folder.path / "thesis.txt").write_text("do not touch")
    with pytest.raises(StorageUnavailableError, match="foreign folder"):
        async with open_storage(f"file:{folder.path}"):
            pass
    with pytest.raises(StorageUnavailableError, match="foreign folder"):
        await folder.client().acquire("run", "test")
    assert os.listdir(folder.path) == ["thesis.txt"]


async def test_an_empty_folder_is_taken_also_after_a_crash_there(folder):
    folder.path.mkdir()
    (folder.path / f"tmp.{'0' * 32}").write_bytes(b"half a marker")
    await folder.write(b"x")
    assert await folder.listed() == [(1, 1, False)]


async def test_a_file_in_place_of_the_folder(folder):
    folder.path.write_bytes(b"")
    for path in (folder.path, folder.path / "below"):
        with pytest.raises(StorageUnavailableError, match=r"state.*ENOTDIR.*choose another folder"):
            await open_storage(f"file:{path}")


def in_version_2(data):
    """The bytes of a file whose first record is of the next version of the layout."""
    found = msgpack.Unpacker(max_buffer_size=0)
    found.feed(data)
    kind, _, *fields, _ = found.unpack()
    head = msgpack.packb([kind, 2, *fields, 0])[:-1]
    return head + msgpack.packb(zlib.crc32(head)) + data[found.tell() :]


@pytest.mark.parametrize("name", ["kernelckpt", "run", "owner.1", "seg.1.1"])
async def test_a_newer_version_is_refused(folder, name):
    await folder.write(b"x")
    path = folder.path / name if name == "kernelckpt" else folder.run / folder.names(name)[0]
    path.write_bytes(in_version_2(path.read_bytes()))
    with pytest.raises(UnsupportedVersionError, match="upgrade") as caught:
        await folder.listed()
    assert (caught.value.found, caught.value.supported) == (2, 1)


async def test_a_damaged_run_file(folder):
    await folder.write(b"x")
    (folder.run / "run").write_bytes(b"\x93")
    for other in ("b", "a"):
        await folder.client().acquire(other, "test")
    with pytest.raises(DamagedRunsError, match=r"1 of 3 runs cannot be .*/run: damaged") as caught:
        await folder.client().list_runs()
    assert (caught.value.runs, list(caught.value.damaged)) == (["a", "b"], ["run"])


async def test_a_run_that_is_being_made_is_not_listed_yet(folder):
    await folder.write(b"x")
    made = folder.path / run_folder_name("made")
    made.mkdir()
    (made / temporary_name()).touch()
    assert await folder.client().list_runs() == ["run"]


async def test_a_run_that_may_not_be_read_hides_no_other(folder):
    await folder.write(b"x")
    await folder.client().acquire("another", "test")
    storage, ops = folder.faulty()
    ops.fail("open", errno.EACCES, path=f"{folder.run}/run")
    with pytest.raises(DamagedRunsError, match="Permission denied") as caught:
        await storage.list_runs()
    assert caught.value.runs == ["another"]
    assert "give this user the right" in caught.value.damaged["run"].hint


async def test_without_a_descriptor_left_no_run_is_called_damaged(folder):
    await folder.write(b"x")
    storage, ops = folder.faulty()
    ops.fail("open", errno.EMFILE, path="/run")
    with pytest.raises(StorageFullError):
        await storage.list_runs()


async def test_kill_9_and_the_next_acquire(folder, tmp_path):
    script = tmp_path / "child.py"
    script.write_text(textwrap.dedent(CHILD))
    acknowledged = 0
    for _ in range(3):
        command = [sys.executable, script, folder.path]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            for _ in range(5):
                acknowledged = int(child.stdout.readline())
            with pytest.raises(RunOwnedError, match="the child"):
                await folder.client().acquire("run", "test")
            child.kill()
            acknowledged = int([acknowledged, *child.stdout.read().split("\n")[:-1]][-1])
        assert child.returncode == -9
    storage = folder.client()
    claim = await storage.acquire("run", "test")
    assert claim.head in (acknowledged, acknowledged + 1)
    assert await folder.contents() == [b"entry %d" % number for number in range(1, claim.head + 1)]
    assert not await storage.list_blobs("run")
    await storage.delete("run", claim.epoch)
    assert not folder.names("tmp.")


async def test_left_overs_of_the_living_are_kept(folder):
    storage = folder.client()
    claim = await storage.acquire("run", "test")
    await storage.write_part("run", claim.epoch, "b", 0, [b"part"])
    other = folder.client()
    taken = await other.acquire("run", "next", takeover=True)
    await other.delete("run", taken.epoch)
    assert len(folder.names("tmp.")) == 1
    await storage.aclose()
    assert not folder.names("tmp.")


async def test_each_owner_starts_its_own_segment(folder):
    await folder.write(b"1", b"2")
    before = (folder.run / "seg.1.1").read_bytes()
    await folder.write(b"3")
    assert folder.names("seg.") == ["seg.1.1", "seg.2.1"]
    assert (folder.run / "seg.1.1").read_bytes() == before


async def test_a_full_segment_is_followed_by_another(folder):
    large = bytes(SEGMENT_BYTES // 2)
    await folder.write(large, large, b"next", b"and next")
    assert folder.names("seg.") == ["seg.1.1", "seg.1.2"]
    entries = await folder.client().list_entries("run")
    assert [entry.segment for entry in entries] == ["seg.1.1"] * 2 + ["seg.1.2"] * 2
    assert (await folder.contents())[3] == b"and next"


async def test_the_newest_entries_are_counted_from_the_end_across_segments_and_owners(folder):
    large = bytes(SEGMENT_BYTES // 2)
    await folder.write(b"1", large, large, b"4")
    await folder.write(b"5", b"6")
    storage = folder.client()
    entries = await storage.list_entries("run")
    assert len({entry.segment for entry in entries}) == 3
    for limit in range(1, 8):
        assert await storage.list_newest("run", limit=limit) == entries[-limit:]


async def test_segments_are_deleted_whole(folder):
    await folder.write(b"1", b"2")
    storage = folder.client()
    claim = await storage.acquire("run", "test")
    await storage.append("run", claim.epoch, 3, [b"3"], b"")
    first, second, third = await storage.list_entries("run")
    with pytest.raises(InvalidValueError, match=r"seg\.1\.1 also holds entry 2"):
        await storage.delete("run", claim.epoch, entries=[first])
    await storage.delete("run", claim.epoch, entries=[first, second])
    assert await folder.listed() == [(2, 3, False)]
    await storage.append("run", claim.epoch, 4, [b"4"], b"")
    await storage.delete("run", claim.epoch, entries=[third, *(await storage.list_entries("run", after=3))])
    assert (await folder.listed(), folder.names("seg.")) == ([], [])
    await storage.append("run", claim.epoch, 5, [b"5"], b"")
    assert await folder.listed() == [(2, 5, False)]


async def test_owner_files_are_pruned_with_their_segments(folder):
    for number in range(4):
        await folder.write(b"%d" % number)
    storage = folder.client()
    claim = await storage.acquire("run", "test")
    assert folder.names("owner.") == [f"owner.{epoch}" for epoch in range(1, 6)]
    entries = await storage.list_entries("run")
    await storage.delete("run", claim.epoch, entries=entries[:2])
    assert folder.names("owner.") == ["owner.3", "owner.4", "owner.5"]
    await storage.delete("run", claim.epoch, entries=entries[2:])
    assert folder.names("owner.") == ["owner.5"]
    assert (await storage.acquire("run", "test")).head == 4


async def test_void_segments_are_removed_by_deletion(folder):
    storage, ops = folder.faulty()
    claim = await storage.acquire("run", "slow")

    ops.before("pwritev", lambda: asyncio.run(_take_over_and_write(folder)), path="seg.1.1")
    with pytest.raises(FencedError):
        await storage.append("run", claim.epoch, 1, [b"void"], b"")
    assert folder.names("seg.") == ["seg.1.1", "seg.2.1"]
    assert await folder.listed() == [(2, 1, False)]
    other = folder.client()
    following = await other.acquire("run", "next")
    await other.delete("run", following.epoch)
    assert folder.names("seg.") == ["seg.2.1"]


async def _take_over_and_write(folder):
    storage = folder.client()
    claim = await storage.acquire("run", "fast", takeover=True)
    await folder.write(b"theirs", start=claim, storage=storage)


async def test_a_late_beginning_does_not_void_what_its_successor_read(folder):
    """The middle one of three owners reads an old head, and says so after the third has read a newer one."""
    first, middle_and_ops, third = folder.client(), folder.faulty(), folder.client()
    middle, ops = middle_and_ops
    claim = await first.acquire("run", "first")
    await first.append("run", claim.epoch, 1, [b"1"], b"")
    found = []

    async def meanwhile():
        with pytest.raises(FencedError):
            await first.append("run", claim.epoch, 2, [b"unacknowledged, but whole"], b"")
        found.append(await third.acquire("run", "third", takeover=True))

    ops.before("pwritev", lambda: asyncio.run(meanwhile()), nth=2, path="tmp.")
    with pytest.raises(RunOwnedError, match="third"):
        await middle.acquire("run", "middle", takeover=True)
    assert found == [Claim(3, 2)]
    await third.append("run", 3, 3, [b"3"], b"")
    assert await folder.listed() == [(1, 1, False), (1, 2, False), (3, 3, False)]
    assert (await third.acquire("run", "third")).head == 3


async def test_two_that_claim_at_once_get_different_epochs(folder):
    await folder.write()
    storage, ops = folder.faulty()
    found = []
    ops.before("lock", lambda: found.append(asyncio.run(folder.client().acquire("run", "fast"))), path="tmp.")
    with pytest.raises(RunOwnedError, match="fast"):
        await storage.acquire("run", "slow")
    assert found == [Claim(2, 0)]


async def test_an_owner_goes_on_from_what_is_there_when_it_takes_the_run(folder):
    storage = folder.client()
    await folder.write(b"1")
    assert len(await folder.listed(storage)) == 1
    await folder.write(b"2")
    claim = await storage.acquire("run", "test")
    assert claim.head == 2
    await storage.append("run", claim.epoch, 3, [b"3"], b"")
    assert await folder.contents() == [b"1", b"2", b"3"]


async def test_ownership_is_checked_after_the_sync(folder):
    storage, ops = folder.faulty()
    claim = await storage.acquire("run", "slow")
    await storage.append("run", claim.epoch, 1, [b"1"], b"")
    ops.before("fdatasync", lambda: asyncio.run(_take_over_and_write(folder)))
    with pytest.raises(FencedError, match="later owner"):
        await storage.append("run", claim.epoch, 2, [b"2"], b"")
    # The entry was whole when the next owner read the head, so it counts although nobody was told.
    assert await folder.contents() == [b"1", b"2", b"theirs"]


async def test_a_missing_owner_file_refuses_the_start(folder):
    await folder.write(b"1")
    await folder.write(b"2")
    (folder.run / "owner.2").unlink()
    for attempt in (folder.listed(), folder.client().acquire("run", "test")):
        with pytest.raises(CorruptionError, match=r"owner\.2: missing or damaged"):
            await attempt


async def test_a_damaged_owner_file_is_made_good_by_its_first_segment(folder):
    await folder.write(b"1")
    await folder.write(b"2")
    (folder.run / "owner.2").write_bytes(b"")
    assert await folder.listed() == [(1, 1, False), (2, 2, False)]
    (folder.run / "seg.2.1").rename(folder.run / "seg.2.2")
    with pytest.raises(CorruptionError, match=r"owner\.2: missing or damaged"):
        await folder.listed()


@pytest.mark.parametrize("name", ["seg.1.1", "run", "head", "owner.1", "blob.b"])
@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
async def test_odd_files_are_refused(folder, tmp_path, name, kind):
    await folder.write(b"x")
    path = folder.run / name
    path.unlink(missing_ok=True)
    secret = tmp_path / "secret"
    secret.write_bytes(b"not for you")
    if kind == "link":
        path.symlink_to(secret)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(StorageUnavailableError, match=name):
        await folder.client().acquire("run", "test")
        await folder.client().list_blobs("run")
    assert secret.read_bytes() == b"not for you"


async def test_a_run_folder_that_is_a_link_is_refused(folder, tmp_path):
    await folder.write(b"x")
    elsewhere = folder.run.rename(tmp_path / "elsewhere")
    folder.run.symlink_to(elsewhere)
    for attempt in (folder.listed(), folder.client().acquire("run", "test")):
        with pytest.raises(StorageUnavailableError, match="not a folder"):
            await attempt
    with pytest.raises(DamagedRunsError, match="not a folder") as caught:
        await folder.client().list_runs()
    assert isinstance(caught.value.damaged["run"], StorageUnavailableError)


async def test_what_is_deleted_during_a_look_is_not_reported_as_lost(folder):
    await folder.write(b"1", b"2")

    async def delete_everything():
        storage = folder.client()
        claim = await storage.acquire("run", "test")
        await storage.delete("run", claim.epoch, entries=await storage.list_entries("run"))

    reader, ops = folder.faulty()
    ops.before("listdir", lambda: asyncio.run(delete_everything()), path=folder.run.name)
    assert await folder.listed(reader) == []


async def test_what_is_added_during_a_look_is_not_reported_as_lost(folder):
    storage = folder.client()
    claim = await storage.acquire("run", "test")
    for number in itertools.count(1):
        reader, ops = folder.faulty()
        append = partial(storage.append, "run", claim.epoch, number, [b"added"], b"")
        ops.before("", lambda append=append: asyncio.run(append()), nth=number)
        listed = await folder.listed(reader)
        assert listed in ([(1, seen, False) for seen in range(1, end)] for end in (number, number + 1))
        if len(ops.log) < number:
            break


async def test_new_folders_are_made_durable(folder):
    folder.path = folder.path / "deep" / "er"
    storage, ops = folder.faulty()
    await storage.acquire("run", "test")
    synced = [path for call, path in ops.log if call == "fsync_folder"]
    parents = [str(path) for path in (folder.run, folder.path, *folder.path.parents)]
    assert set(synced) == set(parents)
    assert synced.index(str(folder.path.parent)) < synced.index(str(folder.run))


async def test_folders_made_by_others_are_made_durable(folder):
    """Whoever made them may have been killed before syncing."""
    await folder.write(b"x")
    storage, ops = folder.faulty()
    await storage.acquire("run", "test")
    synced = [path for call, path in ops.log if call == "fsync_folder"]
    assert {str(folder.path), str(folder.run)} <= set(synced)


async def test_foreign_files_are_left_alone(folder):
    await folder.write(b"x")
    for name in ("notes.txt", "seg.1", "owner.01", "seg.1.1.bak", "inbox.x"):
        (folder.run / name).write_text("mine")
    storage = folder.client()
    claim = await storage.acquire("run", "test")
    await storage.delete("run", claim.epoch, entries=await storage.list_entries("run"))
    await storage.release("run", claim.epoch)
    with pytest.raises(StorageError, match=r"inbox\.x, notes\.txt.*move them away"):
        await storage.delete_run("run")
    for name in ("notes.txt", "seg.1", "owner.01", "seg.1.1.bak", "inbox.x"):
        assert (folder.run / name).read_text() == "mine"
        (folder.run / name).unlink()
    await storage.delete_run("run")
    assert os.listdir(folder.path) == ["kernelckpt"]


async def test_a_run_made_anew_is_not_mixed_up_with_the_old_one(folder):
    """Nor are its epochs, which begin elsewhere than those of the same numbers did."""
    await folder.write(b"old 1")
    await folder.write(b"old 2")
    reader = folder.client()
    assert await folder.listed(reader) == [(1, 1, False), (2, 2, False)]
    assert await reader.read("run", 1, 1) == b"old 1"
    await folder.client().delete_run("run")
    await folder.write(b"new 1", b"new 2")
    await folder.write(b"new 3")
    assert await folder.listed(reader) == [(1, 1, False), (1, 2, False), (2, 3, False)]
    assert [await reader.read("run", 1, number) for number in (1, 2)] == [b"new 1", b"new 2"]


async def test_the_inbox_keeps_its_order_when_the_clock_goes_back(folder):
    await folder.write()
    storage, other = folder.client(), folder.client()
    await storage.post("run", "z first", b"")
    other._ops.wall_ns = lambda: 0
    await other.post("run", "a second", b"")
    assert [message.message_id for message in await storage.posted("run")] == ["z first", "a second"]


def flipped(data):
    return data[:60] + bytes([data[60] ^ 1]) + data[61:]


SPOILS = {
    "damaged": flipped,
    "cut off": lambda data: data[:-3],
    "longer": lambda data: data + b"\0",
    "empty": lambda _: b"",
    "of a newer version": in_version_2,
    "without an id": lambda _: encode_record("kernelckpt-inbox", b"", 1, b"x"),
    "with an id that is no text": lambda _: encode_record("kernelckpt-inbox", b"\xff", 1, b"x"),
    "of another kind": lambda _: encode_record("kernelckpt-run", b"m", 1, b"x"),
    "later than all": lambda _: encode_record("kernelckpt-inbox", b"m", 2**64 - 1, b"x"),
}


@pytest.mark.parametrize("spoil", SPOILS)
async def test_a_damaged_message_is_listed_as_that_and_hides_no_other(folder, spoil):
    await folder.write()
    storage = folder.client()
    await storage.post("run", "m", b"x" * 100)
    path = folder.run / folder.names("inbox.")[0]
    await storage.post("run", "after it", b"y")
    path.write_bytes(SPOILS[spoil](path.read_bytes()))
    damaged, whole = await folder.client().posted("run")
    assert (damaged.message_id, damaged.data) == ("", b"")
    assert path.name in damaged.damage
    assert (whole.message_id, whole.data, whole.damage) == ("after it", b"y", "")
    await folder.client().post("run", "last", b"z")
    assert [item.message_id for item in await folder.client().posted("run")] == ["", "after it", "last"]


async def test_a_listing_that_misses_a_message_does_not_show_what_was_posted_after_it(folder):
    """As a folder may be listed that changes meanwhile: what is added is seen, or is not."""
    await folder.write()
    storage, ops = folder.faulty()
    await storage.post("run", "first", b"1")
    (missed,) = folder.names("inbox.")
    await storage.post("run", "second", b"2")
    listdir, later = ops.listdir, []

    def hasty(path):
        names = listdir(path)
        if not later and missed in names:
            later.append(missed)
            names.remove(missed)
        return names

    ops.listdir = hasty
    assert [item.message_id for item in await storage.posted("run")] == ["first", "second"]
    assert later


async def test_listing_reads_heads_only_and_once(folder):
    claim = await folder.write(*[b"x" * 20_000] * 50)
    storage, ops = folder.faulty()
    assert len(await folder.listed(storage)) == 50
    reads = [path for call, path in ops.log if call == "pread" and "seg." in path]
    assert 50 <= len(reads) <= 60
    ops.log.clear()
    assert len(await folder.listed(storage)) == 50
    assert [path for call, path in ops.log if call == "open" and "seg." in path] == []
    assert claim.head == 0


def test_a_close_that_is_cancelled_lets_the_run_go():
    """The storage's thread is busy meanwhile: what it has not begun must not be forgotten."""
    fs = SimFileSystem()

    async def main(loop):
        ops = FlakyFileOps(fs, loop, loop.process("one"), FileFaults(pauses=1.0))
        storage = FileStorage("/state", ops=ops)
        claim = await storage.acquire("run", "one")
        appending = asyncio.create_task(storage.append("run", claim.epoch, 1, [b"x"], b""))
        closing = asyncio.create_task(storage.aclose())
        await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait([appending, closing])
        assert closing.cancelled()
        await asyncio.sleep(1)
        async with FileStorage("/state", ops=fs) as other:
            assert await other.acquire("run", "two") == Claim(2, 1)

    with SimLoop() as loop:
        loop.run(main(loop))


async def test_nothing_blocks_the_event_loop(folder):
    with blockbuster_ctx():
        async with open_storage(f"file:{folder.path}") as storage:
            claim = await storage.acquire("run", "test")
            await storage.append("run", claim.epoch, 1, [b"x"], b"")
            (entry,) = await storage.list_entries("run")
            await storage.read("run", claim.epoch, 1)
            await storage.write_part("run", claim.epoch, "b", 0, [b"x"])
            await storage.finish_blob("run", claim.epoch, "b")
            await storage.read_blob("run", "b")
            await storage.list_blobs("run")
            await storage.post("run", "m", b"x")
            await storage.posted("run")
            await storage.delete_posted("run", ["m"])
            await storage.delete("run", claim.epoch, entries=[entry], blobs=["b"])
            await storage.list_runs()
            await storage.release("run", claim.epoch)
            await storage.delete_run("run")


async def test_whoever_is_cancelled_while_asking_for_a_run_does_not_own_it(folder):
    asked, go_on = threading.Event(), threading.Event()
    storage, ops = folder.faulty()
    ops.before("link", lambda: (asked.set(), go_on.wait(10)))
    opening = asyncio.create_task(
        RunLog.open(storage, "run", holder="one", clock=SystemClock(), owner_wait=0.0)
    )
    while not asked.is_set():
        await asyncio.sleep(0)
    opening.cancel()
    await asyncio.sleep(0)
    go_on.set()
    await asyncio.wait([opening])
    assert opening.cancelled()
    assert (await folder.client().acquire("run", "two")).epoch == 2
