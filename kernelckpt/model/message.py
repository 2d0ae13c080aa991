"""What agents, users and tools say to each other."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, TypeAlias

from msgspec import field

from kernelckpt.model.record import Record
from kernelckpt.model.scalar import U32


class Role(StrEnum):
    """Who speaks."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class Text(Record, frozen=True, gc=False, tag="text", tag_field="type"):
    """A piece of text."""

    text: str


class Image(Record, frozen=True, gc=False, tag="image", tag_field="type"):
    """A picture: `url` or `data` (base64)."""

    url: str | None = None
    data: str | None = None
    media_type: str | None = None
    detail: str | None = None


class Audio(Record, frozen=True, gc=False, tag="audio", tag_field="type"):
    """A sound: base64 data."""

    data: str
    media_type: str


class ToolResultPart(Record, frozen=True, gc=False, tag="tool_result", tag_field="type"):
    """What a tool answered to the call of this id."""

    call_id: str
    output: str
    is_error: bool = False


ContentPart: TypeAlias = Text | Image | Audio | ToolResultPart


class ToolCall(Record, frozen=True, gc=False):
    """A call that the assistant asks for; `arguments` is plain data."""

    id: str
    name: str
    arguments: Any = field(default_factory=dict)


class Message(Record, frozen=True, gc=False):
    """One message; never changed once made.

    Attributes:
        role: who speaks.
        content: text, or a sequence of parts.
        tool_calls: calls the assistant asks for.
        token_count: tokens as counted by whoever made it; None when nobody did.
    """

    role: Role
    content: str | tuple[ContentPart, ...] = ""
    tool_calls: tuple[ToolCall, ...] = ()
    token_count: U32 | None = None

    @classmethod
    def system(cls, text: str) -> Message:
        """A system message."""
        return cls(Role.SYSTEM, text)

    @classmethod
    def user(cls, text: str) -> Message:
        """A user message."""
        return cls(Role.USER, text)

    @classmethod
    def assistant(cls, text: str, tool_calls: Sequence[ToolCall] = ()) -> Message:
        """An assistant message, with the calls it asks for."""
        return cls(Role.ASSISTANT, text, tuple(tool_calls))

    @classmethod
    def user_multimodal(cls, parts: Sequence[ContentPart]) -> Message:
        """A user message of several parts."""
        return cls(Role.USER, tuple(parts))

    @classmethod
    def tool(cls, parts: Sequence[ContentPart]) -> Message:
        """A tool message."""
        return cls(Role.TOOL, tuple(parts))

    @classmethod
    def tool_result(cls, call_id: str, output: str, *, is_error: bool = False) -> Message:
        """A tool message that answers one call."""
        return cls.tool([ToolResultPart(call_id, output, is_error)])

    @property
    def text(self) -> str:
        """The text: the content, or its text parts and tool outputs joined by newlines."""
        if isinstance(self.content, str):
            return self.content
        return "\n".join(text for text in map(_text_of, self.content) if text)


def _text_of(part: ContentPart) -> str:
    if isinstance(part, Text):
        return part.text
    return part.output if isinstance(part, ToolResultPart) else ""
