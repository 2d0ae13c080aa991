"""An agent loop of somebody else's, made durable by two calls: each model and tool call of it is a step.

Run `python examples/wrapped_loop.py`, kill it with `kill -9` at any moment, and run it again: the loop goes
on where it was, and no call that was made is made again. The file `calls.txt` stands for the other side: it
knows which calls it has had, so that one that was under way when the process died can be looked up there.
Delete the folder `state` and `calls.txt` to begin anew.

LOOP_PAUSE (seconds per call) makes it slower.
"""

import asyncio
import os
from pathlib import Path
from typing import Any

from third_party.react_loop import react

from kernelckpt import CheckpointHook, NotDone, Run, Scheduler, straight_line, tool

CALLS = Path("calls.txt")
PAUSE = float(os.environ.get("LOOP_PAUSE", "0.5"))
CITIES = ("Rome", "Oslo", "Bonn")


def do(what: str, key: str) -> None:
    """Do something that must not be done twice; here: write it down under its key."""
    with CALLS.open("a") as calls:
        calls.write(f"{key} {what}\n")
    print(what, flush=True)


def was_done(key: str) -> bool:
    """Ask the other side."""
    return CALLS.exists() and f"{key} " in CALLS.read_text()


def answer_to(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """What the model says: look at the weather everywhere, book where it is best, and tell."""
    match len(messages):
        case 1:
            looks = [{"name": "weather", "arguments": {"city": city}} for city in CITIES]
            return {"role": "assistant", "tool_calls": looks}
        case 5:
            best = max(messages[2:], key=lambda message: message["content"]["celsius"])
            return {
                "role": "assistant",
                "tool_calls": [{"name": "book", "arguments": {"city": best["content"]["city"]}}],
            }
    return {"role": "assistant", "content": f"All set: {messages[-1]['content']}."}


def known_answer(messages: list[dict[str, Any]], idempotency_key: str) -> dict[str, Any] | NotDone:
    """The answer, if the model was asked already."""
    return answer_to(messages) if was_done(idempotency_key) else NotDone()


@tool(probe=known_answer)
async def model(messages: list[dict[str, Any]], idempotency_key: str) -> dict[str, Any]:
    """Ask the model, and pay for its answer."""
    do(f"model answers {len(messages)}", idempotency_key)
    await asyncio.sleep(PAUSE)
    return answer_to(messages)


@tool(effect="idempotent")
async def weather(city: str) -> dict[str, Any]:
    """Look at the weather; may be done as often as one likes."""
    return {"city": city, "celsius": 10 + len(city) + ord(city[0]) % 7}


def booked(city: str, idempotency_key: str) -> str | NotDone:
    """The booking, if it was made already."""
    return f"a room in {city}" if was_done(idempotency_key) else NotDone()


@tool(probe=booked)
async def book(city: str, idempotency_key: str) -> str:
    """Book a room."""
    do(f"room in {city}", idempotency_key)
    await asyncio.sleep(PAUSE)
    return f"a room in {city}"


@straight_line
async def traveller(run: Run) -> str:
    """The loop as it is; only its model and its tools are wrapped."""
    tools = {each.name: run.wrap(each) for each in (weather, book)}
    return await react(run.wrap(model), tools, run.goal)


async def main() -> None:
    """Enter the kernel, submit the task unless it is there, wait for it."""
    hook = CheckpointHook("file:./state")
    async with Scheduler({"traveller": traveller}, run_id="travel", hooks=[hook]) as kernel:
        await kernel.submit("traveller", task_id="t1", goal="Book me a warm weekend.")
        print((await kernel.join("t1")).text)


if __name__ == "__main__":
    asyncio.run(main())
