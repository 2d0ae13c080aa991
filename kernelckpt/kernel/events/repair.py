"""Repair of what a session log says, before an agent goes on from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from kernelckpt.errors import InvalidValueError
from kernelckpt.model.event import LlmCompleted, SessionEvent
from kernelckpt.model.message import Message, Role, ToolCall, ToolResultPart

TRUNCATED = "… [replay truncated]"
"""What a text ends in that was cut."""


def sanitize_recovery_text_bounded(text: str, max_bytes: int) -> str:
    """The text, cut if it is too long; cutting what was cut before changes nothing.

    Args:
        text: any text.
        max_bytes: how many bytes of UTF-8 are kept, up to the end of a character; the mark of the cut comes
            on top. 0 is without limit.

    Raises:
        InvalidValueError: the limit is negative.
    """
    if max_bytes < 0:
        hint = "give a number of bytes, or 0 for no limit"
        raise InvalidValueError(f"max_bytes: {max_bytes} is negative", path="max_bytes", hint=hint)
    data = text.removesuffix(TRUNCATED).encode("utf-8", "surrogatepass")
    if max_bytes == 0 or len(data) <= max_bytes:
        return text
    end = max_bytes
    while data[end] & 0xC0 == 0x80:  # in the middle of a character
        end -= 1
    return data[:end].decode("utf-8", "surrogatepass") + TRUNCATED


def cap_message(message: Message, max_bytes: int) -> Message:
    """The message with its text cut as by `sanitize_recovery_text_bounded`; parts stay whole."""
    if not isinstance(message.content, str):
        return message
    return replace(message, content=sanitize_recovery_text_bounded(message.content, max_bytes))


def repair_llm_completed(event: LlmCompleted, max_bytes: int = 0) -> LlmCompleted:
    """The event with its text cut and its tokens counted, if nobody did; the replay data stay as they came.

    A quarter of the characters, at least 1, counted before the cut; 1 for a message of parts.
    """
    message = event.message
    if message.token_count is None:
        text = message.content if isinstance(message.content, str) else ""
        message = replace(message, token_count=max(len(text) // 4, 1))
    return replace(event, message=cap_message(message, max_bytes))


def repair_events(events: Iterable[SessionEvent], max_bytes: int = 0) -> tuple[SessionEvent, ...]:
    """The events, with every answer of a model repaired; all others pass through."""
    return tuple(
        repair_llm_completed(event, max_bytes) if isinstance(event, LlmCompleted) else event
        for event in events
    )


def pending_tool_calls_from_messages(messages: Sequence[Message]) -> tuple[ToolCall, ...]:
    """The calls of the last assistant message with calls that no later tool message answers.

    A tool message answers the calls whose ids its results bear. One without any result part, as the original
    leaves it when it shortens a result, may answer any call: after it none counts as pending, since a call
    that was made must never be made again.
    """
    for index in range(len(messages) - 1, -1, -1):
        message = messages[index]
        if message.role is Role.ASSISTANT and message.tool_calls:
            return _unanswered(message.tool_calls, messages[index + 1 :])
    return ()


def _unanswered(calls: tuple[ToolCall, ...], later: Sequence[Message]) -> tuple[ToolCall, ...]:
    answered: set[str] = set()
    for message in later:
        if message.role is Role.TOOL:
            ids = _answered_by(message)
            if not ids:
                return ()
            answered |= ids
    return tuple(call for call in calls if call.id not in answered)


def _answered_by(message: Message) -> set[str]:
    parts = () if isinstance(message.content, str) else message.content
    return {part.call_id for part in parts if isinstance(part, ToolResultPart)}
