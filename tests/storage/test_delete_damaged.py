"""A run that is damaged can be deleted, and nothing of another run goes with it."""

import os

import pytest
from sqlite_kit import ask, contents, outside

from kernelckpt import SqliteStorage
from kernelckpt.errors import CorruptionError, DamagedRunsError, NotFoundError, RunOwnedError
from kernelckpt.storage.file.name import run_folder_name

TABLES = ("runs", "entries", "blobs", "pieces", "inbox")


def overwritten(name):
    def damage(run):
        (run / name).write_bytes(b"\x93")

    return damage


def removed(name):
    def damage(run):
        (run / name).unlink()

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        *map(overwritten, ("run", "owner.1", "owner.2", "seg.1.1", "seg.2.1", "head", "blob.b")),
        *map(removed, ("run", "owner.1", "owner.2", "seg.1.1", "seg.2.1", "head", "blob.b")),
    ],
)
async def test_a_damaged_folder(folder, damage):
    await folder.write(b"one", b"two")
    storage = folder.client()
    for name in ("run", "kept"):
        claim = await storage.acquire(name, "test")
        await storage.append(name, claim.epoch, claim.head + 1, [b"three"], b"")
        await storage.write_part(name, claim.epoch, "b", 0, [b"x"])
        await storage.finish_blob(name, claim.epoch, "b")
        await storage.post(name, "m", b"")
        await storage.release(name, claim.epoch)
    damage(folder.run)
    await folder.client().delete_run("run")
    assert sorted(os.listdir(folder.path)) == sorted(["kernelckpt", run_folder_name("kept")])
    assert len(await folder.client().list_entries("kept")) == 1
    with pytest.raises(NotFoundError):
        await folder.client().delete_run("run")
    claim = await folder.client().acquire("run", "test")
    assert (claim.epoch, claim.head) == (1, 0)


@pytest.mark.parametrize("damage", [overwritten("run"), removed("run"), overwritten("owner.1")])
async def test_a_damaged_folder_whose_owner_is_alive(folder, damage):
    owner = folder.client()
    claim = await owner.acquire("run", "test")
    damage(folder.run)
    with pytest.raises(RunOwnedError):
        await folder.client().delete_run("run")
    await owner.append("run", claim.epoch, 1, [b"x"], b"")


async def test_the_folder_of_another_run_is_not_deleted(folder):
    await folder.write(b"x")
    folder.run.rename(folder.path / run_folder_name("other"))
    with pytest.raises(CorruptionError, match="is the folder of run 'run'"):
        await folder.client().delete_run("other")
    assert (folder.path / run_folder_name("other") / "seg.1.1").exists()


@pytest.fixture
async def path(tmp_path):
    """A database of the runs a, b and c."""
    found = tmp_path / "state.db"
    async with SqliteStorage(found) as storage:
        for name in ("a", "b", "c"):
            claim = await storage.acquire(name, "test")
            for number in (1, 2):
                await storage.append(name, claim.epoch, number, [b"%d" % number], b"")
            await storage.write_part(name, claim.epoch, "blob", 0, [b"x"])
            await storage.finish_blob(name, claim.epoch, "blob")
            await storage.post(name, "m", b"")
    return found


async def counts(storage):
    return await ask(storage, *(f"SELECT count(*) FROM {table}" for table in TABLES))


DAMAGE = {
    **{name: f"UPDATE runs SET {name} = 7 WHERE id = x'62'" for name in ("head", "epoch", "owner", "number")},
    "the number of another": "UPDATE runs SET number = (SELECT number FROM runs WHERE id = x'63')"
    " WHERE id = x'62'",
    "no number": "UPDATE runs SET number = 'b', owner = 'b', holder = 1 WHERE id = x'62'",
    "entries": "UPDATE entries SET data = x'00' WHERE run = (SELECT number FROM runs WHERE id = x'62')",
    "blobs": "DELETE FROM blobs WHERE run = (SELECT number FROM runs WHERE id = x'62')",
}


@pytest.mark.parametrize("statement", DAMAGE.values(), ids=DAMAGE)
async def test_a_damaged_row(path, statement):
    outside(path, statement)
    async with SqliteStorage(path) as storage:
        await storage.delete_run("b")
        assert await storage.list_runs() == ["a", "c"]
        assert await counts(storage) == [2, 4, 2, 2, 2]
        for name in ("a", "c"):
            assert await contents(storage, name) == [b"1", b"2"]
        with pytest.raises(NotFoundError):
            await storage.delete_run("b")


async def test_of_two_damaged_rows_each_keeps_what_may_be_its_own(path):
    outside(path, "UPDATE runs SET number = 7 WHERE id <> x'61'")
    async with SqliteStorage(path) as storage:
        await storage.delete_run("b")
        assert await counts(storage) == [2, 6, 3, 3, 3]
        with pytest.raises(DamagedRunsError):
            await storage.list_runs()
        await storage.delete_run("c")
        assert await counts(storage) == [1, 2, 1, 1, 1]
        assert await contents(storage, "a") == [b"1", b"2"]


async def test_a_damaged_row_whose_owner_is_alive(path):
    async with SqliteStorage(path) as owner, SqliteStorage(path) as other:
        await owner.acquire("b", "the owner")
        await ask(owner, "UPDATE runs SET head = 7 WHERE id = x'62'")
        with pytest.raises(RunOwnedError, match="the owner"):
            await other.delete_run("b")
