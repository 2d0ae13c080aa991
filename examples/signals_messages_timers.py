"""An agent that waits: for a message, for a signal, for a time - none of which a restart forgets.

    python examples/signals_messages_timers.py           go on as far as possible; say what it waits for
    python examples/signals_messages_timers.py message   send it a message first
    python examples/signals_messages_timers.py signal    send it a signal first

Each run ends as soon as only the outside can wake the agent; the next one restores what it waits for. The
last wait is a timer of ALARM_SECONDS; kill the process in it, and the next run waits for what is left of
it, or not at all when its time has passed meanwhile. Delete the folder `state` to begin anew.
"""

import asyncio
import os
import sys

from kernelckpt import (
    CheckpointHook,
    Message,
    Next,
    RuntimeSignal,
    Scheduler,
    SignalSource,
    SignalType,
    Turn,
    Urgency,
)

ALARM_SECONDS = float(os.environ.get("ALARM_SECONDS", "3"))


async def porter(turn: Turn) -> Next | None:
    """A turn per stage; the stage is the state. What a turn has read of its inbox is gone with its commit."""
    if turn.state is None:
        turn.set_state("message")
        return turn.wait_for_message()
    if turn.state == "message":
        turn.say(f"heard: {'; '.join(message.text for message in turn.inbox)}")
        turn.set_state("signal")
        return turn.wait_for_signal()
    if turn.state == "signal":
        turn.say(f"signal: {'; '.join(signal.summary for signal in turn.signals)}")
        turn.set_state("timer")
        print(f"sleeps for {ALARM_SECONDS:g} s", flush=True)
        return turn.sleep(ALARM_SECONDS)
    return turn.complete(" | ".join(message.text for message in turn.messages))


async def main(news: str) -> None:
    """Bring the news, if there is any, and show where the agent stands."""
    hook = CheckpointHook("file:./state")
    async with Scheduler({"porter": porter}, run_id="lodge", hooks=[hook]) as kernel:
        await kernel.submit("porter", task_id="p1", goal="wait for what comes")
        if news == "message":  # the key makes it count once, however often it is sent
            await kernel.send("p1", Message.user("a guest has arrived"), key="guest-1")
        elif news == "signal":
            bell = RuntimeSignal(SignalSource.GATEWAY, SignalType.ALERT, Urgency.HIGH, "the bell rings")
            print(f"routed: {(await kernel.signal(bell, 'p1')).value}")
        await kernel.idle()
        for row in kernel.tasks.live():
            print(f"{row.id} waits for a {row.wait.note or row.wait.label() if row.wait else 'turn'}")
        if not kernel.tasks.live():
            print((await kernel.join("p1")).text)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else ""))
