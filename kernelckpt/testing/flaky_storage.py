"""A storage over a network that is slow, refuses, and loses answers at random."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn, TypeVar

from msgspec import Struct
from typing_extensions import override

from kernelckpt.abc import StorageBackend, StorageCall, StorageWrapper
from kernelckpt.errors import (
    StorageError,
    StorageFullError,
    StorageUnavailableError,
    SyncFailedError,
    UnknownOutcomeError,
)
from kernelckpt.testing.sim_loop import SimLoop
from kernelckpt.testing.sim_process import SimKilledError, SimProcess

T = TypeVar("T")

_HINT = "a fault of the simulation"
_REFUSALS: dict[str, tuple[type[StorageError], ...]] = {
    "append": (StorageFullError, SyncFailedError),
    "write_part": (StorageFullError,),
    "finish_blob": (SyncFailedError,),
}
"""What else a server may answer to a call than that it cannot be reached."""


class StorageFaults(Struct, frozen=True, kw_only=True):
    """How a storage behaves; shares are of the calls concerned, 0 to 1.

    Attributes:
        seconds: how long the way there, and the way back, take on the average.
        stalls: share of the calls whose answer takes `stall_seconds`.
        stall_seconds: how long that is.
        fails: share that are refused: unreachable or, when writing, full or not synced.
        unknown: share of the appends whose answer is lost; they arrive, at some time, or never do.
    """

    seconds: float = 0.002
    stalls: float = 0.0
    stall_seconds: float = 90.0
    fails: float = 0.0
    unknown: float = 0.0


class FlakyStorage(StorageWrapper):
    """Passes calls on to another storage, within a `SimLoop`, as the faults allow.

    Each call is made by the server, so to speak: one that was sent is made although its caller is cancelled
    or its process killed meanwhile.

    Attributes:
        faults: how the storage behaves; may be changed at any time.
        failed: how many calls were made to fail.
    """

    def __init__(self, storage: StorageBackend, loop: SimLoop, faults: StorageFaults | None = None) -> None:
        """Stand before another storage, which is closed with this one."""
        super().__init__(storage)
        self.faults = faults or StorageFaults()
        self.failed = 0
        self._loop = loop

    @override
    async def pass_on(self, call: StorageCall[T]) -> T:
        _refuse_killed()
        if call.method == "aclose":
            return await call.send()
        if call.method == "append" and self._hits(self.faults.unknown):
            await self._lose_answer(call)
        if self._hits(self.faults.fails):
            self.failed += 1
            await asyncio.sleep(self._latency())
            refusals: list[type[StorageError]] = [StorageUnavailableError, *_REFUSALS.get(call.method, ())]
            raise self._loop.chance.choice(refusals)(f"{self.name}: refused", hint=_HINT)
        sent = self._sent(call.send, self._latency())
        await asyncio.wait([sent])
        return sent.result()

    async def _lose_answer(self, call: StorageCall[Any]) -> NoReturn:
        self.failed += 1
        if self._loop.chance.random() < 0.7:
            self._sent(call.send, self._loop.chance.choice([0.0, 0.5, self.faults.stall_seconds]))
        await asyncio.sleep(self._latency())
        raise UnknownOutcomeError(f"{self.name}: the connection broke", hint=_HINT)

    def _sent(self, call: Callable[[], Awaitable[T]], seconds: float) -> asyncio.Task[T]:
        """Have a call made by nobody's process; cancelling whoever waits for it only loses the answer."""

        async def serve() -> T:
            await asyncio.sleep(seconds)
            answer = await call()
            await asyncio.sleep(self._latency())
            return answer

        nowhere = contextvars.Context()
        task = self._loop.create_task(serve(), context=nowhere)
        task.add_done_callback(_look, context=nowhere)
        return task

    def _latency(self) -> float:
        if self._hits(self.faults.stalls):
            return self.faults.stall_seconds
        return self._loop.chance.expovariate(1 / self.faults.seconds)

    def _hits(self, share: float) -> bool:
        return share > 0 and self._loop.chance.random() < share


def _refuse_killed() -> None:
    """Send nothing for a process that was killed."""
    if SimProcess.is_dead():
        raise SimKilledError


def _look(task: asyncio.Task[Any]) -> None:
    """Have looked at an answer that nobody may wait for."""
    if not task.cancelled():
        task.exception()
