"""What saving costs: the bytes of a change, and a folder that stays bounded."""

import asyncio
import os
from contextlib import suppress
from pathlib import Path

import pytest
from hook_kit import listen, make, settled

from kernelckpt import FileStorage, MemoryStorage, Retention, SchedulerBudget, load
from kernelckpt.errors import NotFoundError
from kernelckpt.log import list_checkpoints
from kernelckpt.testing import ManualClock


def bytes_below(folder: Path):
    """What is in a folder that is being written."""
    size = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                size += os.stat(os.path.join(parent, name)).st_size
    return size


def rewriting(rounds, size):
    """A program that replaces its whole state each turn."""

    async def rewrite(turn):
        turn.set_state(os.urandom(size))
        return turn.complete("done") if turn.number == rounds else None

    return rewrite


async def test_by_default_a_folder_stays_bounded_however_often_a_state_is_rewritten(tmp_path):
    clock, rounds, size, peak = ManualClock(), 700, 100_000, 0

    async def ticking(turn):
        nonlocal peak
        peak = max(peak, await asyncio.to_thread(bytes_below, tmp_path))
        await clock.advance(1)
        return await rewriting(rounds, size)(turn)

    budget = SchedulerBudget(max_turns=rounds + 1)
    async with FileStorage(tmp_path / "state") as storage:
        kernel, hook = make(storage, {"rewrite": ticking}, clock=clock, max_ahead=0)
        async with kernel:
            await kernel.submit("rewrite", task_id="r", budget=budget)
            assert (await kernel.join("r")).ok
        assert hook.stats.bytes_written > 60_000_000
        assert hook.stats.pruned_bytes > hook.stats.bytes_written / 2
        assert peak < 25_000_000, "70 MB were written; two 8 MiB segments and what is open may stay"
        assert (await load(storage, "run")).turn == rounds


async def test_everything_can_be_kept():
    storage, clock = MemoryStorage(), ManualClock()

    async def ticking(turn):
        await clock.advance(1)
        return await rewriting(40, 100_000)(turn)

    budget = SchedulerBudget(max_turns=50)
    kernel, hook = make(storage, {"rewrite": ticking}, clock=clock, retention=Retention(keep_all=True))
    async with kernel:
        await kernel.submit("rewrite", task_id="r", budget=budget)
        await kernel.join("r")
    assert hook.stats.bases > 0
    assert hook.stats.pruned_bytes == 0
    assert (await load(storage, "run", 2)).turn <= 2


async def test_a_pinned_checkpoint_stays_restorable_and_an_old_one_does_not():
    storage, clock = MemoryStorage(), ManualClock()
    kernel, hook = make(storage, {"rewrite": rewriting(10, 1000)}, clock=clock)
    async with kernel:
        await kernel.submit("rewrite", task_id="r")
        await kernel.join("r")
        pin = (await hook.checkpoint()).sequence

    async def ticking(turn):
        await clock.advance(1)
        return await rewriting(80, 100_000)(turn)

    budget = SchedulerBudget(max_turns=100)
    retention = Retention(bases=1, pins=(pin,))
    kernel, hook = make(storage, {"rewrite": ticking}, clock=clock, retention=retention)
    async with kernel:
        await kernel.submit("rewrite", task_id="again", budget=budget)
        await kernel.join("again")
        assert hook.stats.pruned_bytes > 0
    assert (await load(storage, "run", pin)).turn == 10
    left = {info.sequence for info in await list_checkpoints(storage, "run")}
    gone = [number for number in range(1, max(left)) if number not in left]
    assert gone
    for number in gone:
        with pytest.raises(NotFoundError, match=r"pin|no checkpoint"):
            await load(storage, "run", number)


async def change_of_one_row(rows):
    """The checkpoint of one turn of one task in a table of so many."""
    kernel, hook = make(MemoryStorage(), {"listen": listen}, durable=False, waits=False)
    async with kernel:
        for number in range(rows):
            await kernel.submit("listen", task_id=f"task-{number:06}")
        await settled()
        await hook.checkpoint()
        await kernel.send("task-000007", "hello")
        await settled()
        info = await hook.checkpoint()
        assert kernel.context("task-000007").history[-1].text == "hello"
        return info


async def test_a_changed_row_costs_its_own_bytes_in_a_table_of_100_and_of_100_000():
    small = await change_of_one_row(100)
    large = await change_of_one_row(100_000)
    assert small.changes == large.changes <= 6
    assert abs(large.size - small.size) <= 24, "numbers of some more digits"
    assert large.size < 1200


async def test_listing_shows_what_each_checkpoint_was():
    storage = MemoryStorage()
    kernel, hook = make(storage, {"listen": listen}, durable=False, waits=False)
    async with kernel:
        await kernel.submit("listen", task_id="l")
        asked = await hook.checkpoint()
        await kernel.submit("listen", task_id="after")
    listed = await list_checkpoints(storage, "run")
    assert [(info.sequence, info.trigger) for info in listed] == [(1, "request"), (2, "stop")]
    assert (listed[0].size, listed[0].turn, listed[0].epoch) == (asked.size, asked.turn, asked.epoch)
