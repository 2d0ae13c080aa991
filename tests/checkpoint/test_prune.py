"""`prune` from outside the kernel, and its rehearsal."""

import pytest
from state_kit import RUN, contents, new_storage, open_log, rot, said, write_base, write_run

from kernelckpt import FileStorage, MemoryStorage, Retention, verify
from kernelckpt.abc import Put, Remove
from kernelckpt.checkpoint.prune import prune, rehearse_prune
from kernelckpt.errors import CorruptionError, NotFoundError, RunOwnedError
from kernelckpt.log import PruneReport
from kernelckpt.model.kernel import KernelTotals
from kernelckpt.model.tcb import Tcb


async def three_bases(storage):
    await write_run(storage, [Put(("kernel", "", 0), KernelTotals()), Put(("task", "a", 0), Tcb("a"))])
    for text in ("one", "two", "three"):
        await write_base(storage, then=[Remove(("history", "a", 0)), said(text, 0)])


async def test_the_rehearsal_says_what_pruning_then_does(tmp_path):
    async with FileStorage(tmp_path) as storage:
        await three_bases(storage)
        before = await storage.list_entries(RUN), await storage.list_blobs(RUN)
        rehearsed = await rehearse_prune(storage, RUN, Retention(bases=1))
        assert (await storage.list_entries(RUN), await storage.list_blobs(RUN)) == before
        assert rehearsed.entries > 0
        assert rehearsed.blobs > 0
        assert await prune(storage, RUN, Retention(bases=1)) == rehearsed
        assert len(await storage.list_entries(RUN)) == len(before[0]) - rehearsed.entries
        assert (await verify(storage, RUN)).ok
        assert await prune(storage, RUN, Retention(bases=1)) == PruneReport()


async def test_pins_are_kept(tmp_path):
    async with FileStorage(tmp_path) as storage:
        await three_bases(storage)
        pinned = Retention(bases=1, pins=(1,))
        rehearsed = await rehearse_prune(storage, RUN, pinned)
        assert rehearsed.entries < (await rehearse_prune(storage, RUN, Retention(bases=1))).entries
        assert await prune(storage, RUN, pinned) == rehearsed
        assert (await verify(storage, RUN, 1)).ok
        assert (await verify(storage, RUN)).ok


async def test_a_pin_of_what_is_gone(tmp_path):
    async with FileStorage(tmp_path) as storage:
        await three_bases(storage)
        await prune(storage, RUN, Retention(bases=1))
        for do in (prune, rehearse_prune):
            with pytest.raises(NotFoundError, match="pinned"):
                await do(storage, RUN, Retention(bases=1, pins=(1,)))


@pytest.mark.parametrize("pin", [-1, 0, 99])
async def test_a_pin_of_what_never_was(pin):
    storage = MemoryStorage()
    await three_bases(storage)
    for do in (prune, rehearse_prune):
        with pytest.raises(NotFoundError, match=f"no checkpoint {pin}"):
            await do(storage, RUN, Retention(bases=1, pins=(pin,)))
    assert len(await storage.list_blobs(RUN)) == 3


async def test_an_owner_who_is_alive():
    _, storage = new_storage()
    await three_bases(storage)
    other = MemoryStorage(storage._state)
    log = await open_log(storage)
    with pytest.raises(RunOwnedError, match="a test"):
        await prune(other, RUN, Retention(bases=1))
    assert (await rehearse_prune(other, RUN, Retention(bases=1))).blobs == 2
    await log.aclose()


async def test_a_run_that_does_not_exist_is_not_made():
    storage = MemoryStorage()
    for do in (prune, rehearse_prune):
        with pytest.raises(NotFoundError):
            await do(storage, RUN, Retention())
    assert await storage.list_runs() == []


async def test_a_damaged_run_is_left_alone():
    state, storage = new_storage()
    await three_bases(storage)
    rot(state, max(state.runs[RUN].entries))
    before = contents(state)
    for do in (rehearse_prune, prune):
        with pytest.raises(CorruptionError):
            await do(storage, RUN, Retention(bases=1))
    assert contents(state)[2:] == before[2:]
