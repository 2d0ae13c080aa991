"""What happens to a Redis server while it is used: nothing acknowledged is lost."""

import asyncio
import random
import signal

import anyio
import pytest
from redis_kit import direct, numbers, until, write

from kernelckpt.errors import (
    InvalidValueError,
    StorageFullError,
    StorageUnavailableError,
    UnknownOutcomeError,
)

pytestmark = pytest.mark.servers


async def test_nothing_acknowledged_is_lost_when_the_server_is_killed(own_redis):
    async with direct(own_redis) as storage:
        claim = await storage.acquire("run", "test")
        kept = {}
        for number in range(1, 6):
            loop = asyncio.get_running_loop()
            kill = loop.run_in_executor(None, own_redis.kill) if number > 1 else None
            sequence = claim.head + 1
            while True:
                body = b"%d of round %d" % (sequence, number)
                try:
                    await storage.append("run", claim.epoch, sequence, [body], b"")
                except (UnknownOutcomeError, StorageUnavailableError):
                    break
                kept[sequence] = body
                if kill is None:
                    kill = loop.run_in_executor(None, own_redis.kill)
                sequence += 1
            await kill
            await loop.run_in_executor(None, own_redis.start)
            claim = await storage.acquire("run", "test")
            assert claim.head in (len(kept), len(kept) + 1)
            entries = await storage.list_entries("run", limit=100_000)
            assert [entry.sequence for entry in entries] == list(range(1, claim.head + 1))
            for entry in entries:
                read = await storage.read("run", entry.epoch, entry.sequence)
                assert read == kept.setdefault(entry.sequence, read)
        assert kept


async def test_idle_connections_that_were_cut_are_made_anew(own_redis, redis_admin):
    async with direct(own_redis) as storage:
        claim = await storage.acquire("run", "test")
        for number in range(1, 6):
            redis_admin.client_kill_filter(_type="normal", skipme=True)
            await until(lambda: redis_admin.info("clients")["connected_clients"] == 1)
            await asyncio.sleep(0)  # the event loop hears of it
            await asyncio.sleep(0)
            await storage.append("run", claim.epoch, number, [b"x"], b"")
        assert await numbers(storage) == [1, 2, 3, 4, 5]


async def test_an_append_whose_answer_is_cut_off_has_an_unknown_outcome(own_redis, redis_admin):
    async with direct(own_redis) as storage:
        claim = await storage.acquire("run", "test")
        redis_admin.client_pause(60_000, all=False)
        append = asyncio.create_task(storage.append("run", claim.epoch, 1, [b"x"], b""))
        await until(lambda: redis_admin.info("clients")["blocked_clients"] == 1)
        redis_admin.client_kill_filter(_type="normal", skipme=True)
        with pytest.raises(UnknownOutcomeError):
            await append
        redis_admin.client_unpause()
        assert await numbers(storage) == []
        await storage.append("run", claim.epoch, 1, [b"x"], b"")


async def test_a_server_that_hangs_is_waited_for_only_so_long(own_redis):
    async with direct(own_redis, seconds=0.3) as storage:
        claim = await storage.acquire("run", "test")
        own_redis.process.send_signal(signal.SIGSTOP)
        with pytest.raises(UnknownOutcomeError, match="Timeout"):
            await storage.append("run", claim.epoch, 1, [b"x"], b"")
        with pytest.raises(StorageUnavailableError, match="Timeout"):
            await storage.list_entries("run")
        own_redis.process.send_signal(signal.SIGCONT)
        again = await storage.acquire("run", "test")
        assert await numbers(storage) == list(range(1, again.head + 1))
        await storage.append("run", again.epoch, again.head + 1, [b"y"], b"")


async def test_full_memory_is_said_changes_nothing_and_lets_room_be_made(own_redis, redis_admin):
    async with direct(own_redis) as storage:
        claim = await storage.acquire("run", "test")
        await write(storage, claim, 3)
        await storage.write_part("run", claim.epoch, "blob", 0, [b"p" * 100_000])
        redis_admin.config_set("maxmemory", "1mb")
        for attempt in (
            storage.append("run", claim.epoch, 4, [b"x" * 1000], b""),
            storage.write_part("run", claim.epoch, "blob", 1, [b"x"]),
            storage.finish_blob("run", claim.epoch, "blob"),
            storage.post("run", "message", b"x"),
            storage.acquire("another run", "test"),
        ):
            with pytest.raises(StorageFullError):
                await attempt
        assert await numbers(storage) == [1, 2, 3]
        await storage.delete("run", claim.epoch, entries=(await storage.list_entries("run"))[:2])
        redis_admin.config_set("maxmemory", "0")
        await storage.append("run", claim.epoch, 4, [b"x"], b"")
        assert (await storage.finish_blob("run", claim.epoch, "blob")).size == 100_000
        assert await storage.list_runs() == ["run"]
        redis_admin.config_set("maxmemory", "1mb")
        await storage.release("run", claim.epoch)
        await storage.delete_run("run")
        assert redis_admin.keys("mine:*") == [b"mine:layout"]


async def test_a_server_that_forgot_the_scripts_is_told_again(own_redis, redis_admin):
    async with direct(own_redis) as storage:
        claim = await storage.acquire("run", "test")
        redis_admin.script_flush()
        await write(storage, claim, 2)
        redis_admin.script_flush()
        assert await numbers(storage) == [1, 2]


async def test_an_entry_that_redis_cannot_hold_is_refused_before_it_is_sent(own_redis):
    async with direct(own_redis) as storage:
        claim = await storage.acquire("run", "test")
        piece = bytes(1 << 20)
        with pytest.raises(InvalidValueError, match="536870912 fit"):
            await storage.append("run", claim.epoch, 1, [piece] * 513, b"")


async def test_a_range_of_nothing_is_nothing(own_redis):
    async with direct(own_redis) as storage:
        claim = await storage.acquire("run", "test")
        await storage.append("run", claim.epoch, 1, [b"entry"], b"")
        for offset, length in ((0, 0), (0, 1), (4, 9), (5, None), (9, 1), (0, 2**70)):
            found = await storage.read("run", claim.epoch, 1, offset=offset, length=length)
            assert found == b"entry"[offset : None if length is None else offset + length]


async def test_cancelled_calls_leave_no_connection_taken(own_redis):
    chance = random.Random(1)

    async def read_a_little(storage, epoch):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(storage.read, "run", epoch, 1)
            for _ in range(chance.randrange(12)):
                await asyncio.sleep(0)
            tasks.cancel_scope.cancel()

    async with direct(own_redis) as storage:
        claim = await storage.acquire("run", "test")
        await write(storage, claim, 1)
        for _ in range(20):
            await asyncio.gather(*(read_a_little(storage, claim.epoch) for _ in range(40)))
        found = await asyncio.gather(*(storage.read("run", claim.epoch, 1) for _ in range(40)))
        assert found == [b"entry 1"] * 40
        assert not storage._server._pool._in_use_connections
