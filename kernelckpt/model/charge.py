"""What a call has cost its task."""

from __future__ import annotations

from kernelckpt.model.record import Record
from kernelckpt.model.scalar import U64


class Charge(Record, frozen=True, gc=False):
    """Tokens, and money in millionths of the user's currency."""

    tokens: U64 = 0
    cost_micros: U64 = 0
