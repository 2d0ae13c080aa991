"""A start beside which others run: slices of time, and the collector of garbage held back."""

import asyncio
import gc

import pytest
from hook_kit import listen, make, pass_time, settled

from kernelckpt import LogOptions, MemoryStorage, Message
from kernelckpt.checkpoint import collector, host_restore
from kernelckpt.errors import RestoreError
from kernelckpt.log import state_reader
from kernelckpt.testing import ManualClock

ROWS = 50


async def saved(rows=ROWS):
    """A run with so many tasks that listen."""
    storage = MemoryStorage()
    kernel, _ = make(storage, {"listen": listen})
    async with kernel:
        for number in range(rows):
            await kernel.submit("listen", task_id=f"l{number}")
        await kernel.idle()
    return storage


async def saved_with_base():
    """A run with a context in its base."""
    storage, clock = MemoryStorage(), ManualClock()
    kernel, hook = make(
        storage, {"listen": listen}, clock=clock, log=LogOptions(base_min_bytes=1, base_factor=0)
    )
    async with kernel:
        await kernel.submit("listen", task_id="l", messages=[Message.user("hello")])
        await kernel.idle()
        await pass_time(clock, 2)
        assert hook.stats.bases
    return storage


@pytest.fixture
def freezing(monkeypatch):
    """Any restore is a large one."""
    monkeypatch.setattr(collector, "FREEZE_FROM", 1)
    monkeypatch.setattr("kernelckpt.checkpoint.hook.FREEZE_FROM", 1)


async def test_others_run_while_a_run_is_restored(monkeypatch):
    storage = await saved()
    for module in (host_restore, state_reader):
        monkeypatch.setattr(module, "READ_SECONDS", 0.0)
    monkeypatch.setattr(host_restore, "STEPS", 1)
    beats = 0

    async def beat():
        nonlocal beats
        while True:
            beats += 1
            await asyncio.sleep(0)

    beating = asyncio.create_task(beat())
    kernel, _ = make(storage, {"listen": listen})
    async with kernel:
        beating.cancel()
        assert beats > 4 * ROWS, "reading, decoding, rehearsing and mending give way each"
        assert len(kernel.tasks) == ROWS


class Collections:
    """Notes when full collections begin by themselves, whenever the storage is asked for something."""

    def __init__(self, storage):
        self._storage = storage
        self.thresholds = []

    def __getattr__(self, name):
        self.thresholds.append(gc.get_threshold())
        return getattr(self._storage, name)


@pytest.mark.parametrize("programs", [{"listen": listen}, {}], ids=["sound", "lacking"])
async def test_no_full_collection_begins_during_a_restore_and_the_setting_comes_back(programs):
    storage = Collections(await saved(1))
    before = gc.get_threshold()
    gc.set_threshold(701, 11, 12)
    try:
        kernel, _ = make(storage, programs)
        if programs:
            async with kernel:
                assert gc.get_threshold() == (701, 11, 12)
        else:
            with pytest.raises(RestoreError):
                await kernel.__aenter__()
        assert gc.get_threshold() == (701, 11, 12)
        assert storage.thresholds[0][:2] == (701, 11), "what is young is collected all the while"
        assert storage.thresholds[0][2] > 1_000_000
    finally:
        gc.set_threshold(*before)


async def test_none_begins_until_all_contexts_are_read_or_the_kernel_stops():
    before, storage = gc.get_threshold(), await saved_with_base()
    one, _ = make(storage, {"listen": listen}, eager_bytes=0)
    async with one:
        assert gc.get_threshold() != before
        await one.load_contexts()
        await settled()
        assert gc.get_threshold() == before
    other, _ = make(storage, {"listen": listen}, eager_bytes=0)
    async with other:
        assert gc.get_threshold() != before
    assert gc.get_threshold() == before


@pytest.mark.usefixtures("freezing")
async def test_what_a_large_restore_made_is_set_apart_until_the_last_kernel_stops():
    one, _ = make(await saved(1), {"listen": listen})
    other, _ = make(await saved(1), {"listen": listen})
    async with one:
        assert gc.get_freeze_count() > 0
        async with other:
            pass
        assert gc.get_freeze_count() > 0
    assert gc.get_freeze_count() == 0


@pytest.mark.usefixtures("freezing")
async def test_what_a_program_has_set_apart_itself_stays_so():
    storage = await saved(1)
    gc.freeze()
    try:
        kernel, _ = make(storage, {"listen": listen})
        async with kernel:
            pass
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()


async def test_a_small_restore_sets_nothing_apart():
    kernel, _ = make(await saved(1), {"listen": listen})
    async with kernel:
        assert gc.get_freeze_count() == 0
