"""A storage of one's own: a journal file that every client plays back.

Whatever changes something is a line of the journal: which client called what, with what. A client keeps all
runs in memory (`MemoryStorage`). For each call it locks the file, plays back what others have added, makes
the call, and syncs its own line before it returns: who plays it back comes to the same runs. Who is alive
is told by locks, which end with their process. Everything is in memory too, and the file only grows.

`tests/test_custom_backend.py` runs the conformance suite over it. Run it twice: the agent counts on.
"""

import asyncio
import fcntl
import os
from contextlib import suppress
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgpack  # type: ignore[import-untyped] # it comes without types
from anyio import CapacityLimiter, to_thread
from msgspec.structs import astuple

from kernelckpt import CheckpointHook, MemoryStorage, Scheduler, Turn
from kernelckpt.abc import Claim, EntryInfo, StorageCall, StorageWrapper
from kernelckpt.errors import CorruptionError, StorageUnavailableError, SyncFailedError
from kernelckpt.storage import MemoryState

MARK, HEADER = b"\x93\x1c\xe5journal\n", 11 + 4 + 32
KINDS = (Claim, EntryInfo)


def pack(value: Any) -> bytes:
    kind = lambda item: msgpack.ExtType(KINDS.index(type(item)), pack(astuple(item)))  # noqa: E731
    return bytes(msgpack.packb(value, default=kind, unicode_errors="surrogatepass"))


def unpack(data: bytes) -> Any:
    kind = lambda code, item: KINDS[code](*unpack(item))  # noqa: E731
    return msgpack.unpackb(data, ext_hook=kind, unicode_errors="surrogatepass")


def record(line: bytes) -> bytes:
    return MARK + len(line).to_bytes(4, "big") + sha256(line).digest() + line


class JournalStorage(StorageWrapper):
    """A client of a journal on a local disk; it stands before what it has played back."""

    name, durable, notes = "", True, ()

    def __init__(self, path: Path) -> None:
        super().__init__(MemoryStorage())
        self.name, self._path, self._id, self._closed = f"journal:{path}", path, uuid4().hex, False
        self._turn, self._in_thread = asyncio.Lock(), partial(to_thread.run_sync, limiter=CapacityLimiter(1))
        self._alive = Path(f"{path}.{self._id}").open("a")  # noqa: SIM115 - its lock is held until closing
        fcntl.flock(self._alive, fcntl.LOCK_EX)
        self._file = path.open("a+b", buffering=0)
        os.fsync(folder := os.open(path.parent, os.O_RDONLY))
        os.close(folder)
        self._forget()

    async def pass_on(self, call: StorageCall[Any]) -> Any:
        """Make a call and keep it; what was begun is done to its end, cancelled or not."""
        if call.method == "aclose" and not self._closed:
            self._closed, making = True, self._close()
        elif call.method == "aclose":
            return None
        elif self._closed:
            raise StorageUnavailableError(f"{self.name} is closed", hint="open it again")
        else:
            making = self._call(
                call.method, getattr(call.send, "args", ()), getattr(call.send, "keywords", {})
            )
        return await asyncio.shield(asyncio.ensure_future(making))

    async def _close(self) -> None:
        try:
            await self._call("aclose", (), {})
        finally:
            await self._in_thread(os.unlink, self._alive.name)
            self._alive.close()
            self._file.close()

    def _forget(self) -> None:
        self._state, self._clients, self._end = MemoryState(), dict[str, MemoryStorage](), 0

    async def _call(self, name: str, args: Any, options: Any) -> Any:
        async with self._turn:
            try:
                for line in await self._in_thread(self._lock_and_read):
                    await self._play(line)
                for client in self._dead() if name in {"acquire", "acquire_as", "delete_run"} else ():
                    await self._play(pack([client, "aclose", (), {}]), keep=True)
                keep = not name.startswith(("list", "read")) and name != "posted"
                return await self._play(pack([self._id, name, args, options]), keep=keep)
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)

    async def _play(self, line: bytes, *, keep: bool = False) -> Any:
        client, name, args, options = unpack(line)
        memory = self._clients.setdefault(client, MemoryStorage(self._state))
        if name == "aclose":
            del self._clients[client]
        found = await getattr(memory, name)(*args, **options)
        if keep:
            await self._in_thread(self._write, line)
        return found

    def _dead(self) -> list[str]:
        found = []
        for client in self._clients.keys() - {self._id}:
            alive = Path(f"{self._path}.{client}")
            with suppress(BlockingIOError), alive.open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                alive.unlink()
                found.append(client)
        return found

    def _lock_and_read(self) -> list[bytes]:
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self._file.seek(self._end)
        data, at, lines = self._file.read(), 0, []
        while at < len(data):
            size = int.from_bytes(data[at + len(MARK) : at + len(MARK) + 4], "big")
            line = data[at + HEADER : at + HEADER + size]
            if data[at : at + HEADER + size] != record(line):
                if data.find(MARK, at + 1) > 0:
                    raise CorruptionError(f"{self.name}: damaged at byte {self._end + at}")
                self._file.truncate(self._end + at)  # cut short by a crash, so it was never acknowledged
                break
            lines.append(line)
            at += HEADER + size
        self._end += at
        return lines

    def _write(self, line: bytes) -> None:
        rest = memoryview(record(line))
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
            os.fsync(self._file)
            self._end += HEADER + len(line)
        except OSError as error:
            self._file.truncate(self._end)
            self._forget()
            raise SyncFailedError(f"{self.name}: not kept: {error}") from error


async def count(turn: Turn) -> None:
    """Count to the next multiple of three, then wait to be told to go on."""
    for message in turn.inbox:
        turn.append(message)
    turn.say(f"turn {turn.number}")
    print(f"turn {turn.number}")
    if turn.number % 3 == 0:
        turn.wait_for_message()


async def main() -> None:
    async with JournalStorage(Path("journal")) as storage:
        hook = CheckpointHook(storage)
        async with Scheduler({"count": count}, run_id="demo", hooks=[hook]) as kernel:
            await kernel.submit("count", task_id="c1")
            if kernel.restored:
                await kernel.send("c1", "three more")
            await kernel.idle()


if __name__ == "__main__":
    asyncio.run(main())
