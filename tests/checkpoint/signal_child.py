"""A small program with a hook, to be sent signals: python signal_child.py FOLDER MODE."""

import asyncio
import signal
import sys
import threading

import anyio

from kernelckpt import CheckpointHook, Scheduler


async def work(turn):
    """Turn after turn, without end, a little apart."""
    turn.say(f"turn {turn.number}")
    if turn.number == 3:
        print("working", flush=True)
    return turn.sleep(0.01)


async def main(folder: str, mode: str) -> None:
    hook = CheckpointHook(f"file:{folder}", every=None, durable=mode == "durable")
    try:
        async with Scheduler({"work": work}, run_id="run", hooks=[hook]) as kernel:
            await kernel.submit("work", task_id="w")
            if mode == "elsewhere":
                await anyio.sleep_forever()
            await kernel.join("w")
    finally:
        print("left", flush=True)


def own_handler(*_: object) -> None:
    print("the host's own handler", flush=True)


if __name__ == "__main__":
    if sys.argv[2] == "own":
        for signum in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(signum, own_handler)
    if sys.argv[2] == "thread":
        thread = threading.Thread(target=lambda: asyncio.run(main(*sys.argv[1:])), daemon=True)
        thread.start()
        thread.join()
    else:
        asyncio.run(main(*sys.argv[1:]))
