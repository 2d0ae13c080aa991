"""Shortening single messages: oversized ones are cut, tool results reduced; nothing else of them changes."""

from __future__ import annotations

from collections.abc import Callable, Collection

from msgspec.structs import replace

from kernelckpt.kernel.context.excerpt import excerpt
from kernelckpt.kernel.context.spool import marker_of
from kernelckpt.kernel.context.tokens import count, count_message, tokens_of
from kernelckpt.model.message import ContentPart, Message, Text, ToolResultPart

LARGE_RESULT_TOKENS = 200
"""Tokens from which on a tool result is large enough to be reduced."""

REDUCED_RESULT_TOKENS = 50
"""Tokens that stay of one, but for the marker of a spooled one."""


def snipped(message: Message, cap: int, preserved: Collection[str]) -> Message:
    """A message of more than `cap` tokens with its texts cut in the middle, in proportion.

    Its token count becomes the cap, or what it still has when pictures, sounds and preserved results leave
    no way to reach it. A message that cannot be cut is given back itself.

    Args:
        message: the message.
        cap: the tokens it may have.
        preserved: call ids whose results stay whole.
    """
    tokens = tokens_of(message)
    if tokens <= cap:
        return message

    def cut(text: str) -> str:
        keep = len(text) * cap // tokens
        return excerpt(text, keep, with_tail=True, ending=marker_of(text)) or text

    if isinstance(message.content, str):
        text = cut(message.content)
        return message if text is message.content else replace(message, content=text, token_count=cap)
    return _with_parts(message, lambda part: _cut_part(part, cut, preserved), floor=cap)


def reduced(message: Message, preserved: Collection[str]) -> Message:
    """A message with its large tool results reduced to their beginnings.

    They stay results of the same calls: the original made them plain text, after which their calls looked
    unanswered and were made again. A message without any is given back itself.

    Args:
        message: the message.
        preserved: call ids whose results stay whole.
    """
    if isinstance(message.content, str):
        return message
    tokens, estimate = tokens_of(message), max(count_message(message), 1)

    def reduce(part: ContentPart) -> ContentPart:
        if not isinstance(part, ToolResultPart) or part.call_id in preserved:
            return part
        size = count(part.output) * tokens // estimate
        if size < LARGE_RESULT_TOKENS:
            return part
        keep = len(part.output) * REDUCED_RESULT_TOKENS // size
        text = excerpt(part.output, keep, ending=marker_of(part.output))
        return part if text is None else replace(part, output=text)

    return _with_parts(message, reduce)


def _cut_part(part: ContentPart, cut: Callable[[str], str], preserved: Collection[str]) -> ContentPart:
    if isinstance(part, Text):
        text = cut(part.text)
        return part if text is part.text else replace(part, text=text)
    if isinstance(part, ToolResultPart) and part.call_id not in preserved:
        text = cut(part.output)
        return part if text is part.output else replace(part, output=text)
    return part


def _with_parts(
    message: Message, change: Callable[[ContentPart], ContentPart], floor: int | None = None
) -> Message:
    """The message with changed parts, its token count lowered in proportion but not below `floor`."""
    assert not isinstance(message.content, str), "the caller has looked"
    parts = tuple(map(change, message.content))
    if all(new is old for new, old in zip(parts, message.content, strict=True)):
        return message
    changed = replace(message, content=parts)
    if message.token_count is None and floor is None:
        return changed
    tokens = tokens_of(message) * count_message(changed) // count_message(message)
    return replace(changed, token_count=max(tokens, floor or 0))


def with_preview(message: Message, previews: Callable[[ToolResultPart], ToolResultPart]) -> Message:
    """A message with its tool results as `previews` shows them."""
    if isinstance(message.content, str):
        return message
    return _with_parts(message, lambda part: previews(part) if isinstance(part, ToolResultPart) else part)
