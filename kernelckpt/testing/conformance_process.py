"""Conformance of a storage that several processes use: killed, stopped and taken over from outside."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from kernelckpt import open_storage
from kernelckpt.abc import Claim, StorageBackend
from kernelckpt.errors import FencedError, RunOwnedError
from kernelckpt.testing.conformance_child import body_of
from kernelckpt.testing.expect import append_some, list_all, refused


class _Child:
    """A process that owns the run and adds to it; what it says was acknowledged."""

    def __init__(self, process: asyncio.subprocess.Process, seconds: float) -> None:
        self.process = process
        self.told: list[str] = []
        self._seconds = seconds

    async def tells(self, count: int) -> None:
        """Wait until it has told of so many things more."""
        async with asyncio.timeout(self._seconds):
            for _ in range(count):
                assert await self._line(), "the child ended by itself"

    async def ends(self) -> None:
        """Read what it still told, and wait until it has ended."""
        async with asyncio.timeout(self._seconds):
            while await self._line():
                pass
            await self.process.wait()

    async def goes_on(self) -> None:
        """Let a process that has stopped, or is about to, continue to its end."""
        ending = asyncio.create_task(self.ends())
        while not ending.done():
            with suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGCONT)
            await asyncio.wait({ending}, timeout=0.05)
        await ending

    async def _line(self) -> bool:
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        if line.endswith(b"\n"):
            self.told.append(line.decode().strip())
        return bool(line)


class ProcessConformance:
    """For storages that outlive their process, beside `StorageConformance`, with one fixture.

    `storage_url` is the URL of an empty store. Child processes open it by `open_storage`, with the
    environment that the test has.

    Attributes:
        kill_after: a child process is killed after each of these numbers of acknowledgements.
        takeover_seconds: how long it may take until a run can be acquired whose owner was killed, or until
            a child has done what is waited for.
    """

    kill_after: Sequence[int] = (1, 9, 24, 37)
    takeover_seconds: float = 30.0

    async def test_nothing_acknowledged_is_lost_by_a_kill(self, storage_url: str) -> None:
        """Whenever its process is killed: all is there that it had told of, and the next one goes on."""
        told: list[str] = []
        async with open_storage(storage_url) as storage:
            for count in self.kill_after:
                async with self._child(storage_url) as child:
                    await child.tells(count)
                    child.process.kill()
                    await child.ends()
                    assert child.process.returncode == -signal.SIGKILL
                told += child.told
                claim = await self._acquire(storage)
                await _check(storage, claim, told)
                await storage.release("run", claim.epoch)

    async def test_a_process_that_owns_the_run_is_respected(self, storage_url: str) -> None:
        """Until it is taken over from; then it stops, and nothing is lost that it had told of."""
        async with open_storage(storage_url) as storage, self._child(storage_url) as child:
            await child.tells(10)
            with refused(RunOwnedError) as refusal:
                await storage.acquire("run", "the test")
            assert getattr(refusal.error, "holder", "") == "the child"
            claim = await storage.acquire("run", "the test", takeover=True)
            await append_some(storage, claim, 3)
            await child.ends()
            assert child.told.pop().startswith("lost ")
            await _check(storage, claim, child.told)
            assert [entry.epoch for entry in await list_all(storage)][-3:] == [claim.epoch] * 3

    async def test_a_process_stopped_during_a_takeover(self, storage_url: str) -> None:
        """When it continues, nothing more of it is acknowledged or shown."""
        async with open_storage(storage_url) as storage, self._child(storage_url, stop_after=15) as child:
            await child.tells(15)
            claim = await storage.acquire("run", "the test", takeover=True)
            await append_some(storage, claim, 3)
            await child.goes_on()
            assert child.told.pop().startswith("lost ")
            await _check(storage, claim, child.told)
            assert [entry.epoch for entry in await list_all(storage)][-3:] == [claim.epoch] * 3
            with refused(FencedError):
                await storage.append("run", claim.epoch, claim.head + 3, [b"again"], b"")

    @asynccontextmanager
    async def _child(self, url: str, stop_after: int = 0) -> AsyncIterator[_Child]:
        command = [sys.executable, "-m", "kernelckpt.testing.conformance_child", url, str(stop_after)]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        try:
            yield _Child(process, self.takeover_seconds)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def _acquire(self, storage: StorageBackend) -> Claim:
        async with asyncio.timeout(self.takeover_seconds):
            while True:
                try:
                    return await storage.acquire("run", "the test")
                except RunOwnedError:
                    await asyncio.sleep(0.1)


async def _check(storage: StorageBackend, claim: Claim, told: list[str]) -> None:
    """Compare what the child told of with what is there, which may be one thing more."""
    number_of = {what: [int(line.split()[1]) for line in told if line.startswith(what)] for what in _WHATS}
    entries = [entry for entry in await list_all(storage) if entry.epoch < claim.epoch]
    assert [entry.sequence for entry in entries] == list(range(1, claim.head + 1))
    assert set(number_of["entry"]) <= set(range(1, claim.head + 1))
    for entry in entries:
        body = await storage.read("run", entry.epoch, entry.sequence)
        assert (body, entry.meta) == (body_of(f"entry {entry.sequence}"), b"%d" % entry.sequence)
    messages = {int(message.message_id): message.data for message in await storage.posted("run")}
    assert set(number_of["message"]) <= messages.keys()
    assert all(data == body_of(f"message {number}") for number, data in messages.items())
    blobs = [int(blob.name) for blob in await storage.list_blobs("run")]
    assert set(number_of["blob"]) <= set(blobs)
    for number in blobs:
        assert await storage.read_blob("run", f"{number}") == body_of(f"blob {number}") * 2


_WHATS = ("entry", "message", "blob")
