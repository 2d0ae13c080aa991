"""The storage on a simulated disk: no crash loses what was acknowledged, or leaves a half."""

import asyncio
from contextlib import contextmanager

import pytest
from msgspec import Struct

from kernelckpt.errors import FencedError, NotFoundError, SyncFailedError
from kernelckpt.storage import FileStorage
from kernelckpt.testing import FaultyFileOps, SimFileSystem

FOLDER = "/machine/state"
SYNCS = ("fdatasync", "fsync", "fsync_folder")
NEVER = 1 << 30


class Fact(Struct):
    """Something kept: the points from which on it may be there, is there, may be gone, is gone."""

    value: bytes
    begun: int
    sure: int = NEVER
    doubted: int = NEVER
    gone: int = NEVER


class Facts:
    """What was kept and removed while operations were done: entries, blobs and messages by name."""

    def __init__(self, fs):
        self.fs = fs
        self.facts = {}

    @property
    def first(self):
        """The point at which anything was kept first."""
        return min(fact.begun for fact in self.facts.values())

    @contextmanager
    def adding(self, kind, name, value):
        fact = self.facts[kind, name] = Fact(value, self.fs.point)
        yield
        fact.sure = self.fs.point

    @contextmanager
    def removing(self, kind, name):
        fact = self.facts[kind, name]
        fact.doubted = self.fs.point
        yield
        fact.gone = self.fs.point

    def after_kill(self, fs, found, point):
        """What must hold of a crash after the next owner has found this on what a kill at a point left."""
        later = Facts(fs)
        for key, fact in self.facts.items():
            if fact.begun <= point < fact.gone:
                was_sure = fact.sure <= point < fact.doubted
                sure, gone = (0 if was_sure else fs.point, NEVER) if key in found else (NEVER, fs.point)
                later.facts[key] = Fact(fact.value, 0, sure=sure, gone=gone)
        return later

    def check(self, found, point):
        """Fail unless a crash at this point may leave this."""
        facts = self.facts.items()
        sure = {key: fact.value for key, fact in facts if fact.sure <= point < fact.doubted}
        possible = {key: fact.value for key, fact in facts if fact.begun <= point < fact.gone}
        assert sure.items() <= found.items() <= possible.items(), point


async def found_in(storage):
    """All that is in the run, nothing of it damaged; nothing if there is no run."""
    found = {}
    try:
        for entry in await storage.list_entries("run"):
            assert not entry.damage, entry
            found["entry", entry.sequence] = await storage.read("run", entry.epoch, entry.sequence)
        for blob in await storage.list_blobs("run"):
            found["blob", blob.name] = await storage.read_blob("run", blob.name)
        for message in await storage.posted("run"):
            found["message", message.message_id] = message.data
    except NotFoundError:
        return {}
    return found


async def append(storage, claim, facts, number, text):
    body = f"{number}: {text}".encode() * 9
    with facts.adding("entry", number, body):
        await storage.append("run", claim.epoch, number, [body], b"meta")


async def delete(storage, claim, facts, number):
    chosen = [entry for entry in await storage.list_entries("run") if entry.sequence == number]
    with facts.removing("entry", number):
        await storage.delete("run", claim.epoch, entries=chosen)


async def live(fs, facts):
    """Two owners, and everything they can keep and remove."""
    storage, other = FileStorage(FOLDER, ops=fs), FileStorage(FOLDER, ops=fs)
    claim = await storage.acquire("run", "first")
    with facts.adding("message", "m", b"message" * 9):
        await storage.post("run", "m", b"message" * 9)
    for number in (1, 2, 3):
        await append(storage, claim, facts, number, "of the first")
    with facts.adding("blob", "b", b"blob" * 99):
        await storage.write_part("run", claim.epoch, "b", 0, [b"blob" * 40])
        await storage.write_part("run", claim.epoch, "b", 1, [b"blob" * 59])
        await storage.finish_blob("run", claim.epoch, "b")
    taken = await other.acquire("run", "second", takeover=True)
    with pytest.raises(FencedError):
        await storage.append("run", claim.epoch, 4, [b"stale" * 9], b"meta")
    for number in (4, 5):
        await append(other, taken, facts, number, "of the second")
    for number in (2, 4, 1):
        await delete(other, taken, facts, number)
    with facts.removing("message", "m"):
        await other.delete_posted("run", ["m"])
    await storage.aclose()
    await other.aclose()


async def restart(fs, facts, point):
    """Let the next owner find what a crash at a point has left, which must be right, and add an entry."""
    storage = FileStorage(FOLDER, ops=fs)
    claim = await storage.acquire("run", "next")
    found = await found_in(storage)
    facts.check(found, point)
    later = facts.after_kill(fs, found, point)
    await append(storage, claim, later, claim.head + 1, "of the next")
    await storage.aclose()
    return found, later


async def check_crashes(fs, facts, first, limit, known):
    """Cut the power at every point from `first` on; `known` remembers what is found on which image."""
    for point in range(first, fs.point + 1):
        for image in fs.images(point, limit, sectors=(128,)):
            if image.key in known:
                facts.check(known[image.key], point)
            else:
                known[image.key], _ = await restart(SimFileSystem.from_image(image), facts, point)


@pytest.fixture
async def lived(monkeypatch):
    """A disk after a life in which every entry had a segment of its own; and what must be on it."""
    monkeypatch.setattr("kernelckpt.storage.file.claim.SEGMENT_BYTES", 1)
    fs = SimFileSystem()
    facts = Facts(fs)
    await live(fs, facts)
    return fs, facts


async def test_a_power_loss_loses_nothing_acknowledged(lived):
    await check_crashes(*lived, 0, 8, {})


async def check_kills(fs, facts, points, limit):
    """Kill the owner before each sync, let the next one start, and cut the power at every point of that."""
    known = {}
    for point in points:
        if fs.log[point].call in SYNCS:
            killed = fs.killed(point)
            _, later = await restart(killed, facts, point)
            await check_crashes(killed, later, point, limit, known)


async def test_what_was_found_after_a_kill_survives_a_power_loss(lived):
    """Not everything was synced when the process died; who has read it relies on it."""
    fs, facts = lived
    await check_kills(fs, facts, range(facts.first, fs.point), 2)


async def test_a_run_whose_maker_was_killed_is_made_again(lived):
    """Nor is it taken for somebody else's folder after a power loss."""
    fs, facts = lived
    await check_kills(fs, facts, range(facts.first), 8)


async def test_a_segment_made_while_the_next_owner_reads_is_made_durable_by_it():
    """Its maker, which is fenced by then, never comes to sync its name."""
    fs = SimFileSystem()
    stale_ops, ops = FaultyFileOps(fs), FaultyFileOps(fs)
    stale, storage = FileStorage(FOLDER, ops=stale_ops), FileStorage(FOLDER, ops=ops)
    claim = await stale.acquire("run", "stale")

    async def write_too_late():
        stale_ops.fail("fsync_folder")
        with pytest.raises(SyncFailedError):
            await stale.append("run", claim.epoch, 1, [b"whole"], b"")

    ops.before("open", lambda: asyncio.run(write_too_late()), path="/head")
    assert (await storage.acquire("run", "next", takeover=True)).head == 1
    for image in fs.images(fs.point):
        following = FileStorage(FOLDER, ops=SimFileSystem.from_image(image))
        assert await found_in(following) == {("entry", 1): b"whole"}
        await following.aclose()
    await stale.aclose()
    await storage.aclose()


async def test_a_deleted_run_is_whole_or_gone(lived):
    fs, _ = lived
    begun = fs.point
    storage = FileStorage(FOLDER, ops=fs)
    whole = await found_in(storage)
    await storage.delete_run("run")
    await storage.aclose()
    for point in range(begun, fs.point + 1):
        for image in fs.images(point, 8, sectors=(128,)):
            reader = FileStorage(FOLDER, ops=SimFileSystem.from_image(image))
            found = await found_in(reader)
            assert found == {} or (found == whole and point < fs.point), point
            await reader.aclose()
