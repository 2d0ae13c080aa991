"""A process that owns a run and tells what was acknowledged, to be traced: python traced_process.py URL.

It has two lives, each with sends, checkpoints, a base and a pruning. Nothing depends on time, so that it
makes the same calls whenever it is run.
"""

import asyncio
import os
import sys

from kernelckpt import CheckpointHook, LogOptions, Retention, Scheduler, open_storage
from kernelckpt.testing import ManualClock

LIVES = (range(4), range(4, 8))
"""The numbers that each life sends."""
_EAGER = LogOptions(base_min_bytes=0, base_factor=0.0, slice_seconds=60.0)


async def clerk(turn):
    """Keep what is sent, one turn each."""
    for message in turn.inbox:
        turn.append(message)
    return turn.wait_for_message()


def kernel_on(storage, clock, **settings):
    """A kernel that writes when it must, and a base whenever time passes."""
    hook = CheckpointHook(
        storage, every=None, owner_wait=0, inbox=None, log=_EAGER, retention=Retention(bases=1), **settings
    )
    return Scheduler({"clerk": clerk}, run_id="run", hooks=[hook], clock=clock), hook


async def live(storage, numbers, tell, **settings):
    """One life on an open storage; tells each number once its sending is acknowledged."""
    clock = ManualClock()
    kernel, hook = kernel_on(storage, clock, **settings)
    async with kernel:
        await kernel.submit("clerk", task_id="clerk")
        for number in numbers:
            await kernel.send("clerk", str(number), key=str(number))
            tell(number)
            await kernel.idle()
            await hook.checkpoint()
            if number % 4 == 1:
                await _upkeep(clock)
        return hook.stats


async def _upkeep(clock):
    """Let a second pass, and what is done then be done."""
    asleep = clock.sleepers
    await clock.advance(1.0)
    while clock.sleepers < asleep:
        await asyncio.sleep(0.001)


async def main(url):
    for numbers in LIVES:
        async with open_storage(url) as storage:
            await live(storage, numbers, lambda number: os.write(1, b"acknowledged %d\n" % number))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
