"""Messages and tools to OpenAI's form."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from kernelckpt.adapters.json_value import json_text
from kernelckpt.adapters.openai.part import written_content
from kernelckpt.adapters.refuse import check_call, placed, refuse_calls, results_of, unsayable
from kernelckpt.adapters.tool_schema import DescribedTool, schemas_of
from kernelckpt.model.capability import ToolSchema
from kernelckpt.model.message import Message, Role, ToolCall, ToolResultPart

_LONGEST_NAME = 64
_ERROR = "Error: "
"""What a failed call's answer begins with: there is no flag for it in this form."""


def to_request(
    messages: Iterable[Message], tools: Iterable[ToolSchema | DescribedTool] = ()
) -> dict[str, Any]:
    """The fields of a request that say what was said so far, and which tools there are.

    Counts of tokens are the kernel's own and not sent. That a call failed is said in words, "Error: ...".

    Args:
        messages: the conversation, the system's messages included.
        tools: tools, or their schemas.

    Returns:
        `messages`, and `tools` if there are any; to be put beside `model` and the like.

    Raises:
        InvalidValueError: something cannot be said in this form; names the place.
    """
    made = [item for path, message in placed(messages) for item in _written(message, path)]
    described = [_tool(schema) for schema in schemas_of(tools, longest_name=_LONGEST_NAME)]
    return {"messages": made, **({"tools": described} if described else {})}


def _tool(schema: ToolSchema) -> dict[str, Any]:
    function = {"name": schema.name, "description": schema.description, "parameters": schema.parameters}
    return {"type": "function", "function": function}


def _written(message: Message, path: str) -> Iterator[dict[str, Any]]:
    if message.role is Role.ASSISTANT:
        yield _assistant(message, path)
        return
    if message.role is Role.TOOL:
        yield from map(_result, results_of(message, path))
    else:
        refuse_calls(message, path)
        yield {"role": message.role.value, "content": written_content(message, path)}


def _assistant(message: Message, path: str) -> dict[str, Any]:
    calls = [_call(call, f"{path}.tool_calls[{index}]") for index, call in enumerate(message.tool_calls)]
    content = written_content(message, path)
    if not calls:
        return {"role": "assistant", "content": content}
    return {"role": "assistant", "content": content or None, "tool_calls": calls}


def _call(call: ToolCall, path: str) -> dict[str, Any]:
    check_call(call, path)
    arguments = call.arguments
    if not isinstance(arguments, dict | str):
        text = f"a {type(arguments).__name__}, not an object"
        raise unsayable(f"{path}.arguments", text, "tools are called by name of argument")
    written = arguments if isinstance(arguments, str) else json_text(arguments, f"{path}.arguments")
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": written}}


def _result(part: ToolResultPart) -> dict[str, Any]:
    output = f"{_ERROR}{part.output}" if part.is_error else part.output
    return {"role": "tool", "tool_call_id": part.call_id, "content": output}
