"""The peer as its users run it: a LangGraph graph of one node over the SQLite saver."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter
from typing import Annotated, Any

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.channels import DeltaChannel
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import _messages_delta_reducer, add_messages
from typing_extensions import TypedDict

from benchmarks.kit.text import text

GRAPH = "LangGraph graph"
DELTA = "LangGraph graph, delta channel"


class WholeState(TypedDict):
    """Messages as a graph keeps them by default."""

    messages: Annotated[list[Any], add_messages]


class DeltaState(TypedDict):
    """Messages in its delta channel, which is in beta."""

    messages: Annotated[list[Any], DeltaChannel(_messages_delta_reducer)]


class LoopState(TypedDict):
    """How often the node has run, and something to save each time."""

    steps: int
    payload: str


async def _answer(state: Any) -> dict[str, Any]:
    number = len(state["messages"])
    return {"messages": [AIMessage(text(number), id=f"a{number}")]}


def conversation(saver: Any, *, delta: bool = False) -> Any:
    """A graph that answers each message with one of 1 KiB."""
    graph: Any = StateGraph(DeltaState if delta else WholeState)
    graph.add_node("answer", _answer)
    graph.add_edge(START, "answer")
    graph.add_edge("answer", END)
    return graph.compile(checkpointer=saver)


async def say(graph: Any, thread_id: str, number: int, count: int = 1) -> None:
    """One turn: so many messages of 1 KiB in, one out; durable on return."""
    messages = [HumanMessage(text(number + index), id=f"h{number + index}") for index in range(count)]
    config = {"configurable": {"thread_id": thread_id}}
    await graph.ainvoke({"messages": messages}, config, durability="sync")


async def turn_rate(graph: Any, threads: int, messages: int) -> float:
    """Turns per second of many threads at once, each on a state of so many messages of 1 KiB."""
    names = [f"g{number}" for number in range(threads)]
    await asyncio.gather(*(say(graph, name, 0, messages - 1) for name in names))
    began = perf_counter()
    await asyncio.gather(*(say(graph, name, messages) for name in names))
    return threads / (perf_counter() - began)


def loop(saver: Any, steps: int, watch: Callable[[], None], payload: int) -> Any:
    """A graph whose node runs so many times in one call, with a payload of so many bytes.

    Args:
        saver: where its checkpoints go.
        steps: how many times.
        watch: called each time.
        payload: bytes of the state that change each time.
    """

    async def again(state: Any) -> dict[str, Any]:
        watch()
        number = state["steps"]
        return {"steps": number + 1, "payload": "0" * payload + str(number)}

    graph: Any = StateGraph(LoopState)
    graph.add_node("again", again)
    graph.add_edge(START, "again")
    graph.add_conditional_edges("again", lambda state: END if state["steps"] >= steps else "again")
    return graph.compile(checkpointer=saver)


def pending_saves() -> int:
    """How many checkpoints of graphs are waiting to be saved."""
    return sum("put_after_previous" in _name(task) for task in asyncio.all_tasks())


def _name(task: asyncio.Task[Any]) -> str:
    return str(getattr(task.get_coro(), "__qualname__", ""))
