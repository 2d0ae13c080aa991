"""What an Azure server that keeps its files holds after it was started again."""

import pytest

from kernelckpt.storage.objects.storage import open_objects

pytestmark = pytest.mark.servers


async def test_what_was_acknowledged_is_there_after_a_restart(azurite_server):
    """The same clients go on; the emulator itself promises this for an orderly end only."""
    url = azurite_server.url(azurite_server.make_bucket())
    async with await open_objects(url) as storage:
        claim = await storage.acquire("run", "the owner")
        for number in range(1, 11):
            await storage.append("run", claim.epoch, number, [b"%d" % number], b"")
        await storage.write_part("run", claim.epoch, "blob", 0, [b"blob"])
        await storage.finish_blob("run", claim.epoch, "blob")
        await storage.post("run", "m", b"posted")
        azurite_server.stop()
        azurite_server.start()
        await storage.append("run", claim.epoch, 11, [b"11"], b"")
    async with await open_objects(url) as reader:
        entries = await reader.list_entries("run")
        bodies = [await reader.read("run", entry.epoch, entry.sequence) for entry in entries]
        assert bodies == [b"%d" % number for number in range(1, 12)]
        assert await reader.read_blob("run", "blob") == b"blob"
        assert [message.data for message in await reader.posted("run")] == [b"posted"]
