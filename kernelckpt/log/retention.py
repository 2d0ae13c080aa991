"""What pruning keeps, and what it says it did."""

from __future__ import annotations

from msgspec import Struct

from kernelckpt.errors import UsageError


class Retention(Struct, frozen=True):
    """What pruning keeps: a run can always be restored as of any checkpoint after its oldest kept base.

    Attributes:
        bases: how many of the newest bases to keep, with every delta since the oldest of them; at least 1.
        keep_all: remove nothing.
        pins: numbers of checkpoints that stay restorable for ever.
        set_aside: whether what a fall-back has set aside, and what is damaged, stays.
    """

    bases: int = 2
    keep_all: bool = False
    pins: tuple[int, ...] = ()
    set_aside: bool = True

    def __post_init__(self) -> None:
        if self.bases < 1:
            raise UsageError(f"retention of {self.bases} bases", hint="keep at least one")


class PruneReport(Struct, frozen=True):
    """What a pruning removed.

    Attributes:
        entries: how many entries.
        blobs: how many blobs.
        size: their bytes together.
    """

    entries: int = 0
    blobs: int = 0
    size: int = 0
