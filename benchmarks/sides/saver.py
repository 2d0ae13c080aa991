"""The peer's saver alone: LangGraph's `AsyncSqliteSaver`, given a whole state for each checkpoint."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

from langchain_core.messages import HumanMessage
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from psycopg import AsyncConnection

from benchmarks.kit.heartbeat import Heartbeat
from benchmarks.kit.peak import Peak, settled_bytes
from benchmarks.kit.process import memory_bytes, peak_bytes
from benchmarks.kit.stall import Stall
from benchmarks.kit.text import distinct_text, text

PEER = "LangGraph saver"
POSTGRES_PEER = "LangGraph saver, PostgreSQL"


@asynccontextmanager
async def open_saver(folder: Path) -> AsyncIterator[Any]:
    """A saver as its documentation makes one; it syncs each commit."""
    async with AsyncSqliteSaver.from_conn_string(str(folder / "checkpoints.db")) as saver:
        await saver.setup()
        yield saver


@asynccontextmanager
async def open_postgres_saver(url: str) -> AsyncIterator[Any]:
    """The same on PostgreSQL, as its documentation makes one; its tables are emptied."""
    async with AsyncPostgresSaver.from_conn_string(url) as saver:
        await saver.setup()
        async with await AsyncConnection.connect(url, autocommit=True) as connection:
            await connection.execute("TRUNCATE checkpoints, checkpoint_blobs, checkpoint_writes")
        yield saver


def dict_messages(count: int, first: int = 0) -> list[Any]:
    """Messages of 1 KiB as plain dicts."""
    return [{"role": "user", "content": text(number)} for number in range(first, first + count)]


def langchain_messages(count: int, first: int = 0) -> list[Any]:
    """Messages of 1 KiB as its graphs keep them."""
    return [HumanMessage(text(number), id=f"m{number}") for number in range(first, first + count)]


class Thread:
    """One thread of a saver, whose checkpoints follow each other."""

    def __init__(self, saver: Any, thread_id: str) -> None:
        self._saver = saver
        self._thread: dict[str, Any] = {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}
        self._config = self._thread
        self._versions: dict[str, Any] = {"messages": None}

    async def put(self, messages: list[Any]) -> None:
        """Save a state; durable on return. On PostgreSQL only channels with a new version are saved."""
        new = {"messages": self._saver.get_next_version(self._versions["messages"], None)}
        state = {"channel_values": {"messages": messages}, "channel_versions": new}
        checkpoint = {**empty_checkpoint(), **state}
        self._config = await self._saver.aput(self._config, checkpoint, {"source": "loop", "step": 1}, new)
        self._versions = new

    async def get(self) -> Any:
        """Load the newest state."""
        return await self._saver.aget_tuple(self._config)

    async def list(self, limit: int | None = None) -> int:
        """How many checkpoints it lists."""
        return len([item async for item in self._saver.alist(self._thread, limit=limit)])


async def step_rate(saver: Any, threads: int, steps: int, messages: int) -> float:
    """Checkpoints per second of many threads at once.

    Args:
        saver: where to.
        threads: how many, all waiting for their checkpoints at the same time.
        steps: how many each.
        messages: of 1 KiB, in the state of each.
    """
    state = dict_messages(messages)
    began = perf_counter()
    await asyncio.gather(*(_steps(Thread(saver, f"t{number}"), steps, state) for number in range(threads)))
    return threads * steps / (perf_counter() - began)


async def _steps(thread: Thread, steps: int, state: list[Any]) -> None:
    for _ in range(steps):
        await thread.put(state)


async def put_peak(mebibytes: Any) -> Peak:
    """Memory while a state of this size is put; called in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        async with open_saver(Path(folder)) as saver:
            thread = Thread(saver, "t")
            await thread.put(dict_messages(1))
            empty = memory_bytes()
            numbers = range(mebibytes * 1024)
            messages = [{"role": "user", "content": distinct_text(number)} for number in numbers]
            state = settled_bytes()
            await thread.put(messages)
            return Peak(state - empty, peak_bytes() - state)


async def put_dicts(rows: Any) -> Stall:
    """The peer saves so many messages, as dicts."""
    return await _stall(dict_messages(rows))


async def put_objects(rows: Any) -> Stall:
    """The peer saves so many messages of its own kind."""
    return await _stall(langchain_messages(rows))


async def put_to_postgres(work: Any) -> Stall:
    """Of [url, rows]: the peer saves so many messages, as dicts, on a server."""
    url, rows = work
    async with open_postgres_saver(url) as saver:
        return await _stall_of(saver, dict_messages(rows))


async def _stall(messages: list[Any]) -> Stall:
    with tempfile.TemporaryDirectory() as folder:
        async with open_saver(Path(folder)) as saver:
            return await _stall_of(saver, messages)


async def _stall_of(saver: Any, messages: list[Any]) -> Stall:
    async with Heartbeat() as heart:
        thread = Thread(saver, "t")
        await thread.put(messages[:1])
        await heart.settle()
        began = perf_counter()
        await thread.put(messages)
        gap = heart.take()
        idle = await heart.idle(perf_counter() - began)
    return Stall(gap * 1e3, idle * 1e3)
