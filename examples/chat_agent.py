"""An agent that talks to a model: streaming, three tools, one of them allowed by a human, and two sub-agents.

    python examples/chat_agent.py            go on as far as possible; say what it asks
    python examples/chat_agent.py approve    allow what it asks
    python examples/chat_agent.py deny       do not

Kill it at any time, as often as you like, and run it again. A model call whose answer was recorded is never
made again, and is charged once; one that was cut off is made again, and what was shown of it is taken back.
A hotel is booked once. Delete the folder `state` to begin anew.

Any server that speaks OpenAI's chat completions will do: OPENAI_BASE_URL, OPENAI_API_KEY and OPENAI_MODEL
name it. The HTTP client is httpx; kernelckpt needs none.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx

from kernelckpt import (
    CheckpointHook,
    GovernancePolicy,
    KernelEvent,
    Message,
    Next,
    PermissionAction,
    PermissionRule,
    ProviderFailure,
    Scheduler,
    SchedulerBudget,
    Tool,
    Turn,
    tool,
)
from kernelckpt.adapters import ModelReply, Prices, TextDelta, openai
from kernelckpt.errors import EffectError

BASE_URL = os.environ.get("OPENAI_BASE_URL", "http://localhost:11434/v1")
MODEL = os.environ.get("OPENAI_MODEL", "llama3.2")
PRICES = Prices(input=2_500_000, output=10_000_000, cached=1_250_000)  # millionths for a million tokens
GOAL = "A weekend in Bern for two: what will the weather be, and which hotel? Book it."
ROLES = {
    "planner": "You plan trips. Use what the scouts report, and book one hotel with the tool.",
    "weather": "You are a scout for the weather. Use the tool, and report in one sentence.",
    "hotels": "You are a scout for hotels. Use the tool, and report in one sentence.",
}
POLICY = GovernancePolicy(rules=(PermissionRule("book", PermissionAction.ASK_USER),))


@tool(effect="idempotent")
def forecast(city: str) -> str:
    """The weather at the weekend."""
    return f"{city}: sun on Saturday, rain on Sunday"


@tool(effect="idempotent")
def rooms(city: str) -> dict[str, int]:
    """Free rooms for two, with their prices."""
    return {f"Hotel {city}": 180, "Zum Goldenen Adler": 150}


@tool
def book(hotel: str, nights: int) -> str:
    """Book a room. Nobody may do that twice, or without being allowed to."""
    with Path("booked.txt").open("a") as bookings:
        bookings.write(f"{hotel}, {nights}\n")
    return f"{nights} nights at {hotel} are booked"


TOOLS = {"planner": [book], "weather": [forecast], "hotels": [rooms]}


def model_call(turn: Turn) -> Tool:
    """The model as a tool: its answer is recorded and charged in one commit, so a rerun pays nothing."""

    async def ask_model(request: dict[str, Any]) -> ModelReply:
        stream = openai.Stream()
        async for chunk in chunks_of(turn.deps, request):
            for delta in stream.add(chunk):
                turn.emit(delta)
        return stream.reply()

    return tool(effect="idempotent", charge=PRICES.charge)(ask_model)


async def chunks_of(client: httpx.AsyncClient, request: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """What the server streams."""
    body = {"model": MODEL, "stream": True, "stream_options": {"include_usage": True}, **request}
    async with client.stream("POST", "chat/completions", json=body) as response:
        response.raise_for_status()
        async for line in response.aiter_lines():
            data = line.removeprefix("data:").strip()
            if line.startswith("data:") and data != "[DONE]":
                yield json.loads(data)


async def chat(turn: Turn) -> Next | None:
    """One turn of a conversation: ask the model, then do what it says."""
    role = turn.input
    said = [Message.system(ROLES[role]), Message.user(turn.goal), *turn.messages]
    try:
        reply: ModelReply = await turn.effect(model_call(turn), openai.to_request(said, TOOLS[role]))
    except EffectError as error:  # tried again, after a pause if it goes on
        return turn.rollback(ProviderFailure(error.error))
    return reply.end(turn)


async def planner(turn: Turn) -> Next | None:
    """Send out two scouts, wait for what they report, then talk to the model."""
    if turn.number == 1:
        return turn.join(*(turn.spawn("chat", goal=turn.goal, input=role) for role in ("weather", "hotels")))
    if turn.results:
        reports = "\n".join(result.text or result.error for result in turn.results.values())
        turn.append(Message.user(f"The scouts report:\n{reports}"))
        return None
    return await chat(turn)


def show(event: KernelEvent) -> None:
    """Print drafts as they come, and take back those whose turn was lost."""
    delta = event.data.get("delta")
    if isinstance(delta, TextDelta):
        print(f"{event.task_id}> {delta.text}", flush=True)
    elif event.kind == "discarded":
        print(f"{event.task_id}> (taken back)", flush=True)


async def follow(kernel: Scheduler) -> None:
    """Show what happens until the kernel stops."""
    async for event in kernel.events():
        show(event)


async def answer_questions(kernel: Scheduler, answer: str) -> None:
    """Go on as far as possible; answer what is asked if this run is to."""
    await kernel.idle()
    for question in kernel.approvals():
        print(f"asked: {question.prompt}")
        if answer == "approve":
            await kernel.approve(question.task_id, question.key, by="the traveller")
        elif answer == "deny":
            await kernel.deny(question.task_id, question.key, reason="the traveller said no")
    await kernel.idle()


async def main(answer: str) -> None:
    """Plan the trip, however often this is interrupted."""
    key = os.environ.get("OPENAI_API_KEY", "none")
    async with httpx.AsyncClient(base_url=BASE_URL, headers={"Authorization": f"Bearer {key}"}) as client:
        kernel = Scheduler(
            {"planner": planner, "chat": chat},
            run_id="trip",
            hooks=[CheckpointHook("file:./state")],
            tools=[forecast, rooms, book],
            deps=client,
            governance=POLICY,
            budget=SchedulerBudget(max_turns=30),
        )
        shown = asyncio.create_task(follow(kernel))
        await asyncio.sleep(0)  # it listens before anything is restored
        async with kernel:
            await kernel.submit("planner", task_id="trip", goal=GOAL, input="planner")
            await answer_questions(kernel, answer)
            if not kernel.tasks.live():
                result = await kernel.join("trip")
                print(f"trip: {result.text or result.error}")
            budgets = [row.budget for row in kernel.tasks.all()]
        await shown
    tokens, cost = sum(b.total_tokens for b in budgets), sum(b.cost_micros for b in budgets)
    print(f"{tokens} tokens, {cost} micros")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else ""))
