"""Groups: a call and the results that answer it stay together, so a history is cut only between groups."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence

from kernelckpt.kernel.context.tokens import tokens_of
from kernelckpt.model.message import Message, ToolResultPart


def results_of(message: Message) -> Iterator[ToolResultPart]:
    """The tool results that a message holds."""
    if not isinstance(message.content, str):
        yield from (part for part in message.content if isinstance(part, ToolResultPart))


def boundaries(messages: Sequence[Message]) -> list[int]:
    """Where a history can be cut without parting a result from its call: indices, with 0 and the length.

    A result answers the nearest call of its id before it. What lies between the two belongs to their
    group, for only whole ends of a history are ever dropped.
    """
    earliest = _earliest_needed(messages)
    cuts, lowest = [len(messages)], len(messages)
    for index in range(len(messages) - 1, -1, -1):
        lowest = min(lowest, earliest[index])
        if lowest >= index:
            cuts.append(index)
    cuts.reverse()
    return cuts


def last_boundary(cuts: Sequence[int], index: int) -> int:
    """The last of the boundaries that is not beyond an index; 0 for a negative one."""
    return cuts[max(bisect_right(cuts, index) - 1, 0)]


def start_of_newest(messages: Sequence[Message], budget: int) -> int:
    """Where the newest whole groups begin that fit into so many tokens together.

    The first group that does not fit ends the search, so that what is kept has no gap.
    """
    start, left = len(messages), budget
    for cut in reversed(boundaries(messages)[:-1]):
        left -= sum(tokens_of(messages[index]) for index in range(cut, start))
        if left < 0:
            break
        start = cut
    return start


def _earliest_needed(messages: Sequence[Message]) -> list[int]:
    """For each message the index of the earliest one whose call it answers; its own when there is none."""
    called: dict[str, int] = {}
    earliest = []
    for index, message in enumerate(messages):
        answered = (called.get(result.call_id, index) for result in results_of(message))
        earliest.append(min(answered, default=index))
        called.update((call.id, index) for call in message.tool_calls)
    return earliest
