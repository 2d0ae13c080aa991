"""Faults of the original's rollback and of its life after a restore, each shown not to be repeated."""

import pytest
from original_kit import Memory, kernel_of, listen, once, signal_of, wait

from kernelckpt import Urgency
from kernelckpt.errors import UsageError


async def test_g4_a_finished_task_takes_no_events_live_or_restored():
    memory = Memory()
    for _ in range(2):
        async with kernel_of(memory.storage, {"once": once}) as kernel:
            await kernel.submit("once", task_id="root")
            before = await kernel.join("root")
            row = kernel.tasks.get("root")
            for refused in (
                kernel.send("root", "hello"),
                kernel.resume("root"),
                kernel.approve("root", "key"),
                kernel.signal(signal_of("now", Urgency.CRITICAL), "root"),
            ):
                with pytest.raises(UsageError):
                    await refused
            await kernel.idle()
            assert kernel.tasks.get("root") == row
            assert await kernel.join("root") == before


async def test_g7_a_restore_says_what_it_found_made_anew_and_cleared():
    memory, programs = Memory(), {"listen": listen, "wait": wait}
    async with kernel_of(memory.storage, programs) as kernel:
        await kernel.submit("listen", task_id="l")
        await kernel.submit("wait", task_id="w")
        await kernel.send("l", "hello")
        await kernel.idle()
        assert kernel.restored is None
    async with kernel_of(memory.storage, programs) as kernel:
        report = kernel.restored
    assert (report.run_id, report.tasks, report.live, report.turn) == ("run", 2, 2, 3)
    assert report.restored["task"] == 2
    assert report.restored["history"] == 1
    assert report.recreated
    assert report.cleared == ("signal deduplication",)
    assert (report.interrupted, report.woken, report.in_doubt, report.notes) == ((), (), (), ())
