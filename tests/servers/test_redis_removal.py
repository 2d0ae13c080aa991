"""Long listings and deletions in Redis: in steps, whole, and nothing else."""

import pytest
from redis_kit import KEYS, direct, numbers, write

from kernelckpt.abc import Claim
from kernelckpt.errors import (
    CorruptionError,
    NotFoundError,
    StorageUnavailableError,
)
from kernelckpt.storage.redis.removal import sweep

pytestmark = pytest.mark.servers


async def test_a_deletion_that_was_cut_off_is_finished_by_the_next_one(own_redis, redis_admin, monkeypatch):
    async def cut_off(*_):
        raise StorageUnavailableError("cut off")

    async with direct(own_redis) as storage:
        for ending in (storage.acquire, storage.delete_run):
            claim = await storage.acquire("run", "test")
            await write(storage, claim, 3)
            await storage.post("run", "message", b"x")
            await storage.write_part("run", claim.epoch, "begun", 0, [b"part"])
            for name in ("blob", "other"):
                await storage.write_part("run", claim.epoch, name, 0, [b"part"])
                await storage.finish_blob("run", claim.epoch, name)
            await storage.release("run", claim.epoch)
            with monkeypatch.context() as patch:
                patch.setattr("kernelckpt.storage.redis.storage.sweep", cut_off)
                with pytest.raises(StorageUnavailableError):
                    await storage.delete_run("run")
            assert await storage.list_runs() == []
            with pytest.raises(NotFoundError):
                await storage.list_entries("run")
            with pytest.raises(NotFoundError):
                await storage.post("run", "message", b"x")
            if ending == storage.acquire:
                claim = await storage.acquire("run", "test")
                assert claim == Claim(1, 0)
                assert not await numbers(storage)
                assert not await storage.posted("run")
                assert not await storage.list_blobs("run")
                await storage.release("run", claim.epoch)
            else:
                await storage.delete_run("run")
                assert redis_admin.keys("mine:*") == [b"mine:layout"]


async def test_a_large_run_is_deleted_in_small_steps(own_redis, redis_admin):
    count = 3 * 500 + 1
    async with direct(own_redis) as storage:
        claim = await storage.acquire("run", "test")
        await write(storage, claim, count)
        await storage.release("run", claim.epoch)
        redis_admin.config_resetstat()
        await storage.delete_run("run")
        assert redis_admin.info("commandstats")["cmdstat_xdel"]["calls"] == 4
        assert redis_admin.keys("mine:*") == [b"mine:layout"]


async def test_a_long_listing_is_asked_for_in_pages(own_redis, redis_admin):
    async with direct(own_redis) as storage:
        await write(storage, await storage.acquire("run", "test"), 2100)
        for limit in (999, 1000, 1001, 2000, 2100, 2101, 9999):
            redis_admin.config_resetstat()
            entries = await storage.list_entries("run", after=50, limit=limit)
            assert [entry.sequence for entry in entries] == list(range(51, min(50 + limit, 2100) + 1))
            assert redis_admin.info("commandstats")["cmdstat_xrange"]["calls"] == -(-min(limit, 2050) // 1000)
        newest = [entry.sequence for entry in await storage.list_newest("run", limit=9999)]
        assert newest == list(range(1101, 2101))


async def test_whoever_deletes_a_run_slowly_leaves_the_next_one_of_that_name_alone(own_redis, redis_admin):
    async with direct(own_redis) as storage:
        claim = await storage.acquire("run", "test")
        await write(storage, claim, 2)
        await storage.release("run", claim.epoch)
        (seen, born) = (redis_admin.xrange(KEYS.entries), redis_admin.hget(KEYS.run, "born"))
        await storage.delete_run("run")
        await write(storage, await storage.acquire("run", "test"), 2)

        class Slow:
            async def ask(self, word, *rest):
                if word == "XRANGE":
                    return [(key, [b"i", fields[b"i"]]) for key, fields in seen]
                return await storage._server.ask(word, *rest)

            run = storage._server.run

        await sweep(Slow(), KEYS, born)
        assert await numbers(storage) == [1, 2]
        assert await storage.read("run", 1, 2) == b"entry 2"


async def test_a_finished_blob_is_not_taken_for_an_unfinished_one(own_redis):
    async with direct(own_redis) as storage:
        claim = await storage.acquire("run", "test")
        await storage.write_part("run", claim.epoch, "blob", 0, [b"part"])
        await storage.finish_blob("run", claim.epoch, "blob")
        again = await storage.acquire("run", "test")
        await storage.delete("run", again.epoch)
        assert await storage.read_blob("run", "blob") == b"part"


async def test_what_a_dead_owner_left_of_blobs_goes_with_the_next_deletion(own_redis, redis_admin):
    async with direct(own_redis) as storage:
        claim = await storage.acquire("run", "test")
        for index in range(3):
            await storage.write_part("run", claim.epoch, "begun", index, [b"part"])
        again = await storage.acquire("run", "test")
        await storage.write_part("run", again.epoch, "begun", 0, [b"another"])
        await storage.delete("run", again.epoch)
        assert redis_admin.keys("mine:*part*") == [KEYS.part(again.epoch, b"begun", 0)]
        assert redis_admin.hlen(KEYS.begun) == 1
        await storage.write_part("run", again.epoch, "thrown away", 0, [b"part"])
        await storage.delete("run", again.epoch, blobs=["thrown away"])
        with pytest.raises(NotFoundError, match="no part"):
            await storage.finish_blob("run", again.epoch, "thrown away")
        await storage.finish_blob("run", again.epoch, "begun")
        assert await storage.read_blob("run", "begun") == b"another"
        await storage.delete("run", again.epoch, blobs=["begun"])
        assert redis_admin.keys("mine:*part*") == []


async def test_bytes_that_somebody_removed_are_damage(own_redis, redis_admin):
    async with direct(own_redis) as storage:
        claim = await storage.acquire("run", "test")
        await write(storage, claim, 2)
        for index in range(2):
            await storage.write_part("run", claim.epoch, "blob", index, [b"part"])
        await storage.finish_blob("run", claim.epoch, "blob")
        redis_admin.delete(KEYS.body(claim.epoch, 1), KEYS.part(claim.epoch, b"blob", 1))
        with pytest.raises(CorruptionError):
            await storage.read("run", claim.epoch, 1)
        with pytest.raises(CorruptionError):
            await storage.read_blob("run", "blob")
        assert await storage.read_blob("run", "blob", length=4) == b"part"
        assert await storage.read("run", claim.epoch, 2) == b"entry 2"
        redis_admin.xadd(KEYS.entries, {"i": b"short"}, id="3-0")
        assert [bool(entry.damage) for entry in await storage.list_entries("run")] == [False, False, True]
