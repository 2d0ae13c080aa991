"""A process that owns a run, or tries to: python owner_process.py URL OWNER_WAIT TAKEOVER.

It sends its task what it reads, and says what was acknowledged and what its tool did.
"""

import asyncio
import os
import sys

from kernelckpt import CheckpointHook, Scheduler
from kernelckpt.errors import EffectDenied, SchedulerStopped


def tell(text):
    os.write(1, f"{text}\n".encode())


async def file_it(text: str) -> None:
    """The tool: its line in the parent's pipe is the deed."""
    tell(f"filed {text}")


async def clerk(turn):
    """File what is sent, one turn each."""
    for message in turn.inbox:
        turn.append(message)
        try:
            await turn.effect(file_it, message.text)
        except EffectDenied:
            turn.say(f"{message.text} was filed before")
    return turn.wait_for_message()


async def obey(kernel, reader):
    while line := (await reader.readline()).decode().strip():
        try:
            if line == "idle?":
                await kernel.idle()
            else:
                await kernel.send("clerk", line, key=line)
            tell(f"acknowledged {line}")
        except SchedulerStopped as error:
            tell(f"refused {line}: {type(error.__cause__).__name__}")


async def main(url, owner_wait, takeover):
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    hook = CheckpointHook(url, every=0.1, owner_wait=float(owner_wait), takeover=takeover == "takeover")
    async with Scheduler({"clerk": clerk}, run_id="run", hooks=[hook]) as kernel:
        await kernel.submit("clerk", task_id="clerk")
        history = [message.text for message in kernel.context("clerk").history]
        tell(f"started {os.getpid()} {history}")
        await obey(kernel, reader)
        await kernel.idle()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
