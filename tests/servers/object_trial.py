"""Object stores under many cuts and races, for as long as you like: `python tests/servers/object_trial.py`.

--puts N    appends, most of them cut off somewhere (10,000 by default)
--races N   races of sixteen writers for one number (1,000 by default)
"""

import argparse
import asyncio
import os
import random
import tempfile
from pathlib import Path

from http_proxy import HttpProxy
from object_server import ENVIRONMENT, MotoServer

from kernelckpt.errors import UnknownOutcomeError
from kernelckpt.storage.objects.record import ENTRY, Record, encode
from kernelckpt.storage.objects.storage import open_objects
from kernelckpt.storage.objects.url import connect

LANES = 8
WRITERS = 16


class Cuts:
    """A `meddle` of `HttpProxy`: most puts into a log are cut at some byte, or their answers are lost."""

    def __init__(self, seed):
        self.chance = random.Random(seed)
        self.count = 0

    def __call__(self, request):
        if request.kind != "PUT" or "/log/" not in request.path or self.chance.random() >= 0.6:
            return
        self.count += 1
        if self.chance.random() < 0.2:
            request.swallow = True
        else:
            request.cut = self.chance.randrange(len(request.head) + len(request.body))


async def append_under_cuts(server, puts, seed):
    """Append, now and then as a new owner; say how many were acknowledged, cut, and what was wrong."""
    bucket = server.make_bucket()
    acknowledged = {}
    async with HttpProxy(server.port) as proxy, await open_objects(server.url(bucket, proxy.port)) as storage:
        claim = await storage.acquire("run", "test")
        head = claim.head
        proxy.meddle = cuts = Cuts(seed)
        for number in range(puts):
            body = b"%d " % number * cuts.chance.choice([1, 30, 8000])
            try:
                await storage.append("run", claim.epoch, head + 1, [body], b"")
                head += 1
                acknowledged[head] = body
            except UnknownOutcomeError:
                claim = await storage.acquire("run", "test")
                head = claim.head
            if number % 10 == 9:
                claim = await storage.acquire("run", "test")
                head = claim.head
        proxy.meddle = lambda request: None
    return len(acknowledged), cuts.count, await _wrong(server.url(bucket), acknowledged)


async def _wrong(url, acknowledged):
    wrong, after = [], 0
    async with await open_objects(url) as storage:
        while entries := await storage.list_entries("run", after=after):
            for entry in entries:
                body = await storage.read("run", entry.epoch, entry.sequence)
                if entry.damage or acknowledged.pop(entry.sequence, body) != body:
                    wrong.append(f"entry {entry.sequence}: {entry.damage or 'another one'}")
            after = entries[-1].sequence
    return wrong + [f"entry {sequence}: lost" for sequence in acknowledged]


async def race(clients, key):
    """Let every client put its own object at one key; say which won."""
    data = [encode(Record(ENTRY, epoch, 1, 1)) for epoch in range(len(clients))]
    puts = [client.put(key, mine, "create") for client, mine in zip(clients, data, strict=True)]
    done = await asyncio.gather(*puts)
    (winner,) = [place for place, put in enumerate(done) if put.version is not None]
    assert all(put.found.data == data[winner] for put in done if put.version is None)
    return winner


async def main(puts, races):
    with tempfile.TemporaryDirectory() as folder:
        server = MotoServer(Path(folder))
        server.start()
        try:
            lanes = (append_under_cuts(server, puts // LANES, seed) for seed in range(LANES))
            done = await asyncio.gather(*lanes)
            sums = [sum(lane[place] for lane in done) for place in (0, 1)]
            wrong = [text for lane in done for text in lane[2]]
            print(f"{puts} appends: {sums[0]} acknowledged, {sums[1]} cut off or unanswered", end=", ")
            print(f"{len(wrong)} wrong {wrong[:5]}")
            url = server.url(server.make_bucket())
            clients = [await connect(url) for _ in range(WRITERS)]
            winners = {await race(clients, f"race/{number}") for number in range(races)}
            print(f"{races} races of {WRITERS}: one winner each, {len(winners)} different ones")
        finally:
            server.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--puts", type=int, default=10_000)
    parser.add_argument("--races", type=int, default=1_000)
    options = parser.parse_args()
    os.environ.update(ENVIRONMENT)
    asyncio.run(main(options.puts, options.races))
