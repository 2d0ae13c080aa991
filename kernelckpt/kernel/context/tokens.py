"""Tokens: estimated from the length of texts, unless whoever made a message has counted it."""

from __future__ import annotations

from collections.abc import Iterable

from kernelckpt.model.message import Audio, ContentPart, Message, Text, ToolResultPart

CODE_POINTS_PER_TOKEN = 4
"""How many code points an estimated token has."""


def count(text: str) -> int:
    """The estimated tokens of a text, at least 1: an empty text is one token too."""
    return max(len(text) // CODE_POINTS_PER_TOKEN, 1)


def count_part(part: ContentPart) -> int:
    """The estimated tokens of a part; a picture is one, a sound is counted as its base64 data."""
    match part:
        case Text(text=text) | ToolResultPart(output=text) | Audio(data=text):
            return count(text)
    return 1


def count_message(message: Message) -> int:
    """The estimated tokens of a message: those of its text or its parts. Tool calls cost nothing."""
    if isinstance(message.content, str):
        return count(message.content)
    return sum(map(count_part, message.content))


def tokens_of(message: Message) -> int:
    """The tokens of a message: as counted by whoever made it, else as estimated."""
    return count_message(message) if message.token_count is None else message.token_count


def sum_tokens(messages: Iterable[Message]) -> int:
    """The tokens of several messages."""
    return sum(map(tokens_of, messages))


def truncate(text: str, tokens: int) -> str:
    """As much of the beginning of a text as is worth so many estimated tokens."""
    return text[: max(tokens, 0) * CODE_POINTS_PER_TOKEN]
