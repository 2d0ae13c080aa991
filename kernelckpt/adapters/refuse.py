"""Refusing what a provider's JSON cannot say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from kernelckpt.errors import InvalidValueError
from kernelckpt.model.message import Message, ToolCall, ToolResultPart


def unsayable(path: str, text: str, hint: str = "") -> InvalidValueError:
    """The error that says why what is at a place cannot be sent."""
    return InvalidValueError(f"{path}: {text}", path=path, hint=hint)


def placed(messages: Iterable[Message]) -> Iterator[tuple[str, Message]]:
    """Messages with their places.

    Raises:
        InvalidValueError: something is no message.
    """
    for index, message in enumerate(messages):
        path = f"messages[{index}]"
        if not isinstance(message, Message):
            raise unsayable(path, f"a {type(message).__name__}", "pass a kernelckpt.Message")
        yield path, message


def results_of(message: Message, path: str) -> Iterator[ToolResultPart]:
    """The results in a tool's message.

    Raises:
        InvalidValueError: there are none, or there is something else in it.
    """
    refuse_calls(message, path)
    if isinstance(message.content, str) or not message.content:
        raise unsayable(f"{path}.content", "answers no call", "use Message.tool_result")
    for index, part in enumerate(message.content):
        place = f"{path}.content[{index}]"
        if not isinstance(part, ToolResultPart):
            raise refuse_part(part, place, "tool")
        if not part.call_id:
            raise unsayable(f"{place}.call_id", "empty")
        yield part


def refuse_calls(message: Message, path: str) -> None:
    """Raise `InvalidValueError` for tool calls in a message that is not the assistant's."""
    if message.tool_calls:
        text = f"a message of the {message.role.value} with tool calls"
        raise unsayable(f"{path}.tool_calls", text, "only the assistant asks for calls")


def refuse_part(part: Any, path: str, speaker: str) -> InvalidValueError:
    """The error for a part that messages of a speaker cannot have."""
    return unsayable(path, f"a message of the {speaker} cannot have a {type(part).__name__}")


def check_call(call: ToolCall, path: str) -> None:
    """Raise `InvalidValueError` for a call without an id or name."""
    for name, text in (("id", call.id), ("name", call.name)):
        if not text:
            raise unsayable(f"{path}.{name}", "empty", "providers tell calls and tools apart by it")


def check_name(name: str, path: str, longest: int) -> None:
    """Raise `InvalidValueError` for a name that providers do not take for a tool."""
    if not re.fullmatch(r"[a-zA-Z0-9_-]+", name) or len(name) > longest:
        text = f"{name!r} is no name for a tool: letters, digits, _ and -, {longest} at most"
        raise unsayable(path, text, "give it one: `@tool(name=...)`")
