"""An agent loop as other packages have them: it asks a model, calls tools, and knows of no checkpoints."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

Model = Callable[[list[dict[str, Any]]], Awaitable[dict[str, Any]]]
Tool = Callable[..., Awaitable[Any]]


async def react(model: Model, tools: Mapping[str, Tool], goal: str, *, rounds: int = 10) -> str:
    """Ask the model until it calls no tool any more; its calls are made side by side."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": goal}]
    for _ in range(rounds):
        reply = await model(messages)
        messages.append(reply)
        calls = reply.get("tool_calls", [])
        if not calls:
            return str(reply["content"])
        results = await asyncio.gather(*(tools[call["name"]](**call["arguments"]) for call in calls))
        messages += [{"role": "tool", "content": result} for result in results]
    return "gave up"
