"""RUN[@SEQ]: a run, or one of its checkpoints."""

from __future__ import annotations

from msgspec import Struct


class RunReference(Struct, frozen=True):
    """A run and the number of a checkpoint; None for the newest."""

    run_id: str
    at: int | None = None

    @classmethod
    def parse(cls, text: str) -> RunReference:
        """The reference that a user wrote.

        What follows the last "@" is a number, or belongs to the run's id. An id that itself ends in "@", or
        in "@" and a number, is written with one more "@" behind it.
        """
        run_id, mark, number = text.rpartition("@")
        if mark and run_id and not number:
            return cls(run_id)
        if mark and run_id and number.isascii() and number.isdecimal():
            return cls(run_id, int(number))
        return cls(text)
