"""Messages and tools to Anthropic's form."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any

from kernelckpt.adapters.json_value import json_copy
from kernelckpt.adapters.refuse import check_call, placed, refuse_calls, refuse_part, results_of, unsayable
from kernelckpt.adapters.tool_schema import DescribedTool, schemas_of
from kernelckpt.model.capability import ToolSchema
from kernelckpt.model.message import ContentPart, Image, Message, Role, Text, ToolCall, ToolResultPart

_LONGEST_NAME = 128
_NO_OBJECT = "INVALID_JSON"
"""Under this name the model is shown arguments that it wrote and that are no object."""


def to_request(
    messages: Iterable[Message], tools: Iterable[ToolSchema | DescribedTool] = ()
) -> dict[str, Any]:
    """The fields of a request that say what was said so far, and which tools there are.

    The system's messages become `system`. Results in a row become one message of the user, as this form has
    them. A message of the assistant that says nothing is left out, for this form has none. Counts of tokens
    are the kernel's own and not sent.

    Args:
        messages: the conversation; messages of the system are the first.
        tools: tools, or their schemas.

    Returns:
        `messages`, and `system` and `tools` if there are any; to be put beside `model`, `max_tokens` and the
        like.

    Raises:
        InvalidValueError: something cannot be said in this form; names the place.
    """
    system, said = _conversation(messages)
    described = [_tool(schema) for schema in schemas_of(tools, longest_name=_LONGEST_NAME)]
    parts = {"system": system, "messages": said, "tools": described}
    return {name: part for name, part in parts.items() if part or name == "messages"}


def _conversation(messages: Iterable[Message]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The blocks of the system, and the messages of the others."""
    system: list[dict[str, Any]] = []
    said: list[dict[str, Any]] = []
    for role, group in groupby(placed(messages), lambda item: item[1].role):
        if role is Role.TOOL:
            results = [_result(part) for path, message in group for part in results_of(message, path)]
            said.append({"role": "user", "content": results})
        elif role is not Role.SYSTEM:
            said += [
                {"role": role.value, "content": _content(message, path)}
                for path, message in group
                if role is Role.USER or message.content or message.tool_calls
            ]
        elif said:
            text, hint = "a message of the system after others", "begin with it, or let the user say it"
            raise unsayable(next(group)[0], text, hint)
        else:
            system += [block for path, message in group for block in _blocks(message, path)]
    return system, said


def _tool(schema: ToolSchema) -> dict[str, Any]:
    return {"name": schema.name, "description": schema.description, "input_schema": schema.parameters}


def _content(message: Message, path: str) -> str | list[dict[str, Any]]:
    if isinstance(message.content, str) and message.content and not message.tool_calls:
        return message.content
    return _blocks(message, path)


def _blocks(message: Message, path: str) -> list[dict[str, Any]]:
    """What a message says, and the calls it asks for."""
    if message.role is not Role.ASSISTANT:
        refuse_calls(message, path)
    if isinstance(message.content, str):
        blocks = [_written(Text(message.content), f"{path}.content", message.role)] if message.content else []
    else:
        blocks = [
            _written(part, f"{path}.content[{index}]", message.role)
            for index, part in enumerate(message.content)
        ]
    blocks += [_call(call, f"{path}.tool_calls[{index}]") for index, call in enumerate(message.tool_calls)]
    if not blocks:
        raise unsayable(f"{path}.content", "empty, which cannot be said in Anthropic's form", "leave it out")
    return blocks


def _written(part: ContentPart, path: str, role: Role) -> dict[str, Any]:
    match part:
        case Text(text=""):
            raise unsayable(path, "an empty text, which cannot be said in Anthropic's form", "leave it out")
        case Text(text=text):
            return {"type": "text", "text": text}
        case Image() if role is Role.USER:
            return {"type": "image", "source": _source(part, path)}
    raise refuse_part(part, path, role.value)


def _source(image: Image, path: str) -> dict[str, Any]:
    if image.detail is not None:
        raise unsayable(f"{path}.detail", "cannot be said in Anthropic's form", "leave it out")
    if (image.url is None) == (image.data is None):
        raise unsayable(path, "a picture needs a url or data, and not both")
    if image.url is not None:
        if image.media_type is not None:
            raise unsayable(
                f"{path}.media_type", "cannot be said of a url in Anthropic's form", "leave it out"
            )
        return {"type": "url", "url": image.url}
    if not image.media_type:
        raise unsayable(f"{path}.media_type", "data needs a media type", 'as "image/png"')
    return {"type": "base64", "media_type": image.media_type, "data": image.data}


def _call(call: ToolCall, path: str) -> dict[str, Any]:
    check_call(call, path)
    arguments = call.arguments
    if isinstance(arguments, str):
        arguments = {_NO_OBJECT: arguments}
    if not isinstance(arguments, dict):
        text = f"a {type(arguments).__name__}, not an object"
        raise unsayable(f"{path}.arguments", text, "tools are called by name of argument")
    made = json_copy(arguments, f"{path}.arguments")
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": made}


def _result(part: ToolResultPart) -> dict[str, Any]:
    block = {"type": "tool_result", "tool_use_id": part.call_id, "content": part.output}
    return {**block, "is_error": True} if part.is_error else block
