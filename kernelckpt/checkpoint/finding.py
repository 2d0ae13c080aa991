"""One thing that verification found wrong."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class FindingKind(StrEnum):
    """What sort of thing is wrong: bytes, one record by itself, or records among each other."""

    DAMAGE = "damage"
    RECORD = "record"
    STATE = "state"


class Finding(Struct, frozen=True):
    """Something wrong.

    Attributes:
        kind: what sort of thing.
        where: the place, as `checkpoint 12` or `task["c1"]`.
        text: what is wrong with it.
    """

    kind: FindingKind
    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.where}: {self.text}"
