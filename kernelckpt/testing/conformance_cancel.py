"""Conformance of a storage: a call that is cancelled at any of its awaits leaves no half of itself."""

# ruff: noqa: B023, PLW2901 - a call is made with the values of its round, before the next one begins

from __future__ import annotations

from contextlib import suppress

from kernelckpt.errors import KernelCkptError, NotFoundError
from kernelckpt.testing.expect import (
    StorageFactory,
    append_some,
    list_all,
    owned_run,
    sequences,
    write_blob,
)
from kernelckpt.testing.suspension import cancellations

_BODY = b"a body of some length " * 100


class CancelConformance:
    """Each call is cancelled at every suspension: at once, and in the moment when the answer comes."""

    async def test_an_append_cancelled_anywhere(self, storage_factory: StorageFactory) -> None:
        """It is there whole or not at all, and the run goes on."""
        async with owned_run(storage_factory) as (storage, now), await storage_factory() as other:
            async for acknowledged in cancellations(
                lambda: storage.append("run", now.epoch, now.head + 1, [_BODY, b"%d" % now.head], b"")
            ):
                after = await storage.acquire("run", "the test")
                assert after.head - now.head in ((1,) if acknowledged else (0, 1))
                assert await sequences(other) == list(range(1, after.head + 1))
                for entry in await other.list_entries("run", after=now.head):
                    assert await other.read("run", entry.epoch, entry.sequence) == _BODY + b"%d" % now.head
                now = after
            await append_some(storage, now, 1)

    async def test_an_acquire_cancelled_anywhere(self, storage_factory: StorageFactory) -> None:
        """The same client may acquire after it, and others once that was released."""
        epoch = head = 0
        async with await storage_factory() as storage, await storage_factory() as other:
            async for _ in cancellations(lambda: storage.acquire("run", "the test")):
                claim = await storage.acquire("run", "the test")
                assert (claim.epoch > epoch, claim.head) == (True, head)
                await append_some(storage, claim, 1)
                await storage.release("run", claim.epoch)
                following = await other.acquire("run", "the next")
                assert (following.epoch > claim.epoch, following.head) == (True, head + 1)
                await other.release("run", following.epoch)
                epoch, head = following.epoch, following.head

    async def test_closing_after_a_cancelled_acquire(self, storage_factory: StorageFactory) -> None:
        """The closed client owns nothing, whether or not it had been granted the run."""
        storage = await storage_factory()
        async for _ in cancellations(lambda: storage.acquire("run", "the test")):
            await storage.aclose()
            storage = await storage_factory()
            claim = await storage.acquire("run", "the next")
            await storage.release("run", claim.epoch)
        await storage.aclose()

    async def test_a_part_cancelled_anywhere(self, storage_factory: StorageFactory) -> None:
        """The blob can be finished with the whole part or without it, or not at all."""
        async with owned_run(storage_factory) as (storage, claim):
            name = "b0"
            await storage.write_part("run", claim.epoch, name, 0, [b"first"])
            async for acknowledged in cancellations(
                lambda: storage.write_part("run", claim.epoch, name, 1, [_BODY])
            ):
                whole = [b"first" + _BODY] if acknowledged else [b"first" + _BODY, b"first"]
                try:
                    size = (await storage.finish_blob("run", claim.epoch, name)).size
                except KernelCkptError:
                    assert not acknowledged
                    assert not await storage.list_blobs("run")
                else:
                    found = await storage.read_blob("run", name)
                    assert (found in whole, len(found)) == (True, size)
                claim = await storage.acquire("run", "the test")
                await storage.delete("run", claim.epoch, blobs=[name])
                name = f"b{claim.epoch}"
                await storage.write_part("run", claim.epoch, name, 0, [b"first"])

    async def test_a_finish_cancelled_anywhere(self, storage_factory: StorageFactory) -> None:
        """The blob is there whole or not at all."""
        async with owned_run(storage_factory) as (storage, claim), await storage_factory() as other:
            name = "b0"
            await storage.write_part("run", claim.epoch, name, 0, [_BODY])
            async for acknowledged in cancellations(lambda: storage.finish_blob("run", claim.epoch, name)):
                claim = await storage.acquire("run", "the test")
                found = {blob.name: blob.size for blob in await other.list_blobs("run")}
                assert found in ([{name: len(_BODY)}] if acknowledged else [{name: len(_BODY)}, {}])
                if found:
                    assert await other.read_blob("run", name) == _BODY
                await storage.delete("run", claim.epoch, blobs=[name])
                name = f"b{claim.epoch}"
                await storage.write_part("run", claim.epoch, name, 0, [_BODY])

    async def test_a_deletion_cancelled_anywhere(self, storage_factory: StorageFactory) -> None:
        """Each entry and blob is there whole or not at all; deleting again finishes it, the head stays."""
        async with owned_run(storage_factory) as (storage, claim), await storage_factory() as other:
            await append_some(storage, claim, 3)
            await write_blob(storage, claim, "b0", [_BODY])
            entries, blob = await list_all(storage), "b0"
            async for acknowledged in cancellations(
                lambda: storage.delete("run", claim.epoch, entries=entries, blobs=[blob])
            ):
                found = await list_all(other)
                assert not (acknowledged and (found or await other.list_blobs("run")))
                with suppress(NotFoundError):  # it may have its effect a little later
                    for entry in found:
                        data = await other.read("run", entry.epoch, entry.sequence)
                        assert data == b"entry %d" % entry.sequence
                    assert await other.read_blob("run", blob) == _BODY
                claim = await storage.acquire("run", "the test")
                assert claim.head == entries[-1].sequence
                await storage.delete("run", claim.epoch, entries=entries, blobs=[blob])
                assert not await list_all(other)
                assert not await other.list_blobs("run")
                await append_some(storage, claim, 3)
                entries, blob = await list_all(other), f"b{claim.epoch}"
                await write_blob(storage, claim, blob, [_BODY])

    async def test_a_post_cancelled_anywhere(self, storage_factory: StorageFactory) -> None:
        """The message is there once or not at all, and posting it again puts it there once."""
        async with owned_run(storage_factory) as (storage, _), await storage_factory() as other:
            posted = [b"message 0"]
            async for acknowledged in cancellations(
                lambda: storage.post("run", posted[-1].decode(), posted[-1])
            ):
                found = [message.data for message in await other.posted("run")]
                assert found in ([posted] if acknowledged else [posted, posted[:-1]])
                assert await storage.post("run", posted[-1].decode(), posted[-1]) in (False, not acknowledged)
                assert [message.data for message in await other.posted("run")] == posted
                posted.append(b"message %d" % len(posted))

    async def test_taking_messages_cancelled_anywhere(self, storage_factory: StorageFactory) -> None:
        """Each message is there or not, and no other is touched; taking them again finishes it."""
        async with owned_run(storage_factory) as (storage, _), await storage_factory() as other:
            ids = ["a0", "b0", "c0"]
            for message_id in ("kept", *ids):
                await storage.post("run", message_id, b"")
            async for acknowledged in cancellations(lambda: storage.delete_posted("run", ids)):
                found = [message.message_id for message in await other.posted("run")]
                assert found == ["kept", *(name for name in ids if name in found and not acknowledged)]
                await storage.delete_posted("run", ids)
                assert [message.message_id for message in await other.posted("run")] == ["kept"]
                ids = [f"{name}+" for name in ids]
                for message_id in ids:
                    await storage.post("run", message_id, b"")
