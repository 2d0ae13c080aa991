"""One thing that verification found wrong."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class FindingKind(StrEnum):
    """What sort of thing is wrong: bytes, a record, records among each other, or what a scheduler lacks."""

    DAMAGE = "damage"
    RECORD = "record"
    STATE = "state"
    MISSING = "missing"


class Finding(Struct, frozen=True):
    """Something wrong.

    Attributes:
        kind: what sort of thing.
        where: the place, as `checkpoint 12` or `task["c1"]`.
        text: what is wrong with it.
        checkpoint: the number of the checkpoint whose state was looked at; 0 for damage that belongs to none.
    """

    kind: FindingKind
    where: str
    text: str
    checkpoint: int = 0

    def __str__(self) -> str:
        return f"{self.where}: {self.text}"
