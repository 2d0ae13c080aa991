"""Owners take a run from each other over a Redis server that is killed and whose connections are cut."""

import asyncio
import random

import pytest
from redis_kit import direct

from kernelckpt.errors import FencedError, StorageUnavailableError, UnknownOutcomeError

pytestmark = pytest.mark.servers

OWNERS, BLOWS, BETWEEN = 4, 16, 25
"""How many owners there are, what befalls the server, and how much is acknowledged in between."""


class Run:
    """What has been acknowledged of one run, to whomever."""

    def __init__(self):
        self.entries = {}
        self.messages = []
        self.more = asyncio.Condition()
        self.over = False

    async def note(self, sequence, epoch, body):
        assert sequence not in self.entries, "acknowledged twice"
        self.entries[sequence] = (epoch, body)
        async with self.more:
            self.more.notify_all()

    async def grown(self, count):
        async with self.more:
            wanted = len(self.entries) + count
            await self.more.wait_for(lambda: len(self.entries) >= wanted)


async def own(server, run, name, chance):
    """Acquire, append some, post one; begin again whatever happens."""
    async with direct(server) as storage:
        while not run.over:
            try:
                claim = await storage.acquire("run", name, takeover=True)
                for sequence in range(claim.head + 1, claim.head + chance.randrange(2, 12)):
                    body = f"{name} {sequence} {chance.random()}".encode() * chance.choice([1, 1000])
                    await storage.append("run", claim.epoch, sequence, [body], b"")
                    await run.note(sequence, claim.epoch, body)
                message = f"{name} {claim.epoch}"
                await storage.post("run", message, b"x")
                run.messages.append(message)
            except (FencedError, UnknownOutcomeError):
                pass
            except StorageUnavailableError:
                await asyncio.sleep(0.01)  # until the server is there again


async def strike(server, run, chance):
    """Let blows befall the server, each after something was acknowledged since the one before."""
    for _ in range(BLOWS):
        await run.grown(BETWEEN)
        if chance.random() < 0.7:
            with server.admin() as admin:
                await asyncio.to_thread(admin.client_kill_filter, _type="normal", skipme=True)
        else:
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
    await run.grown(BETWEEN)
    run.over = True


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_each_number_is_acknowledged_once_and_nothing_acknowledged_is_lost(own_redis, seed):
    chance = random.Random(seed)
    run = Run()
    async with asyncio.TaskGroup() as tasks:
        for number in range(OWNERS):
            tasks.create_task(own(own_redis, run, f"owner {number}", random.Random(chance.random())))
        tasks.create_task(strike(own_redis, run, chance))
    async with direct(own_redis) as storage:
        entries = await storage.list_entries("run", limit=100_000)
        assert [entry.sequence for entry in entries] == list(range(1, len(entries) + 1))
        assert sorted(entry.epoch for entry in entries) == [entry.epoch for entry in entries]
        listed = {entry.sequence: entry.epoch for entry in entries}
        for sequence, (epoch, body) in run.entries.items():
            assert listed[sequence] == epoch
            assert await storage.read("run", epoch, sequence) == body
        posted = {message.message_id for message in await storage.posted("run")}
        assert posted >= set(run.messages)
        assert run.messages
