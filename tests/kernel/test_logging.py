"""A log that cannot be written: the kernel does about a trouble what it does without one."""

import logging

import pytest
from kernel_kit import Failing, kernel_of, listen, once, settle

from kernelckpt import Program, Retry
from kernelckpt.errors import SchedulerStopped
from kernelckpt.testing import ManualClock


@pytest.fixture(autouse=True)
def full_disk():
    """Whatever is logged raises in the filter of an application."""

    def refuse(record):
        asked.append(record.getMessage())
        raise OSError("no space left on the device")

    asked = []
    logger = logging.getLogger("kernelckpt")
    logger.addFilter(refuse)
    yield asked
    logger.removeFilter(refuse)
    assert asked, "nothing was logged"


async def raising(turn):
    raise ValueError("no")


async def test_a_kernel_halts_all_the_same():
    failing = Failing()
    with pytest.raises(RuntimeError, match="the disk is gone"):
        async with kernel_of({"listen": listen}, hooks=[failing]) as kernel:
            await kernel.submit("listen", task_id="l")
            failing.points.add("on_commit")
            with pytest.raises(SchedulerStopped):
                await kernel.send("l", "hello")
            await settle()
            with pytest.raises(SchedulerStopped, match="halted"):
                await kernel.submit("listen", task_id="m")


async def test_a_program_that_raised_is_run_again_and_ends_its_task_alone():
    clock = ManualClock()
    again = Program(raising, retry=Retry(attempts=2, first=2.0))
    async with kernel_of({"again": again, "once": once}, clock=clock) as kernel:
        await kernel.submit("again", task_id="a")
        await clock.advance(2)
        assert (await kernel.join("a")).error.startswith("ValueError: no")
        await kernel.submit("once", task_id="o")
        assert (await kernel.join("o")).ok
