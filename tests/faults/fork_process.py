"""A process that owns a run and forks: python fork_process.py URL write|hold.

The child of `write` tries to write with what it inherited; that of `hold` outlives its killed parent.
"""

import asyncio
import os
import signal
import sys

from kernelckpt import CheckpointHook, Scheduler, open_storage
from kernelckpt.abc import Put
from kernelckpt.errors import KernelCkptError


def tell(text):
    os.write(1, f"{text}\n".encode())


async def clerk(turn):
    """Keep what is sent."""
    for message in turn.inbox:
        turn.append(message)
    return turn.wait_for_message()


async def attempt(what, call):
    """Say what becomes of a call that must not hang."""
    try:
        async with asyncio.timeout(20):
            tell(f"{what}: {await call}")
    except KernelCkptError as error:
        tell(f"{what}: {type(error).__name__}: {error}")


async def write(storage, hook):
    """What a child does that believes that the run is its own."""
    await attempt("append", storage.append("run", 1, 100, [b"by the child"], b""))
    await attempt("blob", storage.write_part("run", 1, "blob", 0, [b"by the child"]))
    await attempt("acquire", storage.acquire("run", "the child"))
    await attempt("read", count_entries(storage))
    hook._log.stage([Put(("row", "child", 0), b"by the child")], commit=1000, turn=1000)
    await attempt("checkpoint", hook.checkpoint())
    await attempt("close", storage.aclose())


async def outlive():
    """Be there for long, without the pipe in which the parent's end is waited for."""
    os.close(1)
    await asyncio.sleep(600)


async def count_entries(storage):
    return len(await storage.list_entries("run"))


def fork(child):
    """Fork; the child does something on an event loop of its own and ends."""
    pid = os.fork()
    if not pid:
        asyncio.run(child)
        os._exit(0)
    child.close()
    return pid


async def main(url, mode):
    storage = await open_storage(url)
    hook = CheckpointHook(storage, every=None, owner_wait=0)
    async with Scheduler({"clerk": clerk}, run_id="run", hooks=[hook]) as kernel:
        await kernel.submit("clerk", task_id="clerk")
        await kernel.send("clerk", "before")
        await kernel.idle()
        if mode == "hold":
            tell(f"child {fork(outlive())}")
            os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(fork(write(storage, hook)), 0)
        await kernel.send("clerk", "after")
        await kernel.idle()
        tell(f"history: {[message.text for message in kernel.context('clerk').history]}")
    await storage.aclose()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
