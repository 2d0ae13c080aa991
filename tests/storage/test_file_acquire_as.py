"""Claims of a copy: epochs and numbers as another store has them, holes, and a dead owner's epoch again."""

import asyncio

import pytest

from kernelckpt.abc import Claim
from kernelckpt.errors import FencedError, InvalidValueError, RunOwnedError


async def add(storage, epoch, head, *bodies):
    await storage.acquire_as("run", "a copy", Claim(epoch, head))
    for number, body in enumerate(bodies, head + 1):
        await storage.append("run", epoch, number, [body], b"meta")


def lose_lock(storage):
    """As if this owner were dead: others get its lock, and it does not know."""
    claim = storage._claims["run"]
    claim._ops.unlock(claim._lock_fd)


async def test_entries_are_listed_under_the_epochs_and_numbers_they_are_given(folder):
    storage = folder.client()
    await add(storage, 3, 4, b"five", b"six")
    await add(storage, 3, 9, b"ten")
    await add(storage, 70, 10, b"eleven")
    await add(storage, 5000, 99, b"hundred")
    await storage.aclose()
    expected = [(3, 5, False), (3, 6, False), (3, 10, False), (70, 11, False), (5000, 100, False)]
    assert await folder.listed() == expected
    assert await folder.contents() == [b"five", b"six", b"ten", b"eleven", b"hundred"]
    assert await folder.client().acquire("run", "next") == Claim(5001, 100)
    assert await folder.listed() == expected


async def test_a_claim_alone_moves_epoch_and_head(folder):
    storage = folder.client()
    await storage.acquire_as("run", "a copy", Claim(7, 40))
    await storage.aclose()
    assert await folder.listed() == []
    assert await folder.client().acquire("run", "next") == Claim(8, 40)


async def test_a_dead_owner_s_epoch_is_gone_on_with_in_a_new_segment(folder):
    storage = folder.client()
    await add(storage, 3, 0, b"one", b"two")
    await storage.aclose()
    (first,) = folder.run.glob("seg.*")
    before = first.read_bytes()
    await add(folder.client(), 3, 2, b"three")
    assert first.read_bytes() == before
    assert folder.names("seg") == ["seg.3.1", "seg.3.2"]
    assert await folder.listed() == [(3, 1, False), (3, 2, False), (3, 3, False)]


async def test_a_torn_entry_of_the_dead_owner_is_written_again(folder):
    storage = folder.client()
    await add(storage, 3, 0, b"one", b"two")
    await storage.aclose()
    path = folder.run / "seg.3.1"
    path.write_bytes(path.read_bytes()[:-3])
    (folder.run / "head").unlink()  # else the entry had been acknowledged
    storage = folder.client()
    await add(storage, 3, 1, b"two again")
    await storage.aclose()
    assert await folder.contents() == [b"one", b"two again"]
    assert (await folder.client().acquire("run", "next")).head == 2


@pytest.mark.parametrize("claim", [Claim(2, 2), Claim(3, 1), Claim(0, 2)])
async def test_a_claim_that_lies_behind_is_refused_and_changes_nothing(folder, claim):
    storage = folder.client()
    await add(storage, 3, 0, b"one", b"two")
    for client in (storage, folder.client()):
        with pytest.raises(InvalidValueError, match="is at epoch 3, entry 2 already"):
            await client.acquire_as("run", "another", claim)
    await storage.append("run", 3, 3, [b"three"], b"")
    assert len(await folder.listed()) == 3


@pytest.mark.parametrize("claim", [Claim(3, 1), Claim(4, 1), Claim(9, 5)])
async def test_a_living_owner_is_not_disturbed(folder, claim):
    storage, other = folder.client(), folder.client()
    await add(storage, 3, 0, b"one")
    with pytest.raises(RunOwnedError, match="owned by a copy"):
        await other.acquire_as("run", "another", claim)
    with pytest.raises(RunOwnedError, match="owned by a copy"):
        await other.acquire("run", "another")
    await storage.append("run", 3, 2, [b"two"], b"")
    await storage.acquire_as("run", "a copy", Claim(9, 5))  # it is not asked itself


@pytest.mark.parametrize("claim", [Claim(3, 1), Claim(4, 1), Claim(900, 1)])
async def test_an_owner_that_is_no_longer_known_to_be_alive_is_fenced(folder, claim):
    """Whatever epoch follows, also its own."""
    stale = folder.client()
    await add(stale, 3, 0, b"one")
    lose_lock(stale)
    await add(folder.client(), claim.epoch, 1, b"two")
    with pytest.raises(FencedError):
        await stale.append("run", 3, 2, [b"stale"], b"")
    assert await folder.contents() == [b"one", b"two"]


async def test_what_an_older_owner_wrote_too_late_stays_void_when_the_epoch_is_gone_on_with(folder):
    stale = folder.client()
    await add(stale, 1, 0, b"one")
    lose_lock(stale)
    storage = folder.client()
    await add(storage, 3, 1, b"two")
    with pytest.raises(FencedError):
        await stale.append("run", 1, 2, [b"stale"], b"")
    await storage.aclose()
    again = folder.client()
    await add(again, 3, 2, b"three")
    assert await folder.contents() == [b"one", b"two", b"three"]
    await again.delete("run", 3, entries=(await again.list_entries("run"))[1:2])
    assert await folder.contents() == [b"one", b"three"]


async def test_of_two_that_go_on_in_one_epoch_one_does(folder):
    """The other one had seen the dead owner, too."""
    storage, other = folder.client(), folder.client()
    await add(storage, 3, 0, b"one")
    await storage.aclose()
    slower, ops = folder.faulty()
    ops.before("lock", lambda: asyncio.run(add(other, 3, 1, b"two")), nth=2)
    with pytest.raises(InvalidValueError, match="entry 2 already"):
        await add(slower, 3, 1, b"two again")
    await other.append("run", 3, 3, [b"three"], b"")
    assert await folder.contents() == [b"one", b"two", b"three"]


async def test_who_takes_a_run_over_fences_a_copy(folder):
    storage = folder.client()
    await add(storage, 30, 5, b"six")
    taken = await folder.client().acquire("run", "next", takeover=True)
    assert taken == Claim(31, 6)
    with pytest.raises(FencedError):
        await storage.append("run", 30, 7, [b"stale"], b"")


async def test_an_owner_that_slept_while_it_claimed_finds_that_others_came_and_went(folder):
    """The file that it claims by is gone by then, and so is the next one."""
    sleeper, ops = folder.faulty()
    others = folder.client()

    async def three_owners():
        for body in (b"two", b"three", b"four"):
            claim = await others.acquire("run", "meanwhile")
            await others.append("run", claim.epoch, claim.head + 1, [body], b"")
            old = [entry for entry in await others.list_entries("run") if entry.epoch < claim.epoch]
            await others.delete("run", claim.epoch, entries=old)

    await folder.write(b"one")
    ops.before("link", lambda: asyncio.run(three_owners()))
    with pytest.raises(RunOwnedError, match="meanwhile"):
        await sleeper.acquire("run", "a sleeper")
    assert await folder.contents() == [b"four"]


async def test_many_epochs_leave_few_files_behind(folder):
    storage = folder.client()
    for number, epoch in enumerate(range(10, 1000, 90)):
        await add(storage, epoch, number, b"x")
    await storage.aclose()
    assert len(folder.names("owner")) <= 2 * 11
    assert len(await folder.listed()) == 11
