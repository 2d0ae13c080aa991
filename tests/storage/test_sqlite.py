"""The database of the SQLite storage: its settings, its files, and what it refuses to touch."""

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from sqlite_kit import Faults, ask, contents, filled, outside
from unprivileged import nobody

from kernelckpt import SqliteStorage, open_storage
from kernelckpt.abc import Claim
from kernelckpt.errors import (
    InvalidValueError,
    NotFoundError,
    RunOwnedError,
    StorageUnavailableError,
    StorageUrlError,
    UnknownOutcomeError,
    UnsupportedVersionError,
)
from kernelckpt.storage.file.ops import FileOps
from kernelckpt.storage.sqlite.file import APPLICATION_ID, BUSY_MS

PROMISED = {"journal_mode": b"wal", "synchronous": 2, "busy_timeout": BUSY_MS, "wal_autocheckpoint": 0}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state.db"


def tree(folder):
    """Every file of a folder, and what is in it."""
    return {entry.name: entry.read_bytes() if entry.is_file() else None for entry in sorted(folder.iterdir())}


def test_python_without_sqlite_has_the_other_storages():
    program = "import sys; sys.modules['sqlite3'] = None; import kernelckpt; print(kernelckpt.FileStorage)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "FileStorage" in done.stdout


async def test_settings_are_really_set(path):
    async with SqliteStorage(path) as storage:
        await storage.acquire("run", "test")
        await storage.list_runs()
        for thread in ("_writer", "_reader"):
            found = await ask(storage, *(f"PRAGMA {name}" for name in PROMISED), thread=thread)
            assert dict(zip(PROMISED, found, strict=True)) == PROMISED
        assert await ask(storage, "PRAGMA auto_vacuum", "PRAGMA application_id") == [2, APPLICATION_ID]
    assert os.listdir(path.parent) == [path.name], "the last connection took the log with it"


@pytest.mark.parametrize(
    ("setting", "asked", "taken"),
    [
        ("journal_mode", "wal", "delete"),  # with synchronous=FULL: SQLite's default, loses the last commit
        ("journal_mode", "wal", "truncate"),
        ("journal_mode", "wal", "persist"),
        ("journal_mode", "wal", "memory"),
        ("journal_mode", "wal", "off"),
        ("synchronous", "2", "1"),
        ("synchronous", "2", "0"),
        ("busy_timeout", str(BUSY_MS), "0"),
        ("wal_autocheckpoint", "0", "1000"),
    ],
)
@pytest.mark.parametrize("new", [True, False], ids=["new", "found"])
async def test_a_setting_that_does_not_take_is_refused(path, setting, asked, taken, new):
    if not new:
        await filled(path, b"one")
    faults = Faults()
    faults.replaced[f"PRAGMA {setting} = {asked}"] = f"PRAGMA {setting} = {taken}"
    async with SqliteStorage(path, connect=faults.connect) as storage:
        with pytest.raises(StorageUnavailableError, match=f"{setting} is {taken}"):
            await storage.acquire("run", "test")
        if not new:
            with pytest.raises(StorageUnavailableError, match=setting):
                await storage.list_entries("run")


@pytest.mark.parametrize("mode", ["delete", "truncate", "persist"])
async def test_a_journal_that_somebody_changed_is_changed_back(path, mode):
    await filled(path, b"one")
    assert outside(path, f"PRAGMA journal_mode = {mode}") == [(mode,)]
    async with SqliteStorage(path) as storage:
        assert await contents(storage) == [b"one"]
        assert await ask(storage, "PRAGMA journal_mode", thread="_reader") == [b"wal"]
    assert outside(path, "PRAGMA journal_mode") == [("wal",)]


async def test_reading_makes_nothing(path):
    async with SqliteStorage(path.with_name("none") / "state.db") as storage:
        await storage.check()
        assert list(await storage.list_runs()) == []
        for call in (
            storage.list_entries("run"),
            storage.posted("run"),
            storage.post("run", "m", b""),
            storage.delete_run("run"),
        ):
            with pytest.raises(NotFoundError):
                await call
    assert not list(path.parent.iterdir())


class RecordingOps(FileOps):
    """Real files; what makes names durable is kept in order."""

    def __init__(self):
        self.done = []

    def link(self, source, target):
        super().link(source, target)
        self.done.append(("link", target))

    def fsync(self, fd):
        super().fsync(fd)
        self.done.append(("fsync", os.readlink(f"/proc/self/fd/{fd}").partition("-new-")[0]))

    def fsync_folder(self, path):
        super().fsync_folder(path)
        self.done.append(("fsync_folder", path))


async def test_a_new_database_gets_its_name_whole_and_durably(path):
    ops = RecordingOps()
    async with SqliteStorage(path, ops=ops) as storage:
        await storage.acquire("run", "test")
    assert ops.done[-3:] == [("fsync", str(path)), ("link", str(path)), ("fsync_folder", str(path.parent))]
    assert ops.done[0] == ("fsync_folder", str(path.parent))
    ops = RecordingOps()
    async with SqliteStorage(path, ops=ops) as storage:
        await storage.acquire("run", "test")
    assert ops.done == [("fsync_folder", str(path.parent))], "its maker may have been killed before that"


async def test_of_many_that_make_it_at_once_one_does(path):
    clients = [SqliteStorage(path) for _ in range(8)]
    await asyncio.gather(*(client.acquire(f"run {number}", "test") for number, client in enumerate(clients)))
    assert len(await clients[0].list_runs()) == 8
    for client in clients:
        await client.aclose()
    assert os.listdir(path.parent) == [path.name]


async def test_files_are_for_their_owner_only(path):
    before = os.umask(0)
    try:
        async with SqliteStorage(path.parent / "made" / "state.db") as storage:
            await storage.acquire("run", "test")
            modes = {
                found.name: stat.S_IMODE(found.stat().st_mode) for found in (path.parent / "made").rglob("*")
            }
    finally:
        os.umask(before)
    (owner,) = modes.keys() - {"state.db", "state.db-wal", "state.db-shm", "state.db-owners"}
    assert len(owner) == 16
    assert modes.pop("state.db-owners") == 0o700
    assert set(modes.values()) == {0o600}
    assert sorted(os.listdir(path.parent / "made")) == ["state.db"]


def text_file(path):
    path.write_text("somebody's notes, longer than a hundred bytes" * 9)


def other_database(path):
    outside(path, "CREATE TABLE theirs (x)", "INSERT INTO theirs VALUES (1)")


def killed_database(path):
    """A database whose last commits are in its log only, as after `kill -9`."""
    source = path.with_name("source")
    with closing(sqlite3.connect(source)) as db:
        db.execute("PRAGMA journal_mode = wal")
        db.execute("CREATE TABLE theirs (x)")
        db.commit()
        for end in ("", "-wal"):
            Path(f"{path}{end}").write_bytes(Path(f"{source}{end}").read_bytes())


@pytest.mark.parametrize(
    "make",
    [text_file, other_database, killed_database, Path.touch, Path.mkdir, os.mkfifo],
)
async def test_what_is_not_ours_is_refused_and_untouched(path, make):
    make(path)
    before = tree(path.parent)
    async with SqliteStorage(path) as storage:
        for call in (storage.check, storage.list_runs):
            with pytest.raises(StorageUnavailableError):
                await call()
        with pytest.raises(StorageUnavailableError):
            await storage.acquire("run", "test")
    assert tree(path.parent) == before


async def test_a_newer_layout_is_refused_and_untouched(path):
    await filled(path, b"one")
    outside(path, "PRAGMA user_version = 2")
    before = tree(path.parent)
    async with SqliteStorage(path) as storage:
        with pytest.raises(UnsupportedVersionError) as caught:
            await storage.acquire("run", "test")
        assert (caught.value.found, caught.value.supported) == (2, 1)
        with pytest.raises(UnsupportedVersionError):
            await storage.list_runs()
    assert tree(path.parent) == before


async def test_a_newer_layout_that_is_only_in_the_log_is_refused(path):
    await filled(path, b"one")
    program = (
        "import os, sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute('PRAGMA user_version = 2')"
    )
    process = await asyncio.create_subprocess_exec(
        *("python3", "-c", f"{program}; db.commit(); os._exit(0)", str(path))
    )
    await process.wait()
    async with SqliteStorage(path) as storage:
        with pytest.raises(UnsupportedVersionError):
            await storage.acquire("run", "test")


@pytest.mark.parametrize(
    "name",
    [
        "with space",
        "100%",
        "a%20b",
        "what?",
        "x?mode=memory",
        "a#b",
        "ünï ✓",
        "-rf",
        "'; drop",
        "\udcff",
        "a:b",
    ],
)
async def test_odd_paths(tmp_path, name):
    target = tmp_path / name / name
    async with open_storage(SqliteStorage(target).name) as storage:
        assert isinstance(storage, SqliteStorage)
        assert storage.path == str(target)
        claim = await storage.acquire("run", "test")
        await storage.append("run", claim.epoch, 1, [b"one"], b"")
    assert [os.fsencode(found.name) for found in target.parent.iterdir()] == [os.fsencode(name)]
    async with SqliteStorage(target) as storage:
        assert await contents(storage) == [b"one"]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlite:", "sqlite:./state.db"),
        ("sqlite://server/x.db", "sqlite:./state.db"),
        ("sqlite:/a?mode=ro", "allow_network_fs=1"),
        ("sqlite:~/x.db", "absolute path"),
        ("sqlite:/a#b", "%23"),
    ],
)
async def test_wrong_urls(url, said):
    with pytest.raises(StorageUrlError, match=said):
        await open_storage(url)


class OpsOnNfs(FileOps):
    """Real files that are said to lie on a network file system."""

    def file_system(self, path):
        return "nfs4"


async def test_network_file_systems_are_refused(path):
    async with SqliteStorage(path, ops=OpsOnNfs()) as storage:
        for call in (storage.check(), storage.acquire("run", "test")):
            with pytest.raises(StorageUnavailableError, match="allow_network_fs=1"):
                await call
    assert not path.exists()
    async with SqliteStorage(path, ops=OpsOnNfs(), allow_network_fs=True) as storage:
        await storage.acquire("run", "test")


async def test_a_link_is_the_same_database(path):
    path.with_name("link.db").symlink_to("state.db")
    async with SqliteStorage(path.with_name("link.db")) as linked, SqliteStorage(path) as storage:
        await linked.acquire("run", "by the link")
        with pytest.raises(RunOwnedError, match="by the link"):
            await storage.acquire("run", "test")
    assert path.is_file()
    assert not path.is_symlink()


async def test_a_file_that_is_moved_away_takes_no_entry(path):
    async with SqliteStorage(path) as storage:
        claim = await storage.acquire("run", "test")
        await storage.append("run", claim.epoch, 1, [b"one"], b"")
        assert await contents(storage) == [b"one"]
        path.rename(path.with_name("moved"))
        for call in (storage.append("run", claim.epoch, 2, [b"two"], b""), storage.list_entries("run")):
            with pytest.raises(StorageUnavailableError, match="moved, removed or replaced"):
                await call
        path.write_bytes(b"")
        with pytest.raises(StorageUnavailableError, match="moved, removed or replaced"):
            await storage.append("run", claim.epoch, 2, [b"two"], b"")
        path.unlink()
        path.with_name("moved").rename(path)
        await storage.append("run", claim.epoch, 2, [b"two"], b"")
        assert await contents(storage) == [b"one", b"two"]


async def test_a_file_that_is_moved_away_during_a_commit_leaves_it_unknown(path):
    class MovingOps(FileOps):
        def stat(self, name):
            if name.endswith(".db") and next(looks, "") == "move":
                path.rename(path.with_name("moved"))
            return super().stat(name)

    looks = iter(())
    async with SqliteStorage(path, ops=MovingOps()) as storage:
        claim = await storage.acquire("run", "test")
        looks = iter(["before the transaction", "move"])
        with pytest.raises(UnknownOutcomeError):
            await storage.append("run", claim.epoch, 1, [b"one"], b"")
        path.with_name("moved").rename(path)
        assert await contents(storage) == [b"one"]


@pytest.mark.parametrize(("folder_mode", "file_mode"), [(0o555, 0o444), (0o555, 0o666), (0o777, 0o444)])
async def test_what_may_not_be_written_is_refused(folder_mode, file_mode):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        await filled(folder / "state.db", b"one")
        (folder / "state.db").chmod(file_mode)
        folder.chmod(folder_mode)
        try:
            with nobody():
                async with SqliteStorage(folder / "state.db") as storage:
                    with pytest.raises(StorageUnavailableError, match="right to"):
                        await storage.acquire("run", "nobody")
        finally:
            folder.chmod(0o700)


async def test_a_folder_in_which_nothing_may_be_made():
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o555)
        with nobody():
            async with SqliteStorage(Path(name) / "state.db") as storage:
                assert list(await storage.list_runs()) == []
                with pytest.raises(StorageUnavailableError, match="right to"):
                    await storage.acquire("run", "nobody")


async def test_a_copy_goes_on_under_the_claim_of_the_original(path):
    async with SqliteStorage(path) as storage:
        await storage.acquire_as("run", "the copier", Claim(7, 41))
        await storage.append("run", 7, 42, [b"copied"], b"")
        (entry,) = await storage.list_entries("run")
        assert (entry.epoch, entry.sequence, entry.damage) == (7, 42, "")
        assert [found.sequence for found in await storage.list_newest("run")] == [42]
        for behind in (Claim(6, 42), Claim(8, 41)):
            with pytest.raises(InvalidValueError):
                await storage.acquire_as("run", "the copier", behind)
        async with SqliteStorage(path) as other:
            with pytest.raises(RunOwnedError, match="the copier"):
                await other.acquire_as("run", "another", Claim(9, 42))
            await storage.release("run", 7)
            assert await other.acquire("run", "another") == Claim(8, 42)
