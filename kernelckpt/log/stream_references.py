"""Where the items of a live stream lie: packed references, a few bytes for each append."""

from __future__ import annotations

from msgspec import Struct


class StreamReferences(Struct, gc=False, eq=False):
    """The references of one stream, and how far it is staged and durable.

    Attributes:
        packed: the references, encoded one after the other; not copied before the first is added.
        durable: how many items they cover.
        staged: how many items the client has appended.
        in_base: the base that a restore began with lists it: not all of its items were read on the way.
    """

    packed: bytes | bytearray = b""
    durable: int = 0
    staged: int = 0
    in_base: bool = False

    def add(self, reference: bytes, end: int) -> None:
        """Note a durable frame, by its encoded reference, whose items end before index `end`."""
        if not isinstance(self.packed, bytearray):
            self.packed = bytearray(self.packed)
        self.packed += reference
        self.durable = max(self.durable, end)
        self.staged = max(self.staged, end)

    def move(self, old_bytes: int, packed: bytes) -> None:
        """Replace the first `old_bytes` of the references: their frames were copied elsewhere."""
        self.packed = bytearray(packed) + self.packed[old_bytes:]
