"""Conformance of a storage: blobs, from their first part to their deletion."""

from __future__ import annotations

from kernelckpt.abc import PART_BYTES, BlobInfo
from kernelckpt.errors import NotFoundError, UsageError
from kernelckpt.testing.expect import StorageFactory, append_some, owned_run, refused


class BlobConformance:
    """A blob is invisible until it is whole, and never changes after."""

    async def test_a_blob_is_invisible_until_finished(self, storage_factory: StorageFactory) -> None:
        """Parts alone are neither listed nor read."""
        async with owned_run(storage_factory) as (storage, claim):
            await storage.write_part("run", claim.epoch, "b", 0, [b"one ", b"two "])
            await storage.write_part("run", claim.epoch, "b", 1, [b"three"])
            assert not await storage.list_blobs("run")
            with refused(NotFoundError):
                await storage.read_blob("run", "b")
            assert await storage.finish_blob("run", claim.epoch, "b") == BlobInfo("b", 13)
            assert list(await storage.list_blobs("run")) == [BlobInfo("b", 13)]
            assert await storage.read_blob("run", "b") == b"one two three"

    async def test_ranged_reads_of_a_blob(self, storage_factory: StorageFactory) -> None:
        """A range is a slice, across parts too."""
        data = bytes(range(250))
        async with owned_run(storage_factory) as (storage, claim), await storage_factory() as other:
            for index in range(5):
                piece = data[index * 50 : index * 50 + 50]
                await storage.write_part("run", claim.epoch, "b", index, [piece])
            await storage.finish_blob("run", claim.epoch, "b")
            for offset, length in ((0, 10), (45, 10), (240, 50), (250, 1), (9, 0)):
                found = await other.read_blob("run", "b", offset=offset, length=length)
                assert found == data[offset : offset + length]
            assert await other.read_blob("run", "b", offset=99) == data[99:]

    async def test_parts_that_cannot_be(self, storage_factory: StorageFactory) -> None:
        """Too large, out of order, or under a name that is taken."""
        async with owned_run(storage_factory) as (storage, claim):
            with refused(UsageError):
                await storage.write_part("run", claim.epoch, "b", 0, [b"x" * PART_BYTES, b"x"])
            with refused(UsageError):
                await storage.write_part("run", claim.epoch, "b", 1, [b"x"])
            await storage.write_part("run", claim.epoch, "b", 0, [])
            assert (await storage.finish_blob("run", claim.epoch, "b")).size == 0
            with refused(UsageError):
                await storage.write_part("run", claim.epoch, "b", 0, [b"x"])
            assert await storage.read_blob("run", "b") == b""
            with refused(NotFoundError):
                await storage.finish_blob("run", claim.epoch, "never begun")

    async def test_an_unfinished_blob_dies_with_its_owner(self, storage_factory: StorageFactory) -> None:
        """Its name may be used by the next owner, who sees none of it."""
        async with owned_run(storage_factory) as (storage, claim):
            await storage.write_part("run", claim.epoch, "b", 0, [b"left over"])
        async with owned_run(storage_factory) as (storage, claim):
            assert not await storage.list_blobs("run")
            await storage.delete("run", claim.epoch)
            await storage.write_part("run", claim.epoch, "b", 0, [b"new"])
            await storage.finish_blob("run", claim.epoch, "b")
            assert await storage.read_blob("run", "b") == b"new"

    async def test_blobs_are_listed_by_name_and_deleted(self, storage_factory: StorageFactory) -> None:
        """Deleting one leaves the others."""
        async with owned_run(storage_factory) as (storage, claim):
            for name in ("c", "a/1", "b", "é.x"):
                await storage.write_part("run", claim.epoch, name, 0, [name.encode()])
                await storage.finish_blob("run", claim.epoch, name)
            await storage.delete("run", claim.epoch, blobs=["b", "none"])
            assert [blob.name for blob in await storage.list_blobs("run")] == ["a/1", "c", "é.x"]
            assert await storage.read_blob("run", "é.x") == "é.x".encode()
            with refused(NotFoundError):
                await storage.read_blob("run", "b")

    async def test_an_overview_is_the_newest_entries_and_all_blobs(
        self, storage_factory: StorageFactory
    ) -> None:
        """Whether it is one call or two."""
        async with owned_run(storage_factory) as (storage, claim):
            assert [len(part) for part in await storage.overview("run")] == [0, 0]
            await append_some(storage, claim, 5)
            for name in ("b", "a"):
                await storage.write_part("run", claim.epoch, name, 0, [b"1"])
                await storage.finish_blob("run", claim.epoch, name)
            entries, blobs = await storage.overview("run", limit=3)
            assert list(entries) == list(await storage.list_newest("run", limit=3))
            assert list(blobs) == [BlobInfo("a", 1), BlobInfo("b", 1)]
            with refused(UsageError):
                await storage.overview("run", limit=0)
            with refused(NotFoundError):
                await storage.overview("no such run")
