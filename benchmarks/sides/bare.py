"""What the machine can do without any of it: write and sync, encode and decode, tasks that only append."""

from __future__ import annotations

import asyncio
import os
import pickle
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any, Self

import msgspec
from msgspec.structs import replace

from benchmarks.kit.text import text
from kernelckpt import Message, SchedulerBudget, TaskState, Tcb
from kernelckpt.model.kernel import KernelTotals

BARE = "bare write + fdatasync"
_encoder = msgspec.msgpack.Encoder()


class SyncedFile:
    """A file that is written and synced in a thread of its own: one executor hop per write."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1)
        self._fd = -1

    async def __aenter__(self) -> Self:
        self._fd = os.open(self._path, os.O_CREAT | os.O_WRONLY, 0o600)
        await self.write(b"warm")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown()
        os.close(self._fd)

    async def write(self, data: bytes) -> float:
        """Write and sync; how long it took, in seconds."""
        began = perf_counter()
        await asyncio.get_running_loop().run_in_executor(self._thread, self._write, data)
        return perf_counter() - began

    def _write(self, data: bytes) -> None:
        os.write(self._fd, data)
        os.fdatasync(self._fd)


async def append_rate(agents: int, turns: int) -> float:
    """Turns per second of bare tasks that build the records of a turn and keep them."""
    totals = [KernelTotals()]
    began = perf_counter()
    await asyncio.gather(*(_append(f"bare-{number}", turns, totals) for number in range(agents)))
    return agents * turns / (perf_counter() - began)


async def _append(name: str, turns: int, totals: list[KernelTotals]) -> None:
    row = Tcb.root(name, SchedulerBudget())
    history: list[bytes] = []
    for number in range(1, turns + 1):
        row = replace(row, state=TaskState.RUNNING, attempt=1)
        history.append(_encoder.encode(Message.assistant(text(number))))
        totals[0] = replace(totals[0], turn=totals[0].turn + 1)
        row = replace(row, state=TaskState.READY, attempt=0, budget=replace(row.budget, turns=number))
        await asyncio.sleep(0)


def pickle_seconds(state: Any) -> float:
    """How long the loop is held to pickle a whole state."""
    began = perf_counter()
    pickle.dumps(state)
    return perf_counter() - began


def encode_seconds(state: Sequence[Any]) -> float:
    """How long msgspec takes to encode a whole state in one call."""
    began = perf_counter()
    _encoder.encode(state)
    return perf_counter() - began


async def write_rate(path: Path, writes: int) -> float:
    """Writes of 1 KiB per second, each synced before the next."""
    async with SyncedFile(path) as file:
        began = perf_counter()
        for number in range(writes):
            await file.write(text(number).encode())
        return writes / (perf_counter() - began)


class Records:
    """The rows and messages of a run in one plain file, each behind its length."""

    def __init__(self, path: Path, rows: int, messages: int) -> None:
        self._path = path
        self._rows = rows
        self._messages = messages

    def write(self) -> None:
        """Write the file."""
        with self._path.open("wb") as file:
            for number in range(self._rows):
                row = Tcb.root(f"agent-{number}", SchedulerBudget())
                messages = [Message.user(text(number + index)) for index in range(self._messages)]
                for record in (row, *messages):
                    data = _encoder.encode(record)
                    file.write(len(data).to_bytes(4, "big") + data)

    def read(self) -> float:
        """How long it takes to read it, and to make every record of its bytes, in seconds."""
        began = perf_counter()
        data = memoryview(self._path.read_bytes())
        row: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(Tcb)
        message: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(Message)
        place, kept = 0, []
        for _ in range(self._rows):
            for decoder in (row, *[message] * self._messages):
                end = place + 4 + int.from_bytes(data[place : place + 4], "big")
                kept.append(decoder.decode(data[place + 4 : end]))
                place = end
        return perf_counter() - began
