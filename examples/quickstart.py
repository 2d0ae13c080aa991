"""An agent that counts, and goes on counting after the process was killed.

Run `python examples/quickstart.py`, stop it with Ctrl-C or `kill -9` before it has finished, and run it
again: it goes on with the turn after the last one that was committed. (A turn that was interrupted is run
again, so its line may be printed twice.) A finished run prints its result again. Delete the folder `state`
to begin anew.

COUNT_TO and COUNT_PAUSE (seconds per turn) make it longer or quicker.
"""

import asyncio
import os
import sys

from kernelckpt import CheckpointHook, Scheduler, Turn

COUNT_TO = int(os.environ.get("COUNT_TO", "5"))
PAUSE = float(os.environ.get("COUNT_PAUSE", "1"))


async def count(turn: Turn) -> None:
    """One turn: what it stages is committed when it returns, whole or not at all."""
    await asyncio.sleep(PAUSE)  # a model would be called here
    turn.say(f"turn {turn.number}")
    turn.spend(tokens=10)
    print(f"turn {turn.number}", flush=True)
    if turn.number >= COUNT_TO:
        turn.complete("counted")


async def main() -> None:
    """Enter the kernel, submit the task unless it is there, wait for it."""
    hook = CheckpointHook("file:./state", every=1.0)
    async with Scheduler({"count": count}, run_id="demo", hooks=[hook]) as kernel:
        if kernel.restored:
            print(f"restored at kernel turn {kernel.restored.turn}", flush=True)
        await kernel.submit("count", task_id="c1", goal=f"count to {COUNT_TO}")
        result = await kernel.join("c1")
    print(f"{result.text}: {result.turns_used} turns, {result.total_tokens_used} tokens")


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        sys.exit("stopped; run it again to go on")
