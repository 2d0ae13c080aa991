"""A Redis server that lost its power: wherever its file ends, what was acknowledged before is there."""

import shutil

import pytest
from redis_server import RedisServer

from kernelckpt import open_storage

pytestmark = pytest.mark.servers

CUTS = 40


def log_of(folder):
    (found,) = (folder / "appendonlydir").glob("*.incr.aof")
    return found


async def write(server):
    """A run with entries, a blob and messages; the file's size when each had been acknowledged."""
    log, sizes = log_of(server.folder), []
    async with await open_storage(server.url(prefix="mine")) as storage:
        claim = await storage.acquire("run", "test")
        for number in range(1, 6):
            await storage.append("run", claim.epoch, number, [b"%d" % number * 100], b"meta %d" % number)
            sizes.append(("entry", number, log.stat().st_size))
            await storage.post("run", f"message {number}", b"%d" % number * 100)
            sizes.append(("message", number, log.stat().st_size))
            for part in range(2):
                await storage.write_part("run", claim.epoch, f"blob {number}", part, [b"%d" % number * 100])
            await storage.finish_blob("run", claim.epoch, f"blob {number}")
            sizes.append(("blob", number, log.stat().st_size))
    return sizes


async def found_in(url):
    """How much of each kind there is, all of it whole and nothing missing between."""
    async with await open_storage(url) as storage:
        if not await storage.list_runs():
            return {"entry": 0, "message": 0, "blob": 0}
        entries = await storage.list_entries("run")
        assert [entry.sequence for entry in entries] == list(range(1, len(entries) + 1))
        for entry in entries:
            assert entry.meta == b"meta %d" % entry.sequence
            assert await storage.read("run", entry.epoch, entry.sequence) == b"%d" % entry.sequence * 100
        messages = await storage.posted("run")
        for number, message in enumerate(messages, 1):
            assert (message.message_id, message.data) == (f"message {number}", b"%d" % number * 100)
        blobs = await storage.list_blobs("run")
        assert [blob.name for blob in blobs] == [f"blob {n}" for n in range(1, len(blobs) + 1)]
        for number, blob in enumerate(blobs, 1):
            assert await storage.read_blob("run", blob.name) == b"%d" % number * 200
        claim = await storage.acquire("run", "next", takeover=True)
        assert claim.head == len(entries)
        await storage.append("run", claim.epoch, claim.head + 1, [b"next"], b"")
        return {"entry": len(entries), "message": len(messages), "blob": len(blobs)}


async def test_a_torn_file_holds_what_was_acknowledged_and_nothing_half(tmp_path):
    server = RedisServer(tmp_path / "whole")
    server.folder.mkdir()
    server.start()
    sizes = await write(server)
    server.kill()
    end = sizes[-1][2]
    for cut in range(end // CUTS, end + 1, end // CUTS):
        torn = RedisServer(tmp_path / "torn")
        shutil.copytree(server.folder, torn.folder)
        with log_of(torn.folder).open("rb+") as log:
            log.truncate(cut)
        torn.start()
        try:
            found = await found_in(torn.url(prefix="mine"))
        finally:
            torn.kill()
            shutil.rmtree(torn.folder)
        acknowledged = {kind: number for kind, number, size in sizes if size <= cut}
        assert all(found[kind] >= number for kind, number in acknowledged.items()), cut
