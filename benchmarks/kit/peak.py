"""How much memory a piece of work takes beside the state it works on; for processes that do nothing else."""

from __future__ import annotations

import gc

from msgspec import Struct

from benchmarks.kit.process import forget_peak, memory_bytes


class Peak(Struct):
    """What one process measured, in bytes.

    Attributes:
        state: what the state takes.
        above: how much more was taken at the peak.
    """

    state: float
    above: float

    @property
    def share(self) -> float:
        """What the peak takes beside the state, as a share of it."""
        return self.above / self.state


def settled_bytes() -> int:
    """Memory taken now, garbage apart; the peak is counted from here on."""
    gc.collect()
    forget_peak()
    return memory_bytes()
