"""A Redis client that tries nothing again, and what tests of it do."""

import asyncio

from kernelckpt.storage.redis.key import RunKeys
from kernelckpt.storage.redis.server import RedisServer as Connections
from kernelckpt.storage.redis.setting import Verdict
from kernelckpt.storage.redis.storage import RedisStorage
from kernelckpt.storage.redis.url import parse_redis_url

KEYS = RunKeys("mine", "run")


def direct(server, *, seconds=10.0, **options):
    """A client that tries nothing again, of the store of prefix "mine"."""
    connections = Connections(parse_redis_url(server.url(prefix="mine")), seconds=seconds)
    return RedisStorage(connections, "mine", Verdict(durable=True), **options)


async def until(condition):
    """Wait for something that the server does by itself."""
    while not condition():
        await asyncio.sleep(0.01)


async def write(storage, claim, count):
    for number in range(claim.head + 1, claim.head + count + 1):
        await storage.append("run", claim.epoch, number, [b"entry %d" % number], b"%d" % number)


async def numbers(storage):
    return [entry.sequence for entry in await storage.list_entries("run", limit=100_000)]


class Ticks:
    """Stands for the time between renewals: it passes when the test says so."""

    def __init__(self):
        self.begun = asyncio.Semaphore(0)
        self.passed = asyncio.Semaphore(0)

    async def sleep(self, _seconds):
        self.begun.release()
        await self.passed.acquire()

    async def one(self):
        """Let one renewal happen, and return when it is done."""
        await self.begun.acquire()
        self.passed.release()
        await self.begun.acquire()
        self.begun.release()
