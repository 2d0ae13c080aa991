"""The two forms of a benchmark: short, for a look and for CI; full, with the sizes of the targets."""

from __future__ import annotations

from typing import TypeVar

from msgspec import Struct

T = TypeVar("T")


class Form(Struct, frozen=True):
    """Which form is run."""

    is_full: bool = False

    @property
    def name(self) -> str:
        """Its name in results."""
        return "full" if self.is_full else "short"

    def of(self, *, short: T, full: T) -> T:
        """The size that belongs to the form."""
        return full if self.is_full else short
