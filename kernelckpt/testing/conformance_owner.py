"""Conformance of a storage: one owner at a time, and what becomes of the others."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from kernelckpt.abc import Claim, StorageBackend
from kernelckpt.errors import FencedError, OwnershipError, RunOwnedError
from kernelckpt.testing.expect import (
    StorageFactory,
    append_some,
    list_all,
    owned_run,
    refused,
    sequences,
)

_WRITERS, _CLIENTS, _APPENDS, _TRIES = 50, 5, 3, 3


class OwnerConformance:
    """A stale owner gets no acknowledgement, and what it leaves is never shown."""

    async def test_a_living_owner_is_respected(self, storage_factory: StorageFactory) -> None:
        """Others are refused, told who it is, and change nothing."""
        async with owned_run(storage_factory) as (storage, claim), await storage_factory() as other:
            with refused(RunOwnedError) as refusal:
                await other.acquire("run", "somebody else")
            assert isinstance(refusal.error, RunOwnedError)
            assert refusal.error.run_id == "run"
            assert "the test" in refusal.error.holder
            await append_some(storage, claim, 1)

    async def test_release_lets_the_next_one_in(self, storage_factory: StorageFactory) -> None:
        """The next epoch is higher and begins at the head."""
        async with owned_run(storage_factory) as (storage, claim), await storage_factory() as other:
            await append_some(storage, claim, 2)
            await storage.release("run", claim.epoch)
            following = await other.acquire("run", "the next")
            assert (following.epoch > claim.epoch, following.head) == (True, 2)
            with refused(FencedError):
                await storage.append("run", claim.epoch, 3, [b"late"], b"")

    async def test_closing_lets_the_next_one_in(self, storage_factory: StorageFactory) -> None:
        """A closed client owns nothing."""
        async with owned_run(storage_factory) as (storage, claim), await storage_factory() as other:
            await append_some(storage, claim, 1)
            await storage.aclose()
            assert (await other.acquire("run", "the next")).head == 1

    async def test_releasing_what_was_lost_does_nothing(self, storage_factory: StorageFactory) -> None:
        """A stale release does not end the new owner's ownership."""
        async with owned_run(storage_factory) as (storage, claim), await storage_factory() as other:
            taken = await other.acquire("run", "the next", takeover=True)
            await storage.release("run", claim.epoch)
            await storage.release("run", claim.epoch)
            with refused(RunOwnedError):
                await storage.acquire("run", "the test")
            await append_some(other, taken, 1)

    async def test_the_old_owner_is_fenced_at_once(self, storage_factory: StorageFactory) -> None:
        """After a take-over it gets no acknowledgement although the new owner has written nothing."""
        async with owned_run(storage_factory) as (storage, claim), await storage_factory() as other:
            await append_some(storage, claim, 2)
            taken = await other.acquire("run", "the next", takeover=True)
            assert (taken.epoch > claim.epoch, taken.head) == (True, 2)
            for sequence in (3, 3, 4):
                with refused(FencedError):
                    await storage.append("run", claim.epoch, sequence, [b"void"], b"")
            assert await sequences(other) == [1, 2]

    async def test_the_old_owner_stays_fenced(self, storage_factory: StorageFactory) -> None:
        """Also after the new owner wrote, released and was followed."""
        async with owned_run(storage_factory) as (storage, claim), await storage_factory() as other:
            taken = await other.acquire("run", "the next", takeover=True)
            await append_some(other, taken, 2)
            for sequence in (1, 2, 3):
                with refused(FencedError):
                    await storage.append("run", claim.epoch, sequence, [b"void"], b"")
            await other.release("run", taken.epoch)
            with refused(FencedError):
                await storage.append("run", claim.epoch, 1, [b"void"], b"")
            assert [entry.epoch for entry in await list_all(storage)] == [taken.epoch] * 2

    async def test_void_entries_never_come_back(self, storage_factory: StorageFactory) -> None:
        """What a fenced owner wrote is shown to nobody, whoever owns the run later."""
        async with owned_run(storage_factory) as (storage, claim), await storage_factory() as other:
            await append_some(storage, claim, 1)
            second = await other.acquire("run", "the second", takeover=True)
            with refused(FencedError):
                await storage.append("run", claim.epoch, 2, [b"void"], b"")
            await other.append("run", second.epoch, 2, [b"sound"], b"")
            third = await storage.acquire("run", "the third", takeover=True)
            assert third.head == 2
            await storage.append("run", third.epoch, 3, [b"more"], b"")
            found = [(entry.epoch, entry.sequence) for entry in await list_all(other)]
            assert found == [(claim.epoch, 1), (second.epoch, 2), (third.epoch, 3)]
            assert await other.read("run", second.epoch, 2) == b"sound"

    async def test_nothing_else_of_a_fenced_owner_counts(self, storage_factory: StorageFactory) -> None:
        """Neither its blobs nor its deletions."""
        async with owned_run(storage_factory) as (storage, claim), await storage_factory() as other:
            await append_some(storage, claim, 2)
            await storage.write_part("run", claim.epoch, "late", 0, [b"part"])
            await other.acquire("run", "the next", takeover=True)
            with refused(FencedError):
                await storage.finish_blob("run", claim.epoch, "late")
            with refused(FencedError):
                await storage.delete("run", claim.epoch, entries=await list_all(other))
            assert not await other.list_blobs("run")
            assert await sequences(other) == [1, 2]

    async def test_an_epoch_must_have_been_granted_here(self, storage_factory: StorageFactory) -> None:
        """Neither a guessed epoch nor that of another client can write."""
        async with owned_run(storage_factory) as (storage, claim), await storage_factory() as other:
            for client, epoch in ((storage, claim.epoch + 1), (storage, 0), (other, claim.epoch)):
                with refused(FencedError):
                    await client.append("run", epoch, 1, [b"x"], b"")
            with refused(FencedError):
                await storage.append("a run never acquired", claim.epoch, 1, [b"x"], b"")
            await append_some(storage, claim, 1)

    async def test_acquiring_again_supersedes_ones_own(self, storage_factory: StorageFactory) -> None:
        """A client holds one claim of a run: the newest."""
        async with owned_run(storage_factory) as (storage, claim):
            await append_some(storage, claim, 1)
            again = await storage.acquire("run", "the test")
            assert (again.epoch > claim.epoch, again.head) == (True, 1)
            with refused(FencedError):
                await storage.append("run", claim.epoch, 2, [b"x"], b"")
            await append_some(storage, again, 1)

    async def test_runs_have_owners_of_their_own(self, storage_factory: StorageFactory) -> None:
        """Owning one run says nothing about another."""
        async with owned_run(storage_factory, "a") as (storage, claim), await storage_factory() as other:
            second = await other.acquire("b", "somebody else")
            await append_some(storage, claim, 2, "a")
            await append_some(other, second, 1, "b")
            assert (await sequences(other, "a"), await sequences(storage, "b")) == ([1, 2], [1])

    async def test_only_one_of_many_acquires(self, storage_factory: StorageFactory) -> None:
        """Of clients that ask at once without taking over, one gets the run."""
        clients = [await storage_factory() for _ in range(8)]
        tries = await asyncio.gather(
            *(client.acquire("run", "one of many") for client in clients), return_exceptions=True
        )
        assert sum(isinstance(found, Claim) for found in tries) == 1
        assert all(isinstance(found, Claim | RunOwnedError) for found in tries)
        for client in clients:
            await client.aclose()

    async def test_racing_writers(self, storage_factory: StorageFactory) -> None:
        """Fifty writers take the run from each other: each number is acknowledged once, and none is lost."""
        clients = [await storage_factory() for _ in range(_CLIENTS)]
        claims = await asyncio.gather(
            *(_take_over(clients[n % _CLIENTS], n) for n in range(_WRITERS)), return_exceptions=True
        )
        epochs = [claim.epoch for claim in claims if isinstance(claim, Claim)]
        assert len(set(epochs)) == len(epochs) > 0
        acknowledged: dict[int, tuple[int, bytes]] = {}
        turn = asyncio.Lock()
        await asyncio.gather(
            *(_write_some(clients[n % _CLIENTS], n, claims[n], acknowledged, turn) for n in range(_WRITERS))
        )
        assert len({epoch for epoch, _ in acknowledged.values()}) >= _WRITERS
        reader = clients[0]
        listed = {entry.sequence: entry for entry in await list_all(reader)}
        assert list(listed) == list(range(1, len(listed) + 1))
        for sequence, (epoch, body) in acknowledged.items():
            assert listed[sequence].epoch == epoch
            assert await reader.read("run", epoch, sequence) == body
        by_epoch = [entry.epoch for entry in listed.values()]
        assert by_epoch == sorted(by_epoch)
        for client in clients:
            await client.aclose()


async def _take_over(storage: StorageBackend, number: int) -> Claim:
    return await storage.acquire("run", f"writer {number}", takeover=True)


async def _write_some(
    storage: StorageBackend,
    number: int,
    claim: Claim | BaseException,
    acknowledged: dict[int, tuple[int, bytes]],
    turn: asyncio.Lock,
) -> None:
    """Write with the first claim, then take the run back until at least one entry was acknowledged."""
    written = await _write(storage, number, claim, acknowledged) if isinstance(claim, Claim) else 0
    tries = 0
    while not written:
        tries += 1
        async with turn:
            claim = await _take_over(storage, number)
            if tries > _TRIES:  # it never gets its turn: nobody else takes the run meanwhile
                written = await _write(storage, number, claim, acknowledged)
        if tries <= _TRIES:
            written = await _write(storage, number, claim, acknowledged)


async def _write(
    storage: StorageBackend, number: int, claim: Claim, acknowledged: dict[int, tuple[int, bytes]]
) -> int:
    """Add entries until the run is lost; how many were acknowledged."""
    written = 0
    with suppress(OwnershipError):
        for sequence in range(claim.head + 1, claim.head + 1 + _APPENDS):
            body = b"writer %d, entry %d" % (number, sequence)
            await storage.append("run", claim.epoch, sequence, [body], b"")
            assert sequence not in acknowledged, f"entry {sequence} was acknowledged twice"
            acknowledged[sequence] = (claim.epoch, body)
            written += 1
    return written
