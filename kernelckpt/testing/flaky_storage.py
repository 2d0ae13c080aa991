"""A storage over a network that is slow, refuses, and loses answers at random."""

# ruff: noqa: D102 - the contract is written once, in abc.py

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from msgspec import Struct

from kernelckpt.abc import BlobInfo, Claim, EntryInfo, PostedMessage, StorageBackend
from kernelckpt.errors import (
    StorageFullError,
    StorageUnavailableError,
    SyncFailedError,
    UnknownOutcomeError,
)
from kernelckpt.testing.sim_loop import SimLoop
from kernelckpt.testing.sim_process import SimKilledError, SimProcess

T = TypeVar("T")

_HINT = "a fault of the simulation"


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


class FlakyStorage(StorageBackend):
    """Passes calls on to another storage, within a `SimLoop`, as the faults allow.

    Each call is made by the server, so to speak: one that was sent is made although its caller is cancelled
    or its process killed meanwhile.

    Attributes:
        faults: how the storage behaves; may be changed at any time.
        failed: how many calls were made to fail.
    """

    def __init__(self, storage: StorageBackend, loop: SimLoop, faults: StorageFaults | None = None) -> None:
        """Stand before another storage, which is closed with this one."""
        self.name = storage.name
        self.durable = storage.durable
        self.faults = faults or StorageFaults()
        self.failed = 0
        self._storage = storage
        self._loop = loop

    async def acquire(self, run_id: str, holder: str, *, takeover: bool = False) -> Claim:
        return await self._pass(lambda: self._storage.acquire(run_id, holder, takeover=takeover))

    async def release(self, run_id: str, epoch: int) -> None:
        await self._pass(lambda: self._storage.release(run_id, epoch))

    async def append(
        self, run_id: str, epoch: int, sequence: int, entry: Sequence[bytes], meta: bytes
    ) -> None:
        def send() -> Awaitable[None]:
            return self._storage.append(run_id, epoch, sequence, entry, meta)

        _refuse_killed()
        if self._hits(self.faults.unknown):
            self.failed += 1
            if self._loop.chance.random() < 0.7:
                self._sent(send, self._loop.chance.choice([0.0, 0.5, self.faults.stall_seconds]))
            await asyncio.sleep(self._latency())
            raise UnknownOutcomeError(f"{self.name}: the connection broke", hint=_HINT)
        await self._pass(send, StorageFullError, SyncFailedError)

    async def list_entries(self, run_id: str, *, after: int = 0, limit: int = 1000) -> Sequence[EntryInfo]:
        return await self._pass(lambda: self._storage.list_entries(run_id, after=after, limit=limit))

    async def read(
        self, run_id: str, epoch: int, sequence: int, *, offset: int = 0, length: int | None = None
    ) -> bytes:
        return await self._pass(
            lambda: self._storage.read(run_id, epoch, sequence, offset=offset, length=length)
        )

    async def write_part(self, run_id: str, epoch: int, name: str, index: int, data: Sequence[bytes]) -> None:
        await self._pass(lambda: self._storage.write_part(run_id, epoch, name, index, data), StorageFullError)

    async def finish_blob(self, run_id: str, epoch: int, name: str) -> BlobInfo:
        return await self._pass(lambda: self._storage.finish_blob(run_id, epoch, name), SyncFailedError)

    async def read_blob(self, run_id: str, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        return await self._pass(lambda: self._storage.read_blob(run_id, name, offset=offset, length=length))

    async def list_blobs(self, run_id: str) -> Sequence[BlobInfo]:
        return await self._pass(lambda: self._storage.list_blobs(run_id))

    async def delete(
        self, run_id: str, epoch: int, *, entries: Sequence[EntryInfo] = (), blobs: Sequence[str] = ()
    ) -> None:
        await self._pass(lambda: self._storage.delete(run_id, epoch, entries=entries, blobs=blobs))

    async def post(self, run_id: str, message_id: str, data: bytes) -> bool:
        return await self._pass(lambda: self._storage.post(run_id, message_id, data))

    async def posted(self, run_id: str) -> Sequence[PostedMessage]:
        return await self._pass(lambda: self._storage.posted(run_id))

    async def delete_posted(self, run_id: str, message_ids: Sequence[str]) -> None:
        await self._pass(lambda: self._storage.delete_posted(run_id, message_ids))

    async def list_runs(self) -> Sequence[str]:
        return await self._pass(self._storage.list_runs)

    async def delete_run(self, run_id: str) -> None:
        await self._pass(lambda: self._storage.delete_run(run_id))

    async def aclose(self) -> None:
        _refuse_killed()
        await self._storage.aclose()

    async def _pass(
        self, call: Callable[[], Awaitable[T]], *refusals: type[StorageUnavailableError | Any]
    ) -> T:
        _refuse_killed()
        if self._hits(self.faults.fails):
            self.failed += 1
            await asyncio.sleep(self._latency())
            refusal = self._loop.chance.choice([StorageUnavailableError, *refusals])
            raise refusal(f"{self.name}: refused", hint=_HINT)
        sent = self._sent(call, self._latency())
        await asyncio.wait([sent])
        return sent.result()

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
