"""Where the time of a checkpoint hook goes: by part, of a turn of 1,000 agents, beside a kernel without one.

python -m benchmarks.profile_hook

Microseconds of a turn, the least of some rounds: of threads by their processor's time, of parts by the
clock, so that the machine should have nothing else to do. Each part is timed in rounds of its own and slows
no other. What is left over is no work of the hook: the kernel is slower where what it has made is kept until
it is written.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager
from functools import partial
from time import perf_counter, process_time, thread_time
from types import coroutine
from typing import Any
from unittest.mock import patch

from benchmarks.kit.text import TEXT_BYTES
from benchmarks.throughput import ours
from kernelckpt import CheckpointHook
from kernelckpt.codec.frame import DIGEST_BYTES
from kernelckpt.log.bases import Bases
from kernelckpt.log.entry_writer import EntryWriter

AGENTS, TURNS, ROUNDS = 1000, 60, 5
CALLS: dict[str, tuple[type, str]] = {
    "taking commits in": (CheckpointHook, "on_commit"),
    "acknowledging": (EntryWriter, "_acknowledge"),
}
AWAITED: dict[str, tuple[type, str]] = {
    "asking before each turn": (CheckpointHook, "ready"),
    "encoding entries": (EntryWriter, "_encoded"),
    "bases": (Bases, "write"),
}


class _Watch:
    """Adds up the time of what is timed."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._began = 0.0

    def called(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Call a function."""
        self._began = perf_counter()
        try:
            return function(*arguments, **named)
        finally:
            self.seconds += perf_counter() - self._began

    @coroutine
    def awaited(self, steps: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        """Await something, without the time in which others run."""
        step: Callable[[Any], Any] = steps.send
        value: Any = None
        while True:
            try:
                waits_for = self.called(step, value)
            except StopIteration as done:
                return done.value
            try:
                step, value = steps.send, (yield waits_for)
            except BaseException as error:  # noqa: BLE001 - it is for what is awaited
                step, value = steps.throw, error

    def collecting(self, phase: str, _: dict[str, int]) -> None:
        """See the collector of garbage begin and end."""
        now = perf_counter()
        self.seconds += now - self._began if phase == "stop" else 0.0
        self._began = now


@contextmanager
def _watched(part: str) -> Iterator[_Watch]:
    watch = _Watch()
    kind, name = (CALLS | AWAITED)[part]
    function = getattr(kind, name)

    def call(*arguments: Any, **named: Any) -> Any:
        return watch.called(function, *arguments, **named)

    async def wait(*arguments: Any, **named: Any) -> Any:
        return await watch.awaited(function(*arguments, **named))

    with patch.object(kind, name, call if part in CALLS else wait):
        yield watch


async def _part(part: str) -> float:
    with _watched(part) as watch:
        await ours("file:", AGENTS, TURNS)
    return watch.seconds


async def _garbage(url: str) -> float:
    watch = _Watch()
    gc.callbacks.append(watch.collecting)
    try:
        await ours(url, AGENTS, TURNS)
    finally:
        gc.callbacks.remove(watch.collecting)
    return watch.seconds


async def _side(url: str) -> float:
    """Of the event loop's thread."""
    began = thread_time()
    await ours(url, AGENTS, TURNS)
    return thread_time() - began


async def _beside(url: str) -> float:
    """Of all other threads."""
    began, loop = process_time(), thread_time()
    await ours(url, AGENTS, TURNS)
    return process_time() - began - (thread_time() - loop)


async def _hashing() -> float:
    began = perf_counter()
    data = bytes(TEXT_BYTES)
    for _ in range(AGENTS * TURNS):
        hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest()
    return perf_counter() - began


def _measured() -> dict[str, Callable[[], Awaitable[float]]]:
    return {
        "event loop, without a hook": partial(_side, ""),
        "event loop, with one into memory": partial(_side, "memory:"),
        "event loop, with one into a file": partial(_side, "file:"),
        "other threads, into a file": partial(_beside, "file:"),
        "collecting garbage, without a hook": partial(_garbage, ""),
        "collecting garbage, with one": partial(_garbage, "file:"),
        **{part: partial(_part, part) for part in CALLS | AWAITED},
        "hashing alone": _hashing,
    }


async def main() -> None:
    """Print each part."""
    measured = _measured()
    least = dict.fromkeys(measured, float("inf"))
    for _ in range(ROUNDS):
        for name, measure in measured.items():
            least[name] = min(least[name], await measure())
    for name, seconds in least.items():
        print(f"{name:36} {seconds / AGENTS / TURNS * 1e6:6.2f}")


if __name__ == "__main__":
    asyncio.run(main())
