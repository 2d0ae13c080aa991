"""Conformance of a storage: claims of copies, which go on with the numbers of another store."""

from __future__ import annotations

from kernelckpt.abc import Claim, StorageBackend
from kernelckpt.errors import FencedError, InvalidValueError, RunOwnedError
from kernelckpt.testing.expect import (
    StorageFactory,
    append_some,
    list_all,
    owned_run,
    refused,
    sequences,
    write_blob,
)

_HIGH = 2**40
"""An epoch, and a number, past what fits into 32 bits."""


class CopyClaimConformance:
    """A copy has the epochs and the numbers of what it is a copy of, with its holes."""

    async def test_a_copy_keeps_epochs_and_holes(self, storage_factory: StorageFactory) -> None:
        """Entries are listed under the epoch that was claimed; the numbers between are as if deleted."""
        async with await storage_factory() as storage, await storage_factory() as other:
            await _copy(storage, Claim(3, 0), 2)
            await _copy(storage, Claim(3, 7), 1)
            await _copy(storage, Claim(5, 40), 2)
            found = [(entry.epoch, entry.sequence) for entry in await list_all(other)]
            assert found == [(3, 1), (3, 2), (3, 8), (5, 41), (5, 42)]
            assert list(await other.list_newest("run", limit=2)) == list(await list_all(other))[-2:]
            for epoch, sequence in found:
                assert await other.read("run", epoch, sequence) == b"entry %d" % sequence
            assert [entry.sequence for entry in await other.list_entries("run", after=2, limit=2)] == [8, 41]
            assert list(await other.list_runs()) == ["run"]

    async def test_a_later_owner_of_a_copy(self, storage_factory: StorageFactory) -> None:
        """It is granted a higher epoch, and goes on at the head."""
        async with await storage_factory() as storage, await storage_factory() as other:
            await _copy(storage, Claim(_HIGH, _HIGH), 1)
            await storage.release("run", _HIGH)
            claim = await other.acquire("run", "the next")
            assert (claim.epoch > _HIGH, claim.head) == (True, _HIGH + 1)
            await append_some(other, claim, 1)
            with refused(FencedError):
                await storage.append("run", _HIGH, _HIGH + 3, [b"late"], b"")
            assert await sequences(other) == [_HIGH + 1, _HIGH + 2]

    async def test_a_claim_that_lies_behind(self, storage_factory: StorageFactory) -> None:
        """It is refused and changes nothing; the very claim that is held may be made again."""
        async with await storage_factory() as storage:
            await _copy(storage, Claim(5, 10), 2)
            for claim in (Claim(4, 12), Claim(5, 11), Claim(6, 11), Claim(4, 100)):
                with refused(InvalidValueError):
                    await storage.acquire_as("run", "the test", claim)
            await append_some(storage, Claim(5, 12), 1)
            await _copy(storage, Claim(5, 13), 1)
            assert await sequences(storage) == [11, 12, 13, 14]

    async def test_a_copy_behind_an_owner_of_before(self, storage_factory: StorageFactory) -> None:
        """Epochs that `acquire` granted count as well."""
        async with owned_run(storage_factory) as (storage, claim):
            await append_some(storage, claim, 2)
            with refused(InvalidValueError):
                await storage.acquire_as("run", "the test", Claim(claim.epoch - 1, 2))
            with refused(InvalidValueError):
                await storage.acquire_as("run", "the test", Claim(claim.epoch + 1, 1))
            await append_some(storage, Claim(claim.epoch, 2), 1)

    async def test_a_copy_respects_a_living_owner(self, storage_factory: StorageFactory) -> None:
        """It is refused, told who it is, and changes nothing; a copy is such an owner too."""
        async with owned_run(storage_factory) as (storage, claim), await storage_factory() as other:
            with refused(RunOwnedError) as refusal:
                await other.acquire_as("run", "a copy", Claim(claim.epoch + 9, 5))
            assert "the test" in getattr(refusal.error, "holder", "")
            await append_some(storage, claim, 1)
            await _copy(storage, Claim(claim.epoch + 1, 1), 1)
            with refused(RunOwnedError):
                await other.acquire("run", "the next")
            await append_some(storage, Claim(claim.epoch + 1, 2), 1)
            assert await sequences(other) == [1, 2, 3]

    async def test_claims_before_a_copy_are_fenced(self, storage_factory: StorageFactory) -> None:
        """The client's own as well as another's, whatever their number."""
        async with owned_run(storage_factory) as (storage, claim), await storage_factory() as other:
            await append_some(storage, claim, 1)
            await storage.release("run", claim.epoch)
            await _copy(other, Claim(claim.epoch, 1), 1)
            with refused(FencedError):
                await storage.append("run", claim.epoch, 3, [b"the same epoch, but not its own"], b"")
            await _copy(other, Claim(claim.epoch + 4, 9), 1)
            for client in (storage, other):
                for sequence in (3, 10, 11):
                    with refused(FencedError):
                        await client.append("run", claim.epoch, sequence, [b"late"], b"")
            assert await sequences(storage) == [1, 2, 10]

    async def test_a_copy_can_be_taken_over(self, storage_factory: StorageFactory) -> None:
        """Then it adds nothing more."""
        async with await storage_factory() as storage, await storage_factory() as other:
            await _copy(storage, Claim(8, 3), 1)
            taken = await other.acquire("run", "the next", takeover=True)
            assert (taken.epoch > 8, taken.head) == (True, 4)
            with refused(FencedError):
                await storage.append("run", 8, 5, [b"late"], b"")
            await append_some(other, taken, 1)
            assert [entry.epoch for entry in await list_all(storage)] == [8, taken.epoch]

    async def test_a_copy_numbers_without_gaps(self, storage_factory: StorageFactory) -> None:
        """Under a claim only its next number is taken, as ever."""
        async with await storage_factory() as storage:
            await storage.acquire_as("run", "a copy", Claim(2, 6))
            for sequence in (1, 6, 8):
                with refused(FencedError):
                    await storage.append("run", 2, sequence, [b"wrong"], b"")
            with refused(FencedError):
                await storage.append("run", 3, 7, [b"wrong"], b"")
            await storage.append("run", 2, 7, [b"right"], b"")
            assert await sequences(storage) == [7]

    async def test_deleting_in_a_copy_keeps_its_head(self, storage_factory: StorageFactory) -> None:
        """Also when it holds no entry, or none any more."""
        async with await storage_factory() as storage:
            await storage.acquire_as("run", "a copy", Claim(4, 20))
            assert not await list_all(storage)
            again = await storage.acquire("run", "the test")
            assert (again.epoch > 4, again.head) == (True, 20)
            await append_some(storage, again, 2)
            await storage.delete("run", again.epoch, entries=await list_all(storage))
            last = await storage.acquire("run", "the test")
            assert (last.epoch > again.epoch, last.head) == (True, 22)

    async def test_a_copy_has_blobs(self, storage_factory: StorageFactory) -> None:
        """They are written under the claim as under any."""
        async with await storage_factory() as storage, await storage_factory() as other:
            await _copy(storage, Claim(4, 20), 1)
            await write_blob(storage, Claim(4, 21), "b", [b"one ", b"two"])
            await storage.acquire_as("run", "a copy", Claim(6, 30))
            with refused(FencedError):
                await storage.write_part("run", 4, "late", 0, [b"part"])
            assert await other.read_blob("run", "b") == b"one two"
            await storage.delete("run", 6, blobs=["b"])
            assert not await other.list_blobs("run")


async def _copy(storage: StorageBackend, claim: Claim, count: int) -> None:
    await storage.acquire_as("run", "a copy", claim)
    await append_some(storage, claim, count)
