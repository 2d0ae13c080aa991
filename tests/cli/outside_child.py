"""A kernel in a process of its own: `outside_child.py URL [die]`; it tells what its tasks do, a line each.

With `die` it is killed between doing what was posted and deleting it.
"""

import asyncio
import os
import signal
import sys

from kernelckpt import CheckpointHook, Scheduler
from kernelckpt.storage import FileStorage


class Deadly(FileStorage):
    """Kills the process where a command that was done would be deleted."""

    async def delete_posted(self, run_id, message_ids):
        os.kill(os.getpid(), signal.SIGKILL)


async def clerk(turn):
    """Say what is sent, and tell all of it when told to end."""
    heard = [message.text for message in turn.inbox]
    for text in heard:
        turn.say(text)
    if "end" in heard:
        return turn.complete("; ".join([*(message.text for message in turn.context.history), *heard]))
    return turn.wait_for_message()


async def asker(turn):
    """Ask once."""
    if turn.number == 1:
        return turn.ask_approval("sure", "Are you sure?")
    (item,) = turn.approvals.values()
    return turn.complete(f"{item.status} by {item.by}")


async def main(url, *options):
    storage = (
        Deadly(url.removeprefix("file:")) if "die" in options else FileStorage(url.removeprefix("file:"))
    )
    hook = CheckpointHook(storage, inbox=0.02)
    async with (
        storage,
        Scheduler({"clerk": clerk, "asker": asker}, run_id="demo", hooks=[hook]) as kernel,
    ):
        for name in ("clerk", "asker"):
            await kernel.submit(name, task_id=name)
        await kernel.idle()
        print("ready", flush=True)
        for name in ("asker", "clerk"):
            print((await kernel.join(name)).text, flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
