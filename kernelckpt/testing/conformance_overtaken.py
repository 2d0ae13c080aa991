"""Conformance of a storage: what becomes of calls in flight while the run is taken, given up or closed."""

# ruff: noqa: B023 - a call is made with the values of its round, before the next one begins

from __future__ import annotations

from kernelckpt.abc import BlobInfo, Claim
from kernelckpt.errors import FencedError, StorageUnavailableError, UnknownOutcomeError
from kernelckpt.testing.expect import (
    StorageFactory,
    append_some,
    check_entries,
    list_all,
    refused,
    write_blob,
)
from kernelckpt.testing.suspension import overtakings


class OvertakenConformance:
    """Each call is held at every suspension until something else is done, then goes on.

    Attributes:
        pause: seconds that the other one gets where it has to wait for the held call, as for a lock.
    """

    pause: float = 0.5

    async def test_an_append_overtaken_anywhere(self, storage_factory: StorageFactory) -> None:
        """What is acknowledged, the next owner sees; what it does not see is not acknowledged, and void."""
        bodies: dict[int, bytes] = {}
        async with await storage_factory() as first, await storage_factory() as second:
            claim = await first.acquire("run", "the first")
            async for overtaken in overtakings(
                lambda: first.append("run", claim.epoch, claim.head + 1, [b"%d" % claim.epoch], b""),
                lambda: second.acquire("run", "the second", takeover=True),
                self.pause,
            ):
                taken: Claim = overtaken.result
                assert isinstance(overtaken.error, FencedError | UnknownOutcomeError | None)
                assert taken.head - claim.head in ((0, 1) if overtaken.error else (1,))
                if taken.head > claim.head:
                    bodies[taken.head] = b"%d" % claim.epoch
                await check_entries(first, bodies)
                await append_some(second, taken, 1)
                bodies[taken.head + 1] = b"entry %d" % (taken.head + 1)
                for sequence in (taken.head + 1, taken.head + 2):
                    with refused(FencedError):
                        await first.append("run", claim.epoch, sequence, [b"zombie"], b"")
                await check_entries(second, bodies)
                await second.release("run", taken.epoch)
                claim = await first.acquire("run", "the first")

    async def test_a_finish_overtaken_anywhere(self, storage_factory: StorageFactory) -> None:
        """An acknowledged blob is there; whatever is there is whole."""
        async with await storage_factory() as first, await storage_factory() as second:
            claim = await first.acquire("run", "the first")
            await first.write_part("run", claim.epoch, f"b{claim.epoch}", 0, [b"whole"])
            async for overtaken in overtakings(
                lambda: first.finish_blob("run", claim.epoch, f"b{claim.epoch}"),
                lambda: second.acquire("run", "the second", takeover=True),
                self.pause,
            ):
                assert isinstance(overtaken.error, FencedError | UnknownOutcomeError | None)
                found = list(await second.list_blobs("run"))
                whole = [BlobInfo(f"b{claim.epoch}", 5)]
                assert found in ([whole, []] if overtaken.error else [whole])
                if found:
                    assert await second.read_blob("run", f"b{claim.epoch}") == b"whole"
                await second.delete("run", overtaken.result.epoch, blobs=[f"b{claim.epoch}"])
                await second.release("run", overtaken.result.epoch)
                claim = await first.acquire("run", "the first")
                await first.write_part("run", claim.epoch, f"b{claim.epoch}", 0, [b"whole"])

    async def test_a_deletion_overtaken_anywhere(self, storage_factory: StorageFactory) -> None:
        """The head stays, and what the next owner adds is not deleted with the rest."""
        async with await storage_factory() as first, await storage_factory() as second:
            claim = await first.acquire("run", "the first")
            await append_some(first, claim, 3)
            entries = await list_all(first)
            async for overtaken in overtakings(
                lambda: first.delete("run", claim.epoch, entries=entries),
                lambda: second.acquire("run", "the second", takeover=True),
                self.pause,
            ):
                taken: Claim = overtaken.result
                assert taken.head == entries[-1].sequence
                await append_some(second, taken, 1)
                left = [entry.sequence for entry in await list_all(second)]
                assert left[-1] == taken.head + 1
                assert overtaken.error is not None or left == [taken.head + 1]
                with refused(FencedError):
                    await first.delete("run", claim.epoch, entries=await list_all(second))
                assert [entry.sequence for entry in await list_all(second)] == left
                await second.release("run", taken.epoch)
                claim = await first.acquire("run", "the first")
                await first.delete("run", claim.epoch, entries=await list_all(first))
                await append_some(first, claim, 3)
                entries = await list_all(first)

    async def test_closing_during_an_append(self, storage_factory: StorageFactory) -> None:
        """Both end, the entry is there whole or not at all, and the next owner need not take over."""
        storage = await storage_factory()
        claim = await storage.acquire("run", "the test")
        async with await storage_factory() as reader:
            async for overtaken in overtakings(
                lambda: storage.append(
                    "run", claim.epoch, claim.head + 1, [b"entry %d" % (claim.head + 1)], b""
                ),
                lambda: storage.aclose(),  # noqa: PLW0108 - of the client of this round
                self.pause,
            ):
                expected = (FencedError, UnknownOutcomeError, StorageUnavailableError)
                assert overtaken.error is None or isinstance(overtaken.error, expected)
                with refused(StorageUnavailableError):
                    await storage.append("run", claim.epoch, claim.head + 2, [b"late"], b"")
                storage = await storage_factory()
                after = await storage.acquire("run", "the next")
                assert after.head - claim.head in ((0, 1) if overtaken.error else (1,))
                claim = after
                await check_entries(reader, {n: b"entry %d" % n for n in range(1, claim.head + 1)})
        await storage.aclose()

    async def test_giving_up_during_an_append(self, storage_factory: StorageFactory) -> None:
        """The entry counts if it was acknowledged; the next owner need not take over."""
        async with await storage_factory() as storage, await storage_factory() as other:
            claim = await storage.acquire("run", "the test")
            async for overtaken in overtakings(
                lambda: storage.append(
                    "run", claim.epoch, claim.head + 1, [b"entry %d" % (claim.head + 1)], b""
                ),
                lambda: storage.release("run", claim.epoch),
                self.pause,
            ):
                assert isinstance(overtaken.error, FencedError | UnknownOutcomeError | None)
                following = await other.acquire("run", "the next")
                assert following.head - claim.head in ((0, 1) if overtaken.error else (1,))
                await check_entries(other, {n: b"entry %d" % n for n in range(1, following.head + 1)})
                await other.release("run", following.epoch)
                claim = await storage.acquire("run", "the test")

    async def test_closing_during_a_blob(self, storage_factory: StorageFactory) -> None:
        """The blob is there whole or not at all."""
        storage = await storage_factory()
        claim = await storage.acquire("run", "the test")
        async for overtaken in overtakings(
            lambda: write_blob(storage, claim, f"b{claim.epoch}", [b"one ", b"two"]),
            lambda: storage.aclose(),  # noqa: PLW0108 - of the client of this round
            self.pause,
        ):
            storage = await storage_factory()
            following = await storage.acquire("run", "the next")
            found = list(await storage.list_blobs("run"))
            whole = [BlobInfo(f"b{claim.epoch}", 7)]
            assert found in ([whole, []] if overtaken.error else [whole])
            claim = following
            await storage.delete("run", claim.epoch, blobs=[blob.name for blob in found])
        await storage.aclose()
