"""Requests and responses in Anthropic's form to messages, tools and replies."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from msgspec.structs import replace

from kernelckpt.adapters.anthropic.block import Block, read_blocks
from kernelckpt.adapters.anthropic.usage import from_usage
from kernelckpt.adapters.conversation import Conversation
from kernelckpt.adapters.fields import Fields, misfit
from kernelckpt.adapters.reply import ModelReply, StopReason
from kernelckpt.adapters.tool_schema import ANYTHING
from kernelckpt.model.capability import ToolSchema
from kernelckpt.model.message import ContentPart, Message, Role, Text, ToolCall, ToolResultPart

_ROLES = {role.value: role for role in (Role.USER, Role.ASSISTANT)}
_STOPS = {
    "end_turn": StopReason.END,
    "stop_sequence": StopReason.END,
    "tool_use": StopReason.TOOL_CALLS,
    "max_tokens": StopReason.LENGTH,
    "model_context_window_exceeded": StopReason.LENGTH,
    "pause_turn": StopReason.PAUSED,
    "refusal": StopReason.REFUSED,
}


def from_request(request: Mapping[str, Any], *, ignore: Collection[str] = ()) -> Conversation:
    """The messages and tools of a request; each block of the system is a message.

    Args:
        request: its `system`, `messages` and `tools`.
        ignore: names of fields and types of blocks to leave out, wherever they are.

    Raises:
        DecodeError: it is not of this form, or says what messages cannot; names the place.
    """
    fields = Fields(request, "")
    messages = [Message.system(text) for text in _system(fields, ignore)]
    for path, item in fields.items("messages"):
        messages += _messages(Fields(item, path), ignore)
    tools = tuple(_tool(Fields(item, path), ignore) for path, item in fields.items("tools"))
    fields.refuse_rest(ignore)
    return Conversation(tuple(messages), tools)


def from_response(response: Mapping[str, Any], *, ignore: Collection[str] = ()) -> ModelReply:
    """A model's answer.

    Args:
        response: the whole body of a response that was not streamed.
        ignore: types of blocks and names of their fields to leave out, as "thinking" and "redacted_thinking".

    Raises:
        ProviderError: it is an error.
        DecodeError: it is not of this form, or says what a message cannot; names the place.
    """
    fields = Fields(response, "")
    fields.raise_error()
    if fields.text("role") != Role.ASSISTANT:
        raise misfit("role", "not the assistant's")
    message = _assistant(read_blocks(fields, ignore))
    given = fields.take("usage")
    usage = None if given is None else from_usage(given)
    return ModelReply(
        message if usage is None else replace(message, token_count=usage.output_tokens),
        _stop(fields.text("stop_reason"), message),
        usage,
        model=fields.text("model", ""),
        id=fields.text("id", ""),
        stop_sequence=fields.text("stop_sequence", ""),
    )


def _stop(name: str, message: Message) -> StopReason:
    stop = _STOPS.get(name)
    if stop is None:
        raise misfit("stop_reason", f"{name!r} is no reason to stop that is known here")
    if (stop is StopReason.TOOL_CALLS) != bool(message.tool_calls) and stop not in _CUT_OFF:
        calls = f"{len(message.tool_calls)} calls"
        raise misfit("stop_reason", f"{name!r}, with {calls}")
    return stop


_CUT_OFF = frozenset({StopReason.LENGTH, StopReason.REFUSED})
"""With these, calls may be there and must not be made."""


def _system(fields: Fields, ignore: Collection[str]) -> Iterator[str]:
    for path, block in read_blocks(fields, ignore, "system"):
        if not isinstance(block, Text):
            raise misfit(path, "no text")
        yield block.text


def _messages(fields: Fields, ignore: Collection[str]) -> list[Message]:
    name = fields.text("role")
    role = _ROLES.get(name)
    if role is None:
        raise misfit(fields.at("role"), f"no role {name!r}")
    blocks = read_blocks(fields, ignore)
    fields.refuse_rest(ignore)
    if role is Role.ASSISTANT:
        return [_assistant(blocks)]
    return _user(blocks)


def _user(blocks: list[Block]) -> list[Message]:
    """Results, a message each, and after them what else the user says."""
    results: list[Message] = []
    parts: list[ContentPart] = []
    for path, block in blocks:
        if isinstance(block, ToolCall):
            raise misfit(path, "a call that the user asks for")
        if not isinstance(block, ToolResultPart):
            parts.append(block)
        elif parts:
            raise misfit(path, "a result after what the user says")
        else:
            results.append(Message.tool([block]))
    return [*results, Message(Role.USER, _content(parts))] if parts or not results else results


def _assistant(blocks: list[Block]) -> Message:
    """What the assistant says, and after it the calls it asks for."""
    calls: list[ToolCall] = []
    parts: list[ContentPart] = []
    for place, block in blocks:
        if isinstance(block, ToolCall):
            calls.append(block)
        elif not isinstance(block, Text):
            raise misfit(place, "neither text nor a call")
        elif calls:
            raise misfit(place, "text after a call: a message has its calls at the end")
        else:
            parts.append(block)
    return Message(Role.ASSISTANT, _content(parts), tuple(calls))


def _content(parts: list[ContentPart]) -> str | tuple[ContentPart, ...]:
    """A single piece of text is text."""
    only = parts[0] if len(parts) == 1 else None
    return only.text if isinstance(only, Text) else tuple(parts) or ""


def _tool(fields: Fields, ignore: Collection[str]) -> ToolSchema:
    kind = fields.text("type", "custom")
    if kind != "custom":
        raise misfit(fields.at("type"), f"a tool of the type {kind!r} has no schema")
    parameters = fields.take("input_schema")
    name, description = fields.text("name"), fields.text("description", "")
    fields.refuse_rest(ignore)
    return ToolSchema(name, description, ANYTHING if parameters is None else parameters)
