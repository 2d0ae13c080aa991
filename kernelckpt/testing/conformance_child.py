"""The process of `ProcessConformance`: python -m kernelckpt.testing.conformance_child URL [STOP_AFTER]."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from itertools import count

from kernelckpt import open_storage
from kernelckpt.abc import StorageBackend
from kernelckpt.errors import OwnershipError, UnknownOutcomeError
from kernelckpt.testing.expect import write_blob


def body_of(what: str) -> bytes:
    """The bytes of an entry, a blob or a message, by what is told of it when it is acknowledged."""
    return f"the body of {what}, ".encode() * 20


class Voice:
    """What the parent hears; what was written before a kill arrives."""

    def __init__(self, stop_after: int) -> None:
        """Stop this process, as a debugger or a suspended machine would, after so many lines; 0 is never."""
        self._left = stop_after

    def tell(self, text: str) -> None:
        """Write one line to the parent."""
        os.write(1, f"{text}\n".encode())
        self._left -= 1
        if self._left == 0:
            signal.raise_signal(signal.SIGSTOP)


async def write_on(storage: StorageBackend, tell: Callable[[str], None]) -> None:
    """Own the run and add to it without end, telling of each thing once it is acknowledged."""
    claim = await storage.acquire("run", "the child")
    tell(f"acquired {claim.head}")
    for number in count(claim.head + 1):
        await storage.append("run", claim.epoch, number, [body_of(f"entry {number}")], b"%d" % number)
        tell(f"entry {number}")
        if number % 3 == 0:
            await storage.post("run", f"{number}", body_of(f"message {number}"))
            tell(f"message {number}")
        if number % 4 == 0:
            await write_blob(storage, claim, f"{number}", [body_of(f"blob {number}")] * 2)
            tell(f"blob {number}")


async def main(url: str, stop_after: str = "0") -> None:
    """Write until killed, or until the run belongs to somebody else."""
    voice = Voice(int(stop_after))
    async with open_storage(url) as storage:
        try:
            await write_on(storage, voice.tell)
        except (OwnershipError, UnknownOutcomeError) as error:
            voice.tell(f"lost {type(error).__name__}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
