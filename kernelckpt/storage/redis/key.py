"""The names of keys: all those of a run hash to one slot, whatever its id."""

from __future__ import annotations

from urllib.parse import quote_from_bytes

from kernelckpt.storage.text import text_bytes


class RunKeys:
    """The keys of one run.

    Attributes:
        run: a hash: epoch, head, token of the owner's client, holder, born, posted.
        alive: the token of the owner's client, for as long as it is renewed.
        entries: a stream of what is known of each entry, numbered by sequence.
        blobs: a hash: the name of each whole blob, who wrote it, and the sizes of its parts.
        begun: a hash: the epoch and name of each unfinished blob, and the sizes of its parts.
        inbox: a hash: the id of each message, its order, and what was posted.
    """

    def __init__(self, prefix: str, run_id: str) -> None:
        """Name the keys of a run under a prefix."""
        base = f"{prefix}:{{{quote_from_bytes(text_bytes(run_id), safe='')}}}:".encode()
        self._base = base
        self.run = base + b"run"
        self.alive = base + b"alive"
        self.entries = base + b"entries"
        self.blobs = base + b"blobs"
        self.begun = base + b"begun"
        self.inbox = base + b"inbox"

    def body(self, epoch: int, sequence: int) -> bytes:
        """The key of an entry's bytes."""
        return self._base + b"entry:%d:%d" % (epoch, sequence)

    def part(self, epoch: int, name: bytes, index: int) -> bytes:
        """The key of a part of a blob."""
        return self._base + b"part:%d:%d:" % (epoch, index) + name
