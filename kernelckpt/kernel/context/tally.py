"""A tally of a history: its tokens and its tool results, counted once as they arrive."""

from __future__ import annotations

from collections.abc import Sequence

from kernelckpt.codec.record import decode_message
from kernelckpt.errors import UsageError
from kernelckpt.kernel.context.groups import results_of
from kernelckpt.kernel.context.tokens import count, tokens_of
from kernelckpt.model.record import Record


class ToolResultSeen(Record, frozen=True):
    """A tool result in a history: the call it answers, and the tokens of its output."""

    call_id: str
    tokens: int


class Tally:
    """Counts one generation of a partition as it grows; the next generation gets a tally of its own."""

    __slots__ = ("_counted", "_results", "_tokens")

    def __init__(self) -> None:
        """A tally of nothing."""
        self._counted = 0
        self._tokens = 0
        self._results: list[ToolResultSeen] = []

    @property
    def tokens(self) -> int:
        """The tokens of all messages counted."""
        return self._tokens

    @property
    def results(self) -> Sequence[ToolResultSeen]:
        """The tool results, in the order of the history; grows with the tally."""
        return self._results

    def update(self, items: Sequence[bytes]) -> None:
        """Count what has been added to the encoded messages since the last time.

        Raises:
            UsageError: there are fewer than were counted, so this is another generation.
            DecodeError: one of them is no message; those before it are counted.
        """
        if len(items) < self._counted:
            fewer = f"{len(items)} messages, but {self._counted} are counted already"
            raise UsageError(fewer, hint="begin a new tally with each generation of a partition")
        for index in range(self._counted, len(items)):
            message = decode_message(items[index], f"messages[{index}]")
            self._tokens += tokens_of(message)
            for result in results_of(message):
                self._results.append(ToolResultSeen(result.call_id, count(result.output)))
            self._counted = index + 1
