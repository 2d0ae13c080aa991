"""The SQLite storage when something fails: errors are typed, outcomes are known or said to be unknown."""

import asyncio
import os
import signal
import sqlite3
import threading

import pytest
from sqlite_kit import Faults, ask, child, contents

from kernelckpt import SqliteStorage
from kernelckpt.errors import (
    CorruptionError,
    FencedError,
    InvalidValueError,
    StorageError,
    StorageFullError,
    StorageUnavailableError,
    SyncFailedError,
    UnknownOutcomeError,
)

OWNER = """
import asyncio, sys
from kernelckpt import SqliteStorage
from kernelckpt.errors import KernelCkptError

async def main():
    storage = SqliteStorage(sys.argv[1])
    claim = await storage.acquire("run", "the child")
    await storage.write_part("run", claim.epoch, "unfinished", 0, [b"part"])
    for number in range(claim.head + 1, 1_000_000):
        try:
            await storage.append("run", claim.epoch, number, [b"entry %d" % number], b"")
        except KernelCkptError as error:
            print(type(error).__name__, flush=True)
            break
        print(number, flush=True)
        if len(sys.argv) > 2:
            await asyncio.to_thread(sys.stdin.readline)
    await storage.aclose()

asyncio.run(main())
"""

VISITOR = """
import asyncio, sys
from kernelckpt import SqliteStorage

async def main():
    storage = SqliteStorage(sys.argv[1])
    sys.stdin.readline()
    claim = await storage.acquire(sys.argv[2], "a visitor")
    for number in range(1, 21):
        await storage.append(sys.argv[2], claim.epoch, number, [sys.argv[2].encode()], b"")
    await storage.aclose()

asyncio.run(main())
"""

INHERITED = """
import asyncio, os, signal, sys
from kernelckpt import SqliteStorage

async def main():
    storage = SqliteStorage(sys.argv[1])
    claim = await storage.acquire("run", "the parent")
    await storage.append("run", claim.epoch, 1, [b"one"], b"")
    await storage.list_entries("run")
    parent = os.getpid()
    if os.fork():
        signal.pause()
    return parent

parent = asyncio.run(main())
os.kill(parent, signal.SIGKILL)
print("the child ends", flush=True)
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state.db"


CODES = [
    (sqlite3.SQLITE_BUSY, StorageUnavailableError, StorageUnavailableError),
    (sqlite3.SQLITE_BUSY_RECOVERY, StorageUnavailableError, StorageUnavailableError),
    (sqlite3.SQLITE_LOCKED, StorageUnavailableError, UnknownOutcomeError),
    (sqlite3.SQLITE_PROTOCOL, StorageUnavailableError, UnknownOutcomeError),
    (sqlite3.SQLITE_FULL, StorageFullError, StorageFullError),
    (sqlite3.SQLITE_IOERR_SHMSIZE, StorageFullError, UnknownOutcomeError),
    (sqlite3.SQLITE_IOERR, StorageError, UnknownOutcomeError),
    (sqlite3.SQLITE_IOERR_WRITE, StorageError, UnknownOutcomeError),
    (sqlite3.SQLITE_IOERR_READ, StorageError, UnknownOutcomeError),
    (sqlite3.SQLITE_IOERR_FSYNC, SyncFailedError, UnknownOutcomeError),
    (sqlite3.SQLITE_IOERR_DIR_FSYNC, SyncFailedError, UnknownOutcomeError),
    (sqlite3.SQLITE_CORRUPT, CorruptionError, UnknownOutcomeError),
    (sqlite3.SQLITE_CORRUPT_INDEX, CorruptionError, UnknownOutcomeError),
    (sqlite3.SQLITE_NOTADB, StorageUnavailableError, UnknownOutcomeError),
    (sqlite3.SQLITE_READONLY, StorageUnavailableError, UnknownOutcomeError),
    (sqlite3.SQLITE_READONLY_DBMOVED, StorageUnavailableError, UnknownOutcomeError),
    (sqlite3.SQLITE_CANTOPEN, StorageUnavailableError, UnknownOutcomeError),
    (sqlite3.SQLITE_PERM, StorageUnavailableError, UnknownOutcomeError),
    (sqlite3.SQLITE_AUTH, StorageUnavailableError, UnknownOutcomeError),
    (sqlite3.SQLITE_NOLFS, StorageUnavailableError, UnknownOutcomeError),
    (sqlite3.SQLITE_TOOBIG, InvalidValueError, UnknownOutcomeError),
    (sqlite3.SQLITE_NOMEM, StorageError, UnknownOutcomeError),
    (sqlite3.SQLITE_ERROR, StorageError, UnknownOutcomeError),
]


@pytest.mark.parametrize(
    "statement", ["BEGIN IMMEDIATE", "SELECT * FROM runs", "INSERT INTO entries", "COMMIT"]
)
@pytest.mark.parametrize(("code", "kind", "at_commit"), CODES)
async def test_each_error_is_typed_and_the_number_may_be_tried_again(path, statement, code, kind, at_commit):
    faults = Faults()
    async with SqliteStorage(path, connect=faults.connect) as storage:
        claim = await storage.acquire("run", "test")
        await storage.append("run", claim.epoch, 1, [b"one"], b"")
        faults.failing[statement] = code
        with pytest.raises((StorageError, CorruptionError, InvalidValueError)) as caught:
            await storage.append("run", claim.epoch, 2, [b"not acknowledged"], b"")
        assert caught.type is (at_commit if statement == "COMMIT" else kind)
        assert caught.value.hint
        assert "injected" in str(caught.value.__cause__)
        assert await contents(storage) == [b"one"]
        await storage.append("run", claim.epoch, 2, [b"two"], b"")
        assert await contents(storage) == [b"one", b"two"]
        assert (await storage.acquire("run", "test")).head == 2


@pytest.mark.parametrize("statement", ["BEGIN", "SELECT * FROM runs", "SELECT run, sequence", "COMMIT"])
async def test_a_failed_read_is_over(path, statement):
    faults = Faults()
    async with SqliteStorage(path, connect=faults.connect) as storage:
        claim = await storage.acquire("run", "test")
        await storage.append("run", claim.epoch, 1, [b"one"], b"")
        faults.failing[statement] = sqlite3.SQLITE_IOERR_READ
        with pytest.raises(StorageError) as caught:
            await storage.list_entries("run")
        assert caught.type is StorageError
        await storage.append("run", claim.epoch, 2, [b"two"], b"")
        assert await contents(storage) == [b"one", b"two"]


@pytest.mark.parametrize(
    "statement", ["PRAGMA wal_checkpoint", "PRAGMA incremental_vacuum", "PRAGMA freelist"]
)
async def test_what_was_committed_is_acknowledged_although_the_upkeep_fails(path, statement, monkeypatch):
    monkeypatch.setattr("kernelckpt.storage.sqlite.file._CHANGES", 1)
    monkeypatch.setattr("kernelckpt.storage.sqlite.file._FREE_PAGES", 0)
    faults = Faults()
    async with SqliteStorage(path, connect=faults.connect) as storage:
        claim = await storage.acquire("run", "test")
        faults.failing[statement] = sqlite3.SQLITE_IOERR_FSYNC
        await storage.append("run", claim.epoch, 1, [b"x" * 1_000_000], b"")
        await storage.delete("run", claim.epoch, entries=await storage.list_entries("run"))
        assert not faults.failing
        await storage.append("run", claim.epoch, 2, [b"two"], b"")
        assert await contents(storage) == [b"two"]


async def test_a_full_disk_and_space_again(path):
    async with SqliteStorage(path) as storage:
        claim = await storage.acquire("run", "test")
        (pages,) = await ask(storage, "PRAGMA page_count")
        await ask(storage, f"PRAGMA max_page_count = {pages + 20}")
        written = 0
        with pytest.raises(StorageFullError):
            while True:
                await storage.append("run", claim.epoch, written + 1, [b"%5000d" % written], b"")
                written += 1
        assert 0 < written < 20
        with pytest.raises(StorageFullError):
            await storage.write_part("run", claim.epoch, "b", 0, [b"x" * 100_000])
        assert await contents(storage) == [b"%5000d" % number for number in range(written)]
        await ask(storage, f"PRAGMA max_page_count = {pages + 200}")
        await storage.append("run", claim.epoch, written + 1, [b"%5000d" % written], b"")
        await storage.write_part("run", claim.epoch, "b", 0, [b"x" * 100_000])
        await storage.finish_blob("run", claim.epoch, "b")
        assert len(await contents(storage)) == written + 1


async def test_a_lock_that_somebody_keeps(path):
    async with SqliteStorage(path) as storage, SqliteStorage(path) as other:
        claim = await storage.acquire("run", "test")
        await other.acquire("other", "test")
        await ask(other, "BEGIN IMMEDIATE")
        await ask(storage, "PRAGMA busy_timeout = 1")
        with pytest.raises(StorageUnavailableError, match="frozen"):
            await storage.append("run", claim.epoch, 1, [b"one"], b"")
        assert not await storage.list_entries("run"), "readers do not wait"
        await ask(other, "ROLLBACK")
        await storage.append("run", claim.epoch, 1, [b"one"], b"")
        assert await contents(storage) == [b"one"]


async def test_what_a_killed_process_acknowledged_is_there(path):
    process = child(OWNER, path)
    said = [process.stdout.readline().strip() for _ in range(200)]
    process.kill()
    said += process.communicate()[0].split()
    async with SqliteStorage(path) as storage:
        claim = await storage.acquire("run", "the next")  # no taking over: its lock went with it
        assert claim.epoch == 2
        assert claim.head - int(said[-1]) in (0, 1)
        assert await contents(storage) == [b"entry %d" % number for number in range(1, claim.head + 1)]
        assert not await storage.list_blobs("run")
        assert await ask(storage, "SELECT count(*) FROM pieces") == [0]
        assert len(os.listdir(f"{path}-owners")) == 1


async def test_a_deleted_run_leaves_nothing_of_its_killed_owner(path):
    process = child(OWNER, path)
    assert process.stdout.readline() == "1\n"
    process.kill()
    process.communicate()
    async with SqliteStorage(path) as storage:
        await storage.delete_run("run")
        assert list(await storage.list_runs()) == []
        for table in ("entries", "blobs", "pieces", "inbox"):
            assert await ask(storage, f"SELECT count(*) FROM {table}") == [0]
    assert os.listdir(path.parent) == [path.name]


async def test_a_frozen_owner_is_fenced_when_it_wakes(path):
    process = child(OWNER, path, "step by step")
    assert process.stdout.readline() == "1\n"
    process.send_signal(signal.SIGSTOP)
    async with SqliteStorage(path) as storage:
        claim = await storage.acquire("run", "the next", takeover=True)
        await storage.append("run", claim.epoch, 2, [b"two"], b"")
        process.send_signal(signal.SIGCONT)
        process.stdin.write("\n")
        assert process.communicate()[0] == "FencedError\n"
        assert await contents(storage) == [b"entry 1", b"two"]
        async with SqliteStorage(path) as other:  # the frozen one left without harm to its follower
            with pytest.raises(Exception, match="owned by the next"):
                await other.acquire("run", "another")


async def test_processes_that_open_a_new_database_at_once(path):
    names = [f"run {number}" for number in range(4)]
    processes = [child(VISITOR, path, name) for name in names]
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    assert [process.communicate() and process.returncode for process in processes] == [0] * 4
    async with SqliteStorage(path) as storage:
        assert list(await storage.list_runs()) == names
        for name in names:
            assert await contents(storage, name) == [name.encode()] * 20
    assert os.listdir(path.parent) == [path.name]


async def test_a_forked_child_leaves_the_connections_of_its_parent_alone(path):
    process = child(INHERITED, path)
    assert process.communicate()[0] == "the child ends\n"
    # Had the child closed what it inherited, it would have been the last to, and have removed the log.
    assert path.with_name("state.db-wal").exists()
    async with SqliteStorage(path) as storage:
        assert (await storage.acquire("run", "the next")).head == 1
        assert await contents(storage) == [b"one"]


@pytest.mark.may_block
async def test_a_fork_waits_for_the_call_that_is_under_way(path):
    begun, forking, done = threading.Event(), threading.Event(), []
    os.register_at_fork(before=forking.set)

    def slow(file):
        begun.set()
        forking.wait()
        for _ in range(2_000_000):
            pass
        done.append("the call")

    async with SqliteStorage(path) as storage:
        call = asyncio.create_task(storage._writer.call(slow))
        await asyncio.to_thread(begun.wait)
        pid = os.fork()
        if not pid:
            os._exit(len(done))
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
        await call
        await storage.acquire("run", "test")


async def test_closing_does_not_wait_for_ever_and_lets_go_later(path, monkeypatch):
    monkeypatch.setattr("kernelckpt.storage.sqlite.storage._CLOSE_SECONDS", 0.01)
    answer = threading.Event()
    storage = SqliteStorage(path)
    await storage.acquire("run", "test")
    stuck = asyncio.create_task(storage._writer.call(lambda _: answer.wait()))
    await asyncio.sleep(0)
    await storage.aclose()
    assert not stuck.done()
    answer.set()
    await storage._leaving
    assert os.listdir(path.parent) == [path.name]


async def test_a_message_is_posted_once_although_its_commit_failed(path):
    faults = Faults()
    async with SqliteStorage(path, connect=faults.connect) as storage:
        await storage.acquire("run", "test")
        faults.failing["COMMIT"] = sqlite3.SQLITE_IOERR_FSYNC
        with pytest.raises(UnknownOutcomeError):
            await storage.post("run", "m", b"data")
        assert await storage.post("run", "m", b"data") is True
        assert await storage.post("run", "m", b"data") is False
        assert [message.data for message in await storage.posted("run")] == [b"data"]


async def test_a_commit_that_happened_although_it_failed(path):
    faults = Faults()
    async with SqliteStorage(path, connect=faults.connect) as storage:
        claim = await storage.acquire("run", "test")
        faults.failing["COMMIT"], faults.done_before = sqlite3.SQLITE_IOERR_SHMSIZE, True
        with pytest.raises(UnknownOutcomeError):
            await storage.append("run", claim.epoch, 1, [b"one"], b"")
        assert await contents(storage) == [b"one"]
        with pytest.raises(FencedError):
            await storage.append("run", claim.epoch, 1, [b"one"], b"")
        await storage.append("run", claim.epoch, 2, [b"two"], b"")


async def test_a_claim_that_was_not_committed_is_nobodys(path):
    faults = Faults()
    async with SqliteStorage(path, connect=faults.connect) as storage, SqliteStorage(path) as other:
        claim = await storage.acquire("run", "test")
        faults.failing["COMMIT"] = sqlite3.SQLITE_IOERR_FSYNC
        with pytest.raises(UnknownOutcomeError):
            await storage.acquire("run", "test, again")
        await storage.append("run", claim.epoch, 1, [b"one"], b"")
        await storage.release("run", claim.epoch)
        assert (await other.acquire("run", "another")).head == 1
        assert len(os.listdir(f"{path}-owners")) == 1
        with pytest.raises(FencedError):
            await storage.append("run", claim.epoch, 2, [b"two"], b"")
