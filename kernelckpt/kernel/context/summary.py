"""The rule-made summary of messages that are dropped: all that the agent is told of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain

from kernelckpt.kernel.context.tokens import CODE_POINTS_PER_TOKEN
from kernelckpt.model.message import Message, Role

MAX_SUMMARY_TOKENS = 256
"""The longest summary."""

MIN_SUMMARY_TOKENS = 24
"""What a summary may always have; beyond it, a quarter of what it stands for."""

LONGEST_LINE = 100
"""Characters of a message's first line that are quoted."""

MOST_TOOLS = 8
"""How many tools are named."""

_QUOTED = frozenset({Role.USER, Role.ASSISTANT})


def summary_of(messages: Sequence[Message], tokens: int) -> str:
    """One line: how many messages of whom, which tools, and how users and assistant began what they said.

    Args:
        messages: what is dropped.
        tokens: its tokens; the summary is shorter the fewer they are.
    """
    roles = Counter(message.role.value for message in messages)
    said = ", ".join(f"{count} {role}" for role, count in roles.items())
    head = f"dropped {len(messages)} messages ({said}; {tokens} tokens)"
    limit = CODE_POINTS_PER_TOKEN * min(max(tokens // 4, MIN_SUMMARY_TOKENS), MAX_SUMMARY_TOKENS)
    return _joined([head, *_tools(messages)], _quotes(messages), limit)


def _tools(messages: Iterable[Message]) -> list[str]:
    calls = Counter(call.name[:LONGEST_LINE] for message in messages for call in message.tool_calls)
    if not calls:
        return []
    named = ", ".join(f"{name} x{times}" for name, times in calls.most_common(MOST_TOOLS))
    more = len(calls) - MOST_TOOLS
    return [f"tools called: {named}" + (f" and {more} more" if more > 0 else "")]


def _quotes(messages: Iterable[Message]) -> Iterable[str]:
    for message in messages:
        if message.role in _QUOTED and (line := _first_line(message)):
            yield f"{message.role.value}: {line}"


def _first_line(message: Message) -> str:
    start = message.text.strip()[: LONGEST_LINE + 1].partition("\n")[0].strip()
    return start if len(start) <= LONGEST_LINE else f"{start[: LONGEST_LINE - 3]}..."


def _joined(facts: Iterable[str], quotes: Iterable[str], limit: int) -> str:
    """Facts and quotes in order while they fit; a last word says when some did not."""
    text = ""
    for piece in chain(facts, quotes):
        longer = f"{text} | {piece}" if text else piece
        if text and len(longer) + len(" | ...") > limit:
            return f"{text} | ..."
        text = longer
    return text
