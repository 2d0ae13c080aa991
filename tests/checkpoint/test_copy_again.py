"""A copy that is made again when there is nothing to copy."""

from typing_extensions import override

from kernelckpt import copy_run
from kernelckpt.storage.memory import MemoryStorage


class Busy(MemoryStorage):
    """Somebody posts a message each time the inbox has been looked into."""

    @override
    async def posted(self, run_id):
        found = await super().posted(run_id)
        await self.post(run_id, f"after {len(found)}", b"x")
        return found


async def test_what_is_posted_to_a_finished_copy_meanwhile_stays():
    source, target = MemoryStorage(), Busy()
    claim = await source.acquire("run", "test")
    await source.append("run", claim.epoch, 1, [b"entry"], b"")
    await copy_run(source, target, "run")
    await target.delete_posted(
        "run", [message.message_id for message in await MemoryStorage.posted(target, "run")]
    )
    assert (await copy_run(source, target, "run")).new_size == 0
    assert [message.message_id for message in await MemoryStorage.posted(target, "run")] == ["after 0"]
