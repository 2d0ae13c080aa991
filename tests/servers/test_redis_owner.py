"""Who owns a run in Redis, and that it notices whatever the server lost."""

import os
import shutil
import warnings

import pytest
from redis_kit import KEYS, Ticks, direct, numbers, write

from kernelckpt.abc import Claim
from kernelckpt.errors import (
    FencedError,
    InvalidValueError,
    RunOwnedError,
    StorageUnavailableError,
    UnknownOutcomeError,
)
from kernelckpt.storage.redis import owner as redis_owner

pytestmark = pytest.mark.servers


async def test_a_forked_child_does_not_talk_over_its_parents_connections(own_redis):
    async with direct(own_redis) as storage:
        claim = await storage.acquire("run", "test")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of newer Pythons, about threads
            child = os.fork()
        if not child:
            try:
                storage.append("run", claim.epoch, 1, [b"of the child"], b"").send(None)
            except StorageUnavailableError:
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        await storage.append("run", claim.epoch, 1, [b"of the parent"], b"")


async def test_a_server_restored_from_an_older_copy_is_noticed_by_the_owner(own_redis, tmp_path):
    async with direct(own_redis) as storage:
        claim = await storage.acquire("run", "test")
        await write(storage, claim, 3)
        shutil.copytree(own_redis.folder / "appendonlydir", tmp_path / "copy")
        await write(storage, Claim(claim.epoch, 3), 2)
        own_redis.kill()
        shutil.rmtree(own_redis.folder / "appendonlydir")
        shutil.copytree(tmp_path / "copy", own_redis.folder / "appendonlydir")
        own_redis.start()
        with pytest.raises(FencedError, match="is at entry 3, though entry 5 had been acknowledged"):
            await append_patiently(storage, claim.epoch, 6)
        assert await numbers(storage) == [1, 2, 3]


async def append_patiently(storage, epoch, sequence):
    """Append, once more if the connection was cut before."""
    try:
        await storage.append("run", epoch, sequence, [b"x"], b"")
    except UnknownOutcomeError:
        await storage.append("run", epoch, sequence, [b"x"], b"")


async def test_an_owner_is_alive_as_long_as_it_is_heard_of(own_redis, redis_admin):
    ticks = Ticks()
    async with direct(own_redis, sleep=ticks.sleep) as storage, direct(own_redis) as other:
        claim = await storage.acquire("run", "the first")
        redis_admin.pexpire(KEYS.alive, 5000)
        await ticks.one()
        assert redis_admin.pttl(KEYS.alive) > redis_owner.ALIVE_MS - 5000
        with pytest.raises(RunOwnedError, match="the first"):
            await other.acquire("run", "the second")
        await write(storage, claim, 1)


async def test_an_owner_that_was_not_heard_of_is_fenced_by_the_next_one(own_redis, redis_admin):
    ticks = Ticks()
    async with direct(own_redis, sleep=ticks.sleep) as storage, direct(own_redis) as other:
        claim = await storage.acquire("run", "the first")
        await write(storage, claim, 2)
        redis_admin.delete(KEYS.alive)  # as after twenty seconds in which its loop was blocked
        taken = await other.acquire("run", "the second")
        assert taken == Claim(claim.epoch + 1, 2)
        await ticks.one()
        with pytest.raises(FencedError):
            await storage.append("run", claim.epoch, 3, [b"late"], b"")
        with pytest.raises(RunOwnedError, match="the second"):
            await storage.acquire("run", "the first")
        await other.release("run", taken.epoch)
        redis_admin.config_resetstat()
        await ticks.one()
        assert not redis_admin.exists(KEYS.alive)
        assert "cmdstat_evalsha" not in redis_admin.info("commandstats"), "what was lost is not renewed"


async def test_an_owner_not_heard_of_goes_on_if_nobody_took_over(own_redis, redis_admin):
    ticks = Ticks()
    async with direct(own_redis, sleep=ticks.sleep) as storage, direct(own_redis) as other:
        claim = await storage.acquire("run", "the first")
        redis_admin.delete(KEYS.alive)
        await write(storage, claim, 1)
        await ticks.one()
        with pytest.raises(RunOwnedError):
            await other.acquire("run", "the second")


async def test_an_emptied_server_is_noticed_by_the_owner(own_redis, redis_admin):
    async with direct(own_redis) as storage:
        claim = await storage.acquire("run", "test")
        await write(storage, claim, 3)
        redis_admin.flushall()
        for number in (4, 1):
            with pytest.raises(FencedError, match="entry 3 had been acknowledged"):
                await storage.append("run", claim.epoch, number, [b"x"], b"")
        with pytest.raises(FencedError, match="is not there any more"):
            await storage.delete("run", claim.epoch)
        assert redis_admin.keys("mine:*") == []


async def test_a_server_that_fell_back_is_noticed_by_the_owner(own_redis, redis_admin):
    async with direct(own_redis) as storage:
        claim = await storage.acquire("run", "test")
        await write(storage, claim, 3)
        redis_admin.hset(KEYS.run, "head", 2)  # as a replica has it that was behind
        with pytest.raises(FencedError, match="is at entry 2, though entry 3 had been acknowledged"):
            await storage.append("run", claim.epoch, 4, [b"x"], b"")
        with pytest.raises(FencedError, match="is at entry 2, though entry 3 had been acknowledged"):
            await storage.acquire("run", "test")
        assert not redis_admin.exists(KEYS.alive), "whoever knows better may have it"
        redis_admin.hset(KEYS.run, "epoch", 0)
        with pytest.raises(FencedError, match="is at epoch 0"):
            await storage.append("run", claim.epoch, 4, [b"x"], b"")


async def test_a_copy_goes_on_only_where_the_run_ends(own_redis):
    async with direct(own_redis) as storage:
        await storage.acquire_as("run", "test", Claim(7, 3))
        await storage.append("run", 7, 4, [b"x"], b"")
        for behind in (Claim(6, 4), Claim(7, 3), Claim(8, 0)):
            with pytest.raises(InvalidValueError, match="epoch 7, entry 4"):
                await storage.acquire_as("run", "test", behind)
        await storage.acquire_as("run", "test", Claim(7, 4))
        assert await storage.acquire("run", "test") == Claim(8, 4)
        with pytest.raises(FencedError):
            await storage.append("run", 7, 5, [b"x"], b"")


async def test_a_run_deleted_and_made_anew_by_others_is_no_loss(own_redis):
    async with direct(own_redis) as storage, direct(own_redis) as other:
        claim = await storage.acquire("run", "test")
        await write(storage, claim, 3)
        await storage.release("run", claim.epoch)
        await other.delete_run("run")
        assert await storage.acquire("run", "test") == Claim(1, 0)


async def test_a_released_run_is_written_to_by_nobody(own_redis):
    async with direct(own_redis) as storage:
        claim = await storage.acquire("run", "test")
        await storage.release("run", claim.epoch)
        with pytest.raises(FencedError):
            await storage.append("run", claim.epoch, 1, [b"x"], b"")
