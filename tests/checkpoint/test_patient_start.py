"""A start beside which others run: slices of time, and the collector of garbage held back."""

import asyncio
import gc

import pytest
from hook_kit import listen, make

from kernelckpt import MemoryStorage
from kernelckpt.checkpoint import collector, host_restore
from kernelckpt.errors import RestoreError
from kernelckpt.log import state_reader

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


@pytest.fixture
def freezing(monkeypatch):
    """Any restore is a large one."""
    monkeypatch.setattr(collector, "FREEZE_FROM", 1)
    monkeypatch.setattr("kernelckpt.checkpoint.hook.FREEZE_FROM", 1)


async def test_others_run_while_a_run_is_restored(monkeypatch):
    storage = await saved()
    for module in (host_restore, state_reader):
        monkeypatch.setattr(module, "READ_SECONDS", 0.0)
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
    """Notes whether the collector may begin by itself, whenever the storage is asked for something."""

    def __init__(self, storage):
        self._storage = storage
        self.enabled = []

    def __getattr__(self, name):
        self.enabled.append(gc.isenabled())
        return getattr(self._storage, name)


@pytest.mark.parametrize("was_enabled", [True, False])
@pytest.mark.parametrize("programs", [{"listen": listen}, {}], ids=["sound", "lacking"])
async def test_no_collection_begins_during_a_restore_and_the_setting_comes_back(was_enabled, programs):
    storage = Collections(await saved(1))
    assert gc.isenabled()
    if not was_enabled:
        gc.disable()
    try:
        kernel, _ = make(storage, programs)
        if programs:
            async with kernel:
                assert gc.isenabled() is was_enabled
        else:
            with pytest.raises(RestoreError):
                await kernel.__aenter__()
        assert gc.isenabled() is was_enabled
        assert storage.enabled[0] is False
    finally:
        gc.enable()


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
