"""What is left of an SQLite storage after a crash or by a bad disk, and how long its files get."""

import random
import tracemalloc
from contextlib import suppress
from itertools import pairwise

import pytest
from sqlite_kit import ask, child, contents, copied, filled, outside

from kernelckpt import SqliteStorage
from kernelckpt.abc import PART_BYTES
from kernelckpt.errors import CorruptionError, DamagedRunsError, KernelCkptError
from kernelckpt.storage.sqlite.file import WAL_BYTES

PAGE = 4096
KILLED = """
import asyncio, os, sys
from kernelckpt import SqliteStorage

async def main():
    storage = SqliteStorage(sys.argv[1])
    claim = await storage.acquire("run", "the child")
    for number in range(1, 31):
        await storage.append("run", claim.epoch, number, [b"%d" % number], b"")
    os._exit(0)

asyncio.run(main())
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state.db"


class Copies:
    """Copies of a database and its log, taken while somebody writes."""

    def __init__(self, path):
        self.path = path
        self.taken = []

    def take(self):
        number = len(self.taken)
        files = []
        for end in ("", "-wal"):
            target = self.path.with_name(f"copy-{number}{end}")
            files.append(copied(f"{self.path}{end}", target).read_bytes())
        self.taken.append(tuple(files))

    async def opened(self, database, log):
        """The entries found in these files."""
        place = self.path.with_name("image.db")
        place.write_bytes(database)
        place.with_name("image.db-wal").write_bytes(log)
        async with SqliteStorage(place) as storage:
            claim = await storage.acquire("run", "after the crash")
            found = await contents(storage)
            assert claim.head == len(found)
            await storage.append("run", claim.epoch, claim.head + 1, [b"more"], b"")
            assert (await contents(storage))[-1] == b"more"
        place.unlink()
        return found


async def test_a_crash_after_each_commit(path, monkeypatch):
    monkeypatch.setattr("kernelckpt.storage.sqlite.file._CHANGES", 9)  # a checkpoint each few entries
    copies = Copies(path)
    bodies = [b"%d " % number * (700 * (number % 5)) for number in range(1, 26)]
    async with SqliteStorage(path) as storage:
        claim = await storage.acquire("run", "test")
        for number, body in enumerate(bodies, 1):
            await storage.append("run", claim.epoch, number, [body], b"")
            copies.take()
    for number, image in enumerate(copies.taken, 1):
        assert await copies.opened(*image) == bodies[:number]


async def test_a_crash_that_takes_the_end_of_the_log(path):
    """Each commit is synced: what was acknowledged lies before the log's end of then."""
    copies = Copies(path)
    bodies = [b"%d" % number * 1500 for number in range(1, 9)]
    async with SqliteStorage(path) as storage:
        claim = await storage.acquire("run", "test")
        for number, body in enumerate(bodies, 1):
            await storage.append("run", claim.epoch, number, [body], b"")
            copies.take()
    database, log = copies.taken[-1]
    ends = [len(image[1]) for image in copies.taken]
    for acknowledged, (end, following) in enumerate(pairwise(ends), 1):
        for cut in (end, end + 1, end + PAGE, following - 1):
            assert await copies.opened(database, log[:cut]) == bodies[:acknowledged]
            torn = log[:cut] + bytes(255 - byte for byte in log[cut:])
            assert await copies.opened(database, torn) == bodies[:acknowledged]


async def test_what_a_killed_owner_left_in_the_log_is_brought_into_the_database(path):
    """Its last sync may have failed, and another one of the log would do nothing."""
    child(KILLED, path).communicate()
    assert path.with_name("state.db-wal").stat().st_size > PAGE
    async with SqliteStorage(path) as storage:
        await storage.acquire("run", "the next")
        alone = copied(path, path.with_name("alone.db"))
        assert outside(alone, "SELECT head FROM runs", "SELECT count(*) FROM entries") == [(30,), (30,)]


@pytest.mark.parametrize("part", [0.3, 0.5, 0.9])
async def test_acknowledged_entries_that_a_damaged_log_hides_are_missed(path, part):
    child(KILLED, path).communicate()
    log = path.with_name("state.db-wal")
    data = bytearray(log.read_bytes())
    data[int(len(data) * part)] ^= 1
    log.write_bytes(data)
    async with SqliteStorage(path) as storage:
        claim = await storage.acquire("run", "the next")
        assert claim.head == 30
        *found, last = await storage.list_entries("run")
        assert [entry.damage for entry in found] == [""] * (last.sequence - 1)
        assert last.sequence <= 30
        assert "missing" in last.damage
        with pytest.raises(CorruptionError):
            await storage.read("run", last.epoch, last.sequence)
        await storage.append("run", claim.epoch, 31, [b"more"], b"")
        assert [entry.sequence for entry in await storage.list_newest("run", limit=1)] == [31]


async def everything(storage):
    """All that can be read, run by run."""
    found = {}
    for run_id in ("a run", "another", "run"):
        entries = await storage.list_entries(run_id, limit=1000)
        newest = await storage.list_newest(run_id, limit=5)
        assert list(newest) == list(entries)[-5:]
        blobs = await storage.list_blobs(run_id)
        posted = await storage.posted(run_id)
        if any(item.damage for item in (*entries, *posted)):
            raise CorruptionError("it is listed as damaged")
        found[run_id] = (
            [(entry, await storage.read(run_id, entry.epoch, entry.sequence)) for entry in entries],
            [(blob, await storage.read_blob(run_id, blob.name)) for blob in blobs],
            posted,
        )
    assert list(await storage.list_runs()) == list(found)
    return found


async def many_things(path):
    """A database with something of everything in it; what is read of it."""
    async with SqliteStorage(path) as storage:
        for run_id in ("a run", "another", "run"):
            claim = await storage.acquire(run_id, "test")
            for number in range(1, 25):
                body = [b"%d" % number * (number * 40)]
                await storage.append(run_id, claim.epoch, number, body, b"meta %d" % number)
            for name in ("b", "c"):
                await storage.write_part(run_id, claim.epoch, name, 0, [name.encode() * 9000])
                await storage.write_part(run_id, claim.epoch, name, 1, [b"end"])
                await storage.finish_blob(run_id, claim.epoch, name)
            for message_id in ("m", "n", "o"):
                await storage.post(run_id, message_id, b"message")
            gone = await storage.list_entries(run_id, limit=4)
            await storage.delete(run_id, claim.epoch, entries=gone)
        return await everything(storage)


def zeroed(page, _):
    return bytes(len(page))


def noise(page, dice):
    return dice.randbytes(len(page))


def flipped(page, dice):
    place = dice.randrange(len(page) * 8)
    return page[: place // 8] + bytes([page[place // 8] ^ 1 << place % 8]) + page[place // 8 + 1 :]


def torn(page, dice):
    place = dice.randrange(1, 8) * 512
    return page[:place] + bytes(len(page) - place)


@pytest.mark.parametrize(("damage", "times"), [(zeroed, 1), (noise, 1), (torn, 1), (flipped, 3)])
async def test_a_damaged_page_never_makes_less_of_it(path, damage, times):
    before = await many_things(path)
    sound = path.read_bytes()
    dice, noticed = random.Random(damage.__name__), 0
    for page in range(len(sound) // PAGE):
        for _ in range(times):
            begin, end = page * PAGE, (page + 1) * PAGE
            path.write_bytes(sound[:begin] + damage(sound[begin:end], dice) + sound[end:])
            found = before
            try:
                async with SqliteStorage(path) as storage:
                    found = await everything(storage)
            except KernelCkptError:
                noticed += 1
            assert found == before, f"page {page}"
    assert noticed > len(sound) // PAGE // 3


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM entries WHERE sequence = 3",
        "DELETE FROM entries WHERE sequence = 5",
        "DELETE FROM entries WHERE sequence >= 3",
        "DELETE FROM entries",
        "UPDATE entries SET sequence = 9 WHERE sequence = 3",
        "UPDATE entries SET meta = x'00' WHERE sequence = 3",
        "UPDATE entries SET epoch = 9 WHERE sequence = 3",
        "UPDATE entries SET size = 1 WHERE sequence = 3",
        "UPDATE entries SET data = x'00' WHERE sequence = 3",
        "UPDATE entries SET data = x'0000000000' WHERE sequence = 3",
        "UPDATE entries SET data = 'text' WHERE sequence = 3",
        "UPDATE runs SET head = 4",
        "UPDATE runs SET epoch = 7",
        "UPDATE runs SET owner = 0",
        "UPDATE runs SET id = x'00'",
    ],
)
async def test_rows_that_are_not_what_was_written(path, statement):
    await filled(path, b"one", b"two", b"three", b"four", b"five")
    outside(path, statement)
    async with SqliteStorage(path) as storage:
        with pytest.raises((CorruptionError, AssertionError)):
            await contents(storage)
        with suppress(CorruptionError):
            newest = await storage.list_newest("run", limit=5)
            assert any(entry.damage for entry in newest) or "data" in statement
            with pytest.raises(CorruptionError):
                await storage.read("run", 1, 5 if "5" in statement else 3)


async def test_a_damaged_run_hides_no_other(path):
    async with SqliteStorage(path) as storage:
        for run in ("a", "b", "c"):
            await storage.acquire(run, "test")
    outside(path, "UPDATE runs SET head = 4 WHERE id = x'62'")
    async with SqliteStorage(path) as storage:
        with pytest.raises(DamagedRunsError, match="1 of 3 runs cannot be listed") as caught:
            await storage.list_runs()
        assert (caught.value.runs, list(caught.value.damaged)) == (["a", "c"], ["b"])
        assert await storage.list_entries("c") == []
    outside(
        path, "UPDATE runs SET id = 'text' WHERE id = x'62'", "UPDATE runs SET id = x'FF' WHERE id = x'63'"
    )
    async with SqliteStorage(path) as storage:
        with pytest.raises(DamagedRunsError) as caught:
            await storage.list_runs()
        assert (caught.value.runs, set(caught.value.damaged)) == (["a"], {"text", "\\xff"})


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE pieces SET data = zeroblob(length(data))",
        "UPDATE pieces SET data = 'text'",
        "UPDATE pieces SET start = 1",
        "DELETE FROM pieces",
        "UPDATE blobs SET size = 100",
        "DELETE FROM blobs",
    ],
)
async def test_bytes_of_a_blob_that_are_not_what_was_written(path, statement):
    async with SqliteStorage(path) as storage:
        claim = await storage.acquire("run", "test")
        await storage.write_part("run", claim.epoch, "b", 0, [b"bytes"])
        await storage.finish_blob("run", claim.epoch, "b")
    outside(path, statement)
    async with SqliteStorage(path) as storage:
        with pytest.raises(CorruptionError):
            await storage.read_blob("run", "b")


async def test_the_log_does_not_grow_without_bound(path):
    log = path.with_name("state.db-wal")
    longest = 0
    async with SqliteStorage(path) as storage, SqliteStorage(path) as reader:
        claim = await storage.acquire("run", "test")
        for number in range(1, 101):
            await storage.append("run", claim.epoch, number, [b"x" * 400_000], b"")
            assert len(await reader.list_newest("run", limit=1)) == 1
            longest = max(longest, log.stat().st_size)
    assert WAL_BYTES / 2 < longest < WAL_BYTES + 1_000_000


async def test_many_small_commits_do_not_make_a_long_log(path):
    async with SqliteStorage(path) as storage:
        claim = await storage.acquire("run", "test")
        for number in range(1, 601):
            await storage.append("run", claim.epoch, number, [b"small"], b"")
        assert path.with_name("state.db-wal").stat().st_size < WAL_BYTES // 5


async def test_a_reader_that_stays_lets_the_log_grow_until_it_leaves(path, monkeypatch):
    monkeypatch.setattr("kernelckpt.storage.sqlite.file._CHECKPOINT_BUSY_MS", 1)
    log = path.with_name("state.db-wal")
    async with SqliteStorage(path) as storage, SqliteStorage(path) as reader:
        claim = await storage.acquire("run", "test")
        await storage.append("run", claim.epoch, 1, [b"one"], b"")
        await ask(reader, "BEGIN", "SELECT * FROM runs", thread="_reader")
        for number in range(2, 102):
            await storage.append("run", claim.epoch, number, [b"x" * 400_000], b"")
        assert log.stat().st_size > 2 * WAL_BYTES
        await ask(reader, "COMMIT", thread="_reader")
        for number in range(102, 152):
            await storage.append("run", claim.epoch, number, [b"x" * 400_000], b"")
        assert log.stat().st_size < WAL_BYTES + 1_000_000
        assert len(await contents(reader)) == 151


async def test_pruning_keeps_the_file_short(path):
    async with SqliteStorage(path) as storage:
        claim = await storage.acquire("run", "test")
        for number in range(1, 201):
            await storage.append("run", claim.epoch, number, [b"x" * 100_000], b"")
            if number % 10 == 0:
                await storage.delete("run", claim.epoch, entries=await storage.list_entries("run"))
        (pages,) = await ask(storage, "PRAGMA page_count")
        assert pages * PAGE < 2 * 10 * 100_000


async def test_a_deleted_run_gives_its_space_back(path):
    async with SqliteStorage(path) as storage:
        for run_id, size in (("gone", 5_000_000), ("kept", 3_000_000)):
            claim = await storage.acquire(run_id, "test")
            await storage.append(run_id, claim.epoch, 1, [b"x" * size], b"")
        await storage.release("gone", claim.epoch)
        await storage.delete_run("gone")
        (pages,) = await ask(storage, "PRAGMA page_count")
        assert 3_000_000 < pages * PAGE < 4_000_000
    assert path.stat().st_size < 4_000_000


async def test_a_large_blob_is_never_in_memory_whole(path):
    async with SqliteStorage(path) as storage:
        claim = await storage.acquire("run", "test")
        part = [b"x" * PART_BYTES]
        tracemalloc.start()
        try:
            for index in range(5):
                await storage.write_part("run", claim.epoch, "large", index, part)
            await storage.finish_blob("run", claim.epoch, "large")
            for offset in (0, 3 * PART_BYTES - 100, 5 * PART_BYTES - 1000):
                assert len(await storage.read_blob("run", "large", offset=offset, length=1000)) == 1000
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < PART_BYTES / 4
