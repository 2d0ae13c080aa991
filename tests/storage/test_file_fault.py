"""Failing system calls: what was acknowledged stays, what was not can be tried again, errors are typed."""

import asyncio
import errno
import threading

import pytest

from kernelckpt.abc import Claim
from kernelckpt.errors import (
    CorruptionError,
    FencedError,
    KernelCkptError,
    NotFoundError,
    RunOwnedError,
    StorageError,
    StorageFullError,
    StorageUnavailableError,
    SyncFailedError,
)
from kernelckpt.storage.file.ops import FileOps


async def owner(folder):
    storage, ops = folder.faulty()
    claim = await storage.acquire("run", "test")
    await storage.append("run", claim.epoch, 1, [b"one"], b"")
    return storage, ops


async def test_a_failed_sync_ends_the_segment(folder):
    storage, ops = await owner(folder)
    ops.fail("fdatasync", path="seg.1.1")
    with pytest.raises(SyncFailedError, match=r"seg\.1\.1.*EIO.*disk"):
        await storage.append("run", 1, 2, [b"lost"], b"")
    ops.log.clear()
    await storage.append("run", 1, 2, [b"two"], b"")
    await storage.append("run", 1, 3, [b"three"], b"")
    touched = {call for call, path in ops.log if path.endswith("seg.1.1")}
    assert not touched & {"open", "pwritev", "fdatasync", "fsync"}
    assert await folder.contents() == [b"one", b"two", b"three"]
    entries = await folder.client().list_entries("run")
    assert [entry.segment for entry in entries] == ["seg.1.1", "seg.1.2", "seg.1.2"]


async def test_an_entry_that_could_not_be_synced_is_not_there_for_its_owner(folder):
    """It can be read, which proves nothing: whoever lost the answer must not take it for durable."""
    storage, ops = await owner(folder)
    ops.fail("fdatasync", path="seg.1.1")
    with pytest.raises(SyncFailedError):
        await storage.append("run", 1, 2, [b"lost"], b"")
    assert [entry.sequence for entry in await storage.list_entries("run")] == [1]
    assert [entry.sequence for entry in await storage.list_newest("run", limit=1)] == [1]
    await storage.append("run", 1, 2, [b"two"], b"")
    assert [entry.sequence for entry in await storage.list_entries("run")] == [1, 2]


async def test_the_given_up_entry_never_comes_back(folder):
    """Not for the next owner, and not after the segment that replaced it was deleted."""
    storage, ops = await owner(folder)
    ops.fail("fdatasync", path="seg.1.1")
    with pytest.raises(SyncFailedError):
        await storage.append("run", 1, 2, [b"lost"], b"")
    await storage.append("run", 1, 2, [b"two"], b"")
    await storage.aclose()
    storage = folder.client()
    claim = await storage.acquire("run", "next")
    assert claim.head == 2
    await storage.append("run", claim.epoch, 3, [b"three"], b"")
    assert await folder.contents() == [b"one", b"two", b"three"]
    _, second, _ = await storage.list_entries("run")
    (folder.run / "seg.1.1").write_bytes((folder.run / "seg.1.1").read_bytes()[:-2])
    await storage.delete("run", claim.epoch, entries=[second])
    assert await folder.listed() == [(1, 1, False), (2, 3, False)]


async def test_an_entry_whose_sync_failed_is_made_durable_by_the_next_owner(folder):
    """Its pages count as clean, so a mere sync would do nothing: they are written again."""
    storage, ops = await owner(folder)
    ops.fail("fdatasync", path="seg.1.1")
    with pytest.raises(SyncFailedError):
        await storage.append("run", 1, 2, [b"two"], b"")
    await storage.aclose()
    following, ops = folder.faulty()
    assert (await following.acquire("run", "next")).head == 2
    calls = [call for call, path in ops.log if path.endswith("seg.1.1")]
    assert calls.index("pwritev") < calls.index("fsync")
    assert await folder.contents() == [b"one", b"two"]


async def test_acquiring_fails_when_what_was_found_cannot_be_synced(folder):
    await folder.write(b"one")
    storage, ops = folder.faulty()
    ops.fail("fsync", path="seg.1.1")
    with pytest.raises(SyncFailedError, match=r"seg\.1\.1"):
        await storage.acquire("run", "test")
    with pytest.raises(FencedError):
        await storage.append("run", 2, 2, [b"two"], b"")
    assert (await folder.client().acquire("run", "test")).head == 1


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
@pytest.mark.parametrize("call", ["pwritev", "fdatasync"])
async def test_a_full_disk(folder, call, number):
    storage, ops = await owner(folder)
    ops.fail(call, number, path="seg.1.1")
    ops.fail(call, number, times=2, path="seg.1.2")
    for _ in range(2):
        with pytest.raises(StorageFullError, match=r"seg\.1\.") as caught:
            await storage.append("run", 1, 2, [b"two"], b"")
        assert caught.value.hint
    ops.shorten(10, times=3)
    ops.fail(call, number, times=1, path="seg.1.3")
    with pytest.raises(StorageFullError):
        await storage.append("run", 1, 2, [b"two"], b"")
    await storage.append("run", 1, 2, [b"two"], b"")
    assert await folder.contents() == [b"one", b"two"]


async def test_a_failed_write_leaves_no_empty_segments(folder):
    storage, ops = await owner(folder)
    ops.shorten(10, path="seg.", times=1)
    ops.fail("pwritev", errno.ENOSPC, path="seg.", times=3)
    for _ in range(3):
        with pytest.raises(StorageFullError):
            await storage.append("run", 1, 2, [b"two"], b"")
    assert folder.names("seg.") == ["seg.1.1"]


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
async def test_no_descriptor_left(folder, number):
    storage, ops = await owner(folder)
    ops.fail("create", number)
    ops.fail("fdatasync")
    with pytest.raises(SyncFailedError):
        await storage.append("run", 1, 2, [b"two"], b"")
    with pytest.raises(StorageFullError, match="open files"):
        await storage.append("run", 1, 2, [b"two"], b"")
    await storage.append("run", 1, 2, [b"two"], b"")
    assert await folder.contents() == [b"one", b"two"]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS])
@pytest.mark.parametrize("call", ["mkdir", "create", "listdir"])
async def test_a_folder_that_cannot_be_used(folder, call, number):
    storage, ops = folder.faulty()
    ops.fail(call, number, times=9)
    with pytest.raises(StorageUnavailableError, match="state") as caught:
        await storage.acquire("run", "test")
    assert caught.value.hint


async def test_short_writes_are_completed(folder):
    storage, ops = folder.faulty()
    claim = await storage.acquire("run", "test")
    body = bytes(range(256)) * 10
    ops.shorten(7, times=200)
    await storage.append("run", claim.epoch, 1, [body[:1000], b"", body[1000:]], b"meta")
    ops.shorten(11, times=100)
    await storage.write_part("run", claim.epoch, "b", 0, [body[:500], body[500:]])
    await storage.finish_blob("run", claim.epoch, "b")
    assert await folder.contents() == [body]
    assert await storage.read_blob("run", "b") == body


class FewBytes(FileOps):
    """Gives fewer bytes than were asked for, as a system may."""

    def pread(self, fd, size, offset):
        return super().pread(fd, min(size, 7), offset)


async def test_short_reads_are_completed(folder):
    storage = folder.client()
    claim = await folder.write(b"one" * 99, b"two" * 99, storage=storage)
    following = folder.client(FewBytes())
    entries = await following.list_entries("run")
    assert [entry.meta for entry in entries] == [b"meta 1", b"meta 2"]
    assert [await following.read("run", claim.epoch, number) for number in (1, 2)] == [
        b"one" * 99,
        b"two" * 99,
    ]
    assert (await following.acquire("run", "next")).head == 2


async def test_a_new_file_counts_only_when_its_name_is_durable(folder):
    storage, ops = folder.faulty()
    claim = await storage.acquire("run", "test")
    ops.fail("fsync_folder")
    with pytest.raises(SyncFailedError):
        await storage.append("run", claim.epoch, 1, [b"lost"], b"")
    await storage.append("run", claim.epoch, 1, [b"one"], b"")
    assert await folder.contents() == [b"one"]
    names = [call for call, _ in ops.log]
    assert names[::-1].index("fsync_folder") < names[::-1].index("fdatasync")


async def test_the_mark_is_not_needed(folder):
    storage, ops = await owner(folder)
    ops.fail("pwritev", path="/head", times=5)
    for number in (2, 3):
        await storage.append("run", 1, number, [b"%d" % number], b"")
    assert await folder.contents() == [b"one", b"2", b"3"]


async def test_a_failed_blob_is_gone(folder):
    storage, ops = await owner(folder)
    ops.fail("pwritev", errno.ENOSPC, path="tmp.")
    with pytest.raises(StorageFullError):
        await storage.write_part("run", 1, "a", 0, [b"x"])
    with pytest.raises(NotFoundError):
        await storage.finish_blob("run", 1, "a")
    await storage.write_part("run", 1, "b", 0, [b"x"])
    ops.fail("fsync", path="tmp.")
    with pytest.raises(SyncFailedError):
        await storage.finish_blob("run", 1, "b")
    assert not await storage.list_blobs("run")
    assert not folder.names("tmp.")


async def test_what_a_replaced_owner_tries_again_does_not_replace_what_the_new_one_has_found(folder):
    """The entry was whole, only its folder could not be synced: the new owner goes on from it."""
    old, ops = folder.faulty()
    await old.acquire("run", "old")
    ops.fail("fsync_folder")
    with pytest.raises(SyncFailedError):
        await old.append("run", 1, 1, [b"found"], b"")
    new = folder.client()
    assert await new.acquire("run", "new", takeover=True) == Claim(2, 1)
    for _ in range(2):
        with pytest.raises(FencedError):
            await old.append("run", 1, 1, [b"tried again"], b"")
        assert await folder.contents() == [b"found"]
    await new.append("run", 2, 2, [b"next"], b"")
    assert await folder.contents() == [b"found", b"next"]


async def test_a_replaced_owner_fills_the_segment_it_had_just_made(folder):
    """The new owner has seen it empty; what comes into it is void all the same."""
    old, ops = folder.faulty()
    new = folder.client()
    await old.acquire("run", "old")
    ops.fail("fsync_folder")
    with pytest.raises(SyncFailedError):
        await old.append("run", 1, 1, [b"found"], b"")
    inside, go_on = threading.Event(), threading.Event()

    def wait():
        inside.set()
        go_on.wait()

    ops.before("pwritev", wait, path="seg.1.2")
    task = asyncio.create_task(old.append("run", 1, 1, [b"tried again"], b""))
    await asyncio.to_thread(inside.wait)
    assert await new.acquire("run", "new", takeover=True) == Claim(2, 1)
    go_on.set()
    with pytest.raises(FencedError):
        await task
    assert await folder.contents() == [b"found"]


async def test_a_cancelled_append_is_finished(folder):
    storage, ops = await owner(folder)
    inside, go_on = threading.Event(), threading.Event()

    def wait():
        inside.set()
        go_on.wait()

    ops.before("fdatasync", wait)
    task = asyncio.create_task(storage.append("run", 1, 2, [b"two"], b""))
    await asyncio.to_thread(inside.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go_on.set()
    await storage.append("run", 1, 3, [b"three"], b"")
    assert await folder.contents() == [b"one", b"two", b"three"]


async def workload(storage, acknowledged):
    """Every kind of call, each tried again a few times; notes what was acknowledged."""

    async def insist(call):
        for _ in range(3):
            try:
                return await call()
            except StorageError:
                continue
        return await call()

    for epoch in (1, 2):
        claim = await insist(lambda: storage.acquire("run", "test"))
        for number in range(claim.head + 1, claim.head + 3):
            body = b"epoch %d, entry %d" % (epoch, number)
            await insist(lambda n=number, b=body, c=claim: storage.append("run", c.epoch, n, [b], b""))
            acknowledged[number] = body
        await insist(lambda: storage.post("run", "m", b"x"))
        await insist(lambda: storage.posted("run"))
    for attempt in range(3):
        try:
            await storage.write_part("run", claim.epoch, f"b{attempt}", 0, [b"x"])
            await storage.finish_blob("run", claim.epoch, f"b{attempt}")
            break
        except StorageError:
            continue
    old = [entry for entry in await insist(lambda: storage.list_entries("run")) if entry.epoch < claim.epoch]
    for entry in old:
        acknowledged.pop(entry.sequence, None)
    await insist(lambda: storage.delete("run", claim.epoch, entries=old))


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
async def test_any_one_call_may_fail(folder, tmp_path, number):
    """Whichever call fails, once: nothing acknowledged is lost, and only typed errors come out."""
    _, counting = folder.faulty()
    folder.path = tmp_path / "count"
    storage, counting = folder.faulty()
    await workload(storage, {})
    for nth in range(1, len(counting.log) + 1):
        folder.path = tmp_path / f"{nth}"
        storage, ops = folder.faulty()
        acknowledged = {}
        ops.fail("", number, nth=nth)
        await workload(storage, acknowledged)
        await storage.aclose()
        assert ops.open_paths == [], nth
        following = folder.client()
        claim = await following.acquire("run", "next")
        entries = await following.list_entries("run")
        found = {e.sequence: await following.read("run", e.epoch, e.sequence) for e in entries}
        assert {sequence: found.get(sequence) for sequence in acknowledged} == acknowledged, nth
        assert not [entry for entry in entries if entry.damage], nth
        assert claim.head >= max(acknowledged), nth


async def test_lasting_failure_stays_typed(folder):
    storage, ops = await owner(folder)
    ops.fail("", errno.EIO, times=10_000)
    for call in (
        lambda: storage.acquire("run", "test"),
        lambda: storage.list_entries("run"),
        lambda: storage.post("run", "m", b""),
        storage.list_runs,
        lambda: storage.delete_run("run"),
    ):
        with pytest.raises(KernelCkptError):
            await call()
    await storage.aclose()


async def test_a_mark_whose_sync_failed_is_replaced_never_synced_again(folder):
    storage, ops = await owner(folder)
    await storage.append("run", 1, 2, [b"two"], b"")
    entries = await storage.list_entries("run")
    ops.fail("fsync", path="head")
    with pytest.raises(StorageError, match="EIO"):
        await storage.delete("run", 1, entries=entries)
    assert await folder.contents() == [b"one", b"two"]
    ops.log.clear()
    await storage.delete("run", 1, entries=entries)
    assert ("fsync", str(folder.run / "head")) not in ops.log
    await storage.append("run", 1, 3, [b"three"], b"")
    await storage.aclose()
    following = folder.client()
    assert (await following.acquire("run", "next")).head == 3
    assert await folder.listed() == [(1, 3, False)]
    assert folder.names("tmp.") == []


async def test_deleting_the_file_of_a_newer_owner_does_not_bring_back_the_older_one(folder):
    """Somebody takes it for a stale lock; the newer owner has acknowledged an entry by then."""
    older, newer = folder.client(), folder.client()
    await folder.write(b"one")
    claim = await older.acquire("run", "older")
    following = await newer.acquire("run", "newer", takeover=True)
    await newer.append("run", following.epoch, 2, [b"two"], b"")
    (folder.run / f"owner.{following.epoch}").unlink()
    with pytest.raises(FencedError):
        await older.append("run", claim.epoch, 2, [b"another two"], b"")


async def test_an_owner_whose_file_was_deleted_and_made_again_is_over(folder):
    first, second = folder.client(), folder.client()
    claim = await first.acquire("run", "first")
    (folder.run / "owner.1").unlink()
    assert (await second.acquire("run", "second")).epoch == claim.epoch
    with pytest.raises(FencedError):
        await first.append("run", 1, 1, [b"one"], b"")


async def test_an_owner_that_is_gone_when_it_is_asked_for_is_not_an_unusable_folder(folder):
    """Its file was pruned by a later owner, who is alive."""
    await folder.write(b"one")
    storage, ops = folder.faulty()
    other = folder.client()
    await other.acquire("run", "other")

    def prune():
        (folder.run / "owner.2").rename(folder.run / "owner.3")

    ops.before("open", prune, path="owner.2")
    with pytest.raises(RunOwnedError):
        await storage.acquire("run", "test")


async def test_entries_whose_owner_file_was_deleted_are_not_lost_in_silence(folder):
    """Somebody deletes it just as the next owner comes; its entries are no left-overs of a pruning."""
    await folder.write(b"one")
    storage, ops = folder.faulty()
    ops.before("link", (folder.run / "owner.1").unlink, path="tmp.")
    with pytest.raises(CorruptionError, match=r"owner\.1: missing"):
        await storage.acquire("run", "next")
    with pytest.raises(CorruptionError, match=r"owner\.1: missing"):
        await folder.listed()


async def test_what_a_replaced_owner_writes_after_its_file_was_pruned_is_void(folder):
    await folder.write(b"one")
    older, newer = folder.client(), folder.client()
    await older.acquire("run", "older")
    await newer.acquire("run", "newer", takeover=True)
    await newer.append("run", 3, 2, [b"two"], b"")
    await newer.delete("run", 3, entries=[(await newer.list_entries("run"))[0]])
    with pytest.raises(FencedError):
        await older.append("run", 2, 2, [b"late"], b"")
    assert (folder.names("owner."), folder.names("seg.")) == (["owner.3"], ["seg.2.1", "seg.3.1"])
    assert await folder.listed() == [(3, 2, False)]
    assert (await folder.client().acquire("run", "next", takeover=True)).head == 2
