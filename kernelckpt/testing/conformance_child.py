"""The process that `ProcessConformance` kills: python -m kernelckpt.testing.conformance_child URL."""

from __future__ import annotations

import asyncio
import os
import sys
from itertools import count

from kernelckpt import open_storage
from kernelckpt.abc import StorageBackend
from kernelckpt.errors import OwnershipError, UnknownOutcomeError
from kernelckpt.testing.expect import write_blob


def body_of(what: str) -> bytes:
    """The bytes of an entry, a blob or a message, by what is told of it when it is acknowledged."""
    return f"the body of {what}, ".encode() * 20


def tell(text: str) -> None:
    """Write one line to the parent; what was written before a kill arrives."""
    os.write(1, f"{text}\n".encode())


async def write_on(storage: StorageBackend) -> None:
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


async def main(url: str) -> None:
    """Write until killed, or until the run belongs to somebody else."""
    async with open_storage(url) as storage:
        try:
            await write_on(storage)
        except (OwnershipError, UnknownOutcomeError) as error:
            tell(f"lost {type(error).__name__}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
