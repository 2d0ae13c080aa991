"""Where the items of a live stream lie: packed references, a few bytes for each append."""

from __future__ import annotations

from kernelckpt.codec.change import Reference, encode_reference


class StreamReferences:
    """The references of one stream, and how far it is staged and durable.

    Attributes:
        packed: the references, encoded one after the other.
        durable: how many items they cover.
        staged: how many items the client has appended.
    """

    __slots__ = ("durable", "packed", "staged")

    def __init__(self, packed: bytes = b"", items: int = 0) -> None:
        """A stream with so many items, which lie where the references say."""
        self.packed = bytearray(packed)
        self.durable = items
        self.staged = items

    def add(self, reference: Reference, end: int) -> None:
        """Note a durable frame whose items end before index `end`."""
        self.packed += encode_reference(reference)
        self.durable = max(self.durable, end)
        self.staged = max(self.staged, end)

    def move(self, old_bytes: int, packed: bytes) -> None:
        """Replace the first `old_bytes` of the references: their frames were copied elsewhere."""
        self.packed[:old_bytes] = packed
