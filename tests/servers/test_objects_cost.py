"""What object stores are asked for: every request costs money and a round trip."""

import pytest
from http_proxy import HttpProxy

from kernelckpt.storage.objects.storage import open_objects

pytestmark = pytest.mark.servers


@pytest.fixture
async def proxy(object_server):
    async with HttpProxy(object_server.port) as found:
        yield found


@pytest.fixture
def url(object_server, proxy):
    return object_server.url(object_server.make_bucket(), proxy.port)


async def test_an_append_is_one_put(url, proxy):
    async with await open_objects(url) as storage:
        claim = await storage.acquire("run", "test")
        proxy.take_counts()
        for number in range(1, 21):
            await storage.append("run", claim.epoch, number, [b"x"], b"")
        assert proxy.take_counts() == {"PUT": 20}
        await storage.append("run", claim.epoch, 21, [b"x" * 3_000_000], b"")
        assert proxy.take_counts() == {"PUT": 1}


async def test_a_restore_lists_in_pages_and_reads_each_entry_once(url, proxy):
    async with await open_objects(url) as storage:
        claim = await storage.acquire("run", "test")
        for number in range(1, 1101):
            await storage.append("run", claim.epoch, number, [b"%d" % number], b"")
    async with await open_objects(url) as reader:
        proxy.take_counts()
        entries = list(await reader.list_entries("run"))
        assert proxy.take_counts() == {"LIST": 1, "GET": 1001}
        entries += await reader.list_entries("run", after=1000)
        assert proxy.take_counts() == {"LIST": 1, "GET": 100}
        bodies = [await reader.read("run", entry.epoch, entry.sequence) for entry in entries]
        assert bodies == [b"%d" % number for number in range(1, 1101)]
        assert proxy.take_counts() == {}
        assert len(await reader.list_newest("run", limit=5)) == 5
        assert sum(proxy.take_counts().values()) <= 8


async def test_one_entry_is_found_without_reading_the_others(url, proxy):
    async with await open_objects(url) as storage:
        claim = await storage.acquire("run", "test")
        for number in range(1, 31):
            await storage.append("run", claim.epoch, number, [b"%d" % number], b"")
        await storage.list_entries("run", limit=1)
        proxy.take_counts()
        assert len(await storage.list_entries("run", after=19, limit=1)) == 1
        assert proxy.take_counts() == {"LIST": 1, "GET": 1}


async def test_a_large_entry_is_not_read_to_be_listed(url, proxy):
    large = bytes(range(256)) * 4096
    async with await open_objects(url) as storage:
        claim = await storage.acquire("run", "test")
        await storage.append("run", claim.epoch, 1, [large], b"meta")
    read = []
    async with await open_objects(url) as reader:
        get_range = reader._client.get_range

        async def counted(key, start, length):
            read.append(length)
            return await get_range(key, start, length)

        reader._client.get_range = counted
        (entry,) = await reader.list_entries("run")
        assert (entry.size, entry.meta, read) == (len(large), b"meta", [])
        assert await reader.read("run", entry.epoch, 1) == large
        assert await reader.read("run", entry.epoch, 1, offset=500_000, length=10) == large[500_000:500_010]
        assert read == [len(large), 10]


async def test_looking_into_an_empty_inbox_is_one_small_request(url, proxy):
    async with await open_objects(url) as storage:
        await storage.acquire("run", "test")
        await storage.post("run", "m", b"")
        await storage.delete_posted("run", ["m"])
        assert await storage.posted("run") == []
        proxy.take_counts()
        assert await storage.posted("run") == []
        assert proxy.take_counts() == {"HEAD": 1}
        async with await open_objects(url) as other:
            await other.post("run", "n", b"")
            proxy.take_counts()
            assert len(await other.posted("run")) == 1
            assert proxy.take_counts() == {"GET": 2, "HEAD": 1, "LIST": 1}
        assert [message.message_id for message in await storage.posted("run")] == ["n"]


async def test_opening_and_acquiring(url, proxy):
    """So many as docs/storage.md says."""
    async with await open_objects(url) as storage:
        assert proxy.take_counts() == {"LIST": 1}
        await storage.acquire("first", "test")
        assert proxy.take_counts() == {"PUT": 11, "LIST": 3, "GET": 8, "POST": 2}
        await storage.acquire("run", "test")
        assert proxy.take_counts() == {"PUT": 3, "LIST": 2, "GET": 4}
        claim = await storage.acquire("run", "test")
        assert proxy.take_counts() == {"PUT": 2, "LIST": 2, "GET": 4}
        for number in range(1, 11):
            await storage.append("run", claim.epoch, number, [b"x"], b"")
        entries = await storage.list_entries("run")
        proxy.take_counts()
        await storage.delete("run", claim.epoch, entries=entries[1:9])
        assert proxy.take_counts() == {"LIST": 1, "POST": 1}
