"""Takes entries, blobs and runs out of Redis, in steps that each hold the server up for a moment only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kernelckpt.storage.redis.key import RunKeys
from kernelckpt.storage.redis.record import part_keys, read_entry
from kernelckpt.storage.redis.script import FORGET, SWEEP, Script
from kernelckpt.storage.redis.server import Argument, RedisServer

BATCH = 500
"""How many entries are removed in one step."""


class Removal:
    """What is to be removed in one step, if whoever asks for it still may.

    Attributes:
        ids: entries.
        names: whole blobs.
        begun: unfinished ones, as `RunKeys.begun` has them.
        bytes_at: the keys of what they hold.
    """

    def __init__(self, keys: RunKeys) -> None:
        """Remove nothing yet."""
        self._keys = keys
        self.ids: list[bytes] = []
        self.names: list[bytes] = []
        self.begun: list[bytes] = []
        self.bytes_at: list[bytes] = []

    def add_entry(self, epoch: int, sequence: int) -> None:
        """Remove an entry as well."""
        self.ids.append(b"%d-0" % sequence)
        self.bytes_at.append(self._keys.body(epoch, sequence))

    def add_blob(self, name: bytes, value: bytes) -> None:
        """Remove a whole blob as well, of which `RunKeys.blobs` says this."""
        self.names.append(name)
        self.bytes_at += part_keys(self._keys, name, value)

    def add_begun(self, field: bytes, sizes: bytes) -> None:
        """Remove an unfinished blob as well, of which `RunKeys.begun` says this."""
        epoch, _, name = field.partition(b":")
        self.begun.append(field)
        self.bytes_at += part_keys(self._keys, name, epoch + b":" + sizes)

    async def run(self, server: RedisServer, script: Script, *guard: Argument) -> tuple[str, list[bytes]]:
        """Remove it by REMOVE or SWEEP, whose first arguments say who asks."""
        keys = self._keys
        everything = (*self.ids, *self.names, *self.begun)
        return await server.run(
            script,
            (keys.run, keys.entries, keys.blobs, keys.begun, *self.bytes_at),
            *guard,
            len(self.ids),
            len(self.names),
            *everything,
        )


async def sweep(server: RedisServer, keys: RunKeys, born: bytes) -> None:
    """Remove all that a deleted run holds, and then the run; several may do so at once."""
    while found := await server.ask("XRANGE", keys.entries, "-", "+", "COUNT", BATCH):
        removal = Removal(keys)
        for info in map(read_entry, found):
            removal.add_entry(info.epoch, info.sequence)
        word, _ = await removal.run(server, SWEEP, born, b"")
        if word != "ok":
            return  # somebody else was faster
    removal = Removal(keys)
    for name, value in pairs(await server.ask("HGETALL", keys.blobs)):
        removal.add_blob(name, value)
    for field, sizes in pairs(await server.ask("HGETALL", keys.begun)):
        removal.add_begun(field, sizes)
    await removal.run(server, SWEEP, born, b"")
    await server.run(FORGET, (keys.run, keys.entries, keys.blobs, keys.begun, keys.inbox), born)


def pairs(found: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Fields and values of a hash, as Redis lists them."""
    return zip(found[::2], found[1::2], strict=True)
