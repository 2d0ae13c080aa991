"""Requests and responses in OpenAI's form to messages, tools and replies."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from msgspec.structs import replace

from kernelckpt.adapters.conversation import Conversation
from kernelckpt.adapters.fields import Fields, misfit
from kernelckpt.adapters.json_value import arguments_of
from kernelckpt.adapters.openai.part import read_content
from kernelckpt.adapters.openai.usage import from_usage
from kernelckpt.adapters.reply import ModelReply, StopReason
from kernelckpt.adapters.tool_schema import ANYTHING
from kernelckpt.model.capability import ToolSchema
from kernelckpt.model.message import Message, Role, ToolCall

_ROLES = {"developer": Role.SYSTEM, **{role.value: role for role in Role}}
"""Roles by name; models of one kind call their system the developer."""

_STOPS = {
    "stop": StopReason.END,
    "tool_calls": StopReason.TOOL_CALLS,
    "length": StopReason.LENGTH,
    "content_filter": StopReason.FILTERED,
}


def from_request(request: Mapping[str, Any], *, ignore: Collection[str] = ()) -> Conversation:
    """The messages and tools of a request.

    Args:
        request: its `messages` and `tools`.
        ignore: names of fields to leave out, wherever they are.

    Raises:
        DecodeError: it is not of this form, or says what messages cannot; names the place.
    """
    fields = Fields(request, "")
    messages = tuple(_message(Fields(item, path), ignore) for path, item in fields.items("messages"))
    tools = tuple(_tool(Fields(item, path), ignore) for path, item in fields.items("tools"))
    fields.refuse_rest(ignore)
    return Conversation(messages, tools)


def from_response(response: Mapping[str, Any], *, ignore: Collection[str] = ()) -> ModelReply:
    """A model's answer.

    Args:
        response: the whole body of a response that was not streamed.
        ignore: names of fields of the message to leave out, as "reasoning_content".

    Raises:
        ProviderError: it is an error.
        DecodeError: it is not of this form, or says what a message cannot; names the place.
    """
    fields = Fields(response, "")
    fields.raise_error()
    choices = fields.items("choices")
    if len(choices) != 1:
        raise misfit("choices", f"{len(choices)} of them, not 1", hint="ask for one: n=1")
    choice = Fields(choices[0][1], choices[0][0])
    finish = choice.text("finish_reason")
    said = choice.fields("message")
    refusal = said.text("refusal", "")
    message = _message(said, ignore)
    if message.role is not Role.ASSISTANT:
        raise misfit(said.at("role"), "not the assistant's")
    given = fields.take("usage")
    usage = None if given is None else from_usage(given)
    return ModelReply(
        message if usage is None else replace(message, token_count=usage.output_tokens),
        StopReason.REFUSED if refusal else _stop(finish, message, choice.at("finish_reason")),
        usage,
        model=fields.text("model", ""),
        id=fields.text("id", ""),
        refusal=refusal,
    )


def _stop(finish: str, message: Message, path: str) -> StopReason:
    stop = _STOPS.get(finish)
    if stop is None:
        raise misfit(path, f"{finish!r} is no reason to stop that is known here")
    if stop is StopReason.TOOL_CALLS and not message.tool_calls:
        raise misfit(path, "'tool_calls', but there are none")
    is_asking = stop is StopReason.END and message.tool_calls  # so it is when a tool was demanded
    return StopReason.TOOL_CALLS if is_asking else stop


def _message(fields: Fields, ignore: Collection[str]) -> Message:
    name = fields.text("role")
    role = _ROLES.get(name)
    if role is None:
        raise misfit(fields.at("role"), f"no role {name!r}")
    content = read_content(fields, ignore, is_text=role is not Role.USER)
    if role is Role.TOOL:
        if not isinstance(content, str):
            raise misfit(fields.at("content"), "several parts; a result is one text")
        made = Message.tool_result(fields.text("tool_call_id"), content)
    elif role is Role.ASSISTANT:
        calls = tuple(_call(Fields(item, path), ignore) for path, item in fields.items("tool_calls"))
        made = Message(role, content, calls)
    else:
        made = Message(role, content)
    fields.refuse_rest(ignore)
    return made


def _call(fields: Fields, ignore: Collection[str]) -> ToolCall:
    kind = fields.text("type", "function")
    if kind != "function":
        raise misfit(fields.at("type"), f"a call of the type {kind!r} cannot be kept")
    function = fields.fields("function")
    made = ToolCall(fields.text("id"), function.text("name"), arguments_of(function.text("arguments", "")))
    fields.take("index")
    function.refuse_rest(ignore)
    fields.refuse_rest(ignore)
    return made


def _tool(fields: Fields, ignore: Collection[str]) -> ToolSchema:
    kind = fields.text("type")
    if kind != "function":
        raise misfit(fields.at("type"), f"a tool of the type {kind!r} has no schema")
    function = fields.fields("function")
    parameters = function.take("parameters")
    made = ToolSchema(
        function.text("name"),
        function.text("description", ""),
        ANYTHING if parameters is None else parameters,
    )
    function.refuse_rest(ignore)
    fields.refuse_rest(ignore)
    return made
