"""Liveness in object stores: heartbeats, and how long they count by the server's clock."""

import asyncio
from datetime import timedelta

import pytest
from http_proxy import HttpProxy

from kernelckpt.errors import FencedError, RunOwnedError, StorageUnavailableError
from kernelckpt.storage.objects.owner import DEAD_AFTER, find_owner
from kernelckpt.storage.objects.storage import ObjectStorage, open_objects
from kernelckpt.storage.objects.url import connect

pytestmark = pytest.mark.servers


class Beats:
    """The pause between heartbeats, as long as the test wants."""

    def __init__(self):
        self.asked = asyncio.Queue()
        self.go_on = asyncio.Semaphore(0)

    async def sleep(self, seconds):
        self.asked.put_nowait(seconds)
        await self.go_on.acquire()

    async def pass_one(self):
        self.go_on.release()
        await self.asked.get()


@pytest.fixture
def url(object_server):
    return object_server.url(object_server.make_bucket())


@pytest.fixture
async def owner(url):
    """A client that has acquired the run, its claim, and its heart."""
    beats = Beats()
    async with ObjectStorage(await connect(url), sleep=beats.sleep) as storage:
        claim = await storage.acquire("run", "the owner")
        await beats.asked.get()
        yield storage, claim, beats


async def beat_of(storage, reader):
    return (await find_owner(reader._client, storage._owned["run"].log.folder)).record.sequence


async def test_an_idle_owner_beats(owner, url):
    storage, _, beats = owner
    async with await open_objects(url) as reader:
        first = await beat_of(storage, reader)
        await beats.pass_one()
        await beats.pass_one()
        assert await beat_of(storage, reader) == first + 2


async def test_an_append_is_a_beat(owner, url):
    storage, claim, beats = owner
    async with await open_objects(url) as reader:
        first = await beat_of(storage, reader)
        await storage.append("run", claim.epoch, 1, [b"x"], b"")
        await beats.pass_one()
        assert await beat_of(storage, reader) == first
        await beats.pass_one()
        assert await beat_of(storage, reader) == first + 1


async def test_a_beat_that_fails_is_followed_by_another(owner, url, monkeypatch):
    storage, _, beats = owner

    async def fails(*args):
        raise StorageUnavailableError("no answer")

    async with await open_objects(url) as reader:
        first = await beat_of(storage, reader)
        with monkeypatch.context() as patch:
            patch.setattr(storage._client, "put", fails)
            await beats.pass_one()
        await beats.pass_one()
        assert await beat_of(storage, reader) > first


async def test_a_beat_whose_answer_was_lost_is_followed_by_another(object_server, url):
    beats = Beats()
    async with HttpProxy(object_server.port) as proxy:
        through = url.replace(str(object_server.port), str(proxy.port))
        async with ObjectStorage(await connect(through), sleep=beats.sleep) as storage:
            claim = await storage.acquire("run", "the owner")
            await beats.asked.get()

            def lost(request):
                request.swallow = request.kind == "PUT"

            for meddle in (lost, lambda request: None):
                proxy.meddle = meddle
                await beats.pass_one()
            async with await open_objects(url) as reader:
                assert await beat_of(storage, reader) == storage._owned["run"].beat
            await storage.append("run", claim.epoch, 1, [b"x"], b"")


async def test_a_beat_tells_that_the_run_was_lost(owner, url):
    storage, claim, beats = owner
    async with await open_objects(url) as other:
        taken = await other.acquire("run", "the next", takeover=True)
        await beats.pass_one()
        assert (await find_owner(other._client, other._owned["run"].log.folder)).record.epoch == taken.epoch
        with pytest.raises(FencedError):
            await storage.append("run", claim.epoch, 1, [b"x"], b"")
        await other.append("run", taken.epoch, 1, [b"x"], b"")


@pytest.mark.parametrize("how", ["release", "close"])
async def test_the_heart_stops_with_the_ownership(owner, how):
    storage, claim, _ = owner
    (heart,) = [task for task in asyncio.all_tasks() if task.get_name() == "kernelckpt heartbeat"]
    await (storage.release("run", claim.epoch) if how == "release" else storage.aclose())
    assert heart.done()


async def test_it_beats_again_after_a_release(owner, url):
    storage, claim, beats = owner
    await storage.release("run", claim.epoch)
    await storage.acquire("run", "the owner, again")
    assert await beats.asked.get() == 8
    async with await open_objects(url) as reader:
        first = await beat_of(storage, reader)
        await beats.pass_one()
        assert await beat_of(storage, reader) == first + 1


@pytest.mark.parametrize("late", [-1, 1])
async def test_an_owner_that_died_is_respected_for_a_while(owner, url, monkeypatch, late):
    """It left its run without releasing it; how long ago is asked of the server."""
    storage, claim, _ = owner
    async with await open_objects(url) as other:
        now = await other._client.now()
        seen = (await find_owner(other._client, storage._owned["run"].log.folder)).found.modified
        assert timedelta() <= now - seen < timedelta(seconds=60)

        async def then():
            return seen + DEAD_AFTER + timedelta(seconds=late)

        monkeypatch.setattr(other._client, "now", then)
        if late < 0:
            with pytest.raises(RunOwnedError, match="the owner"):
                await other.acquire("run", "the next")
            await storage.append("run", claim.epoch, 1, [b"x"], b"")
        else:
            await other.acquire("run", "the next")
            with pytest.raises(FencedError):
                await storage.append("run", claim.epoch, 1, [b"x"], b"")


async def test_asking_the_time_leaves_nothing_behind(url):
    async with await open_objects(url) as storage:
        await storage._client.now()
        assert await storage._client.page("scratch") == []
