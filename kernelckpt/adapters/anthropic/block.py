"""Blocks of content in Anthropic's form, read into parts and calls."""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeAlias

from kernelckpt.adapters.fields import Fields, checked_text, misfit
from kernelckpt.adapters.json_value import json_copy
from kernelckpt.errors import InvalidValueError
from kernelckpt.model.message import ContentPart, Image, Text, ToolCall, ToolResultPart

Block: TypeAlias = tuple[str, ContentPart | ToolCall]
"""Where a block is, and what it says."""

_DIRECT = {"type": "direct"}
"""What a call says of who asks for it if that is the model itself."""


def read_blocks(fields: Fields, ignore: Collection[str], name: str = "content") -> list[Block]:
    """The blocks of a field; text counts as one.

    Args:
        fields: what has the field.
        ignore: fields, and types of blocks, to leave out.
        name: the name of the field.
    """
    content = fields.take(name)
    if isinstance(content, str):
        text = checked_text(content, fields.at(name))
        return [(fields.at(name), Text(text))] if text else []
    found = Fields({name: content}, fields.path).items(name)
    blocks = [(path, Fields(item, path)) for path, item in found]
    kinds = [block.text("type") for _, block in blocks]
    return [
        (path, _read(block, kind, ignore))
        for (path, block), kind in zip(blocks, kinds, strict=True)
        if kind not in ignore
    ]


def _read(fields: Fields, kind: str, ignore: Collection[str]) -> ContentPart | ToolCall:
    made: ContentPart | ToolCall
    match kind:
        case "text":
            made = Text(fields.text("text"))
        case "image":
            made = _image(fields.fields("source"), ignore)
        case "tool_use":
            made = _call(fields)
        case "tool_result":
            made = _result(fields, ignore)
        case _:
            hint = f"to go on without it, say so: ignore=({kind!r},)"
            raise misfit(fields.path, f"a block of the type {kind!r} cannot be kept in a message", hint=hint)
    fields.refuse_rest(ignore)
    return made


def _image(source: Fields, ignore: Collection[str]) -> Image:
    kind = source.text("type")
    match kind:
        case "base64":
            made = Image(data=source.text("data"), media_type=source.text("media_type"))
        case "url":
            made = Image(url=source.text("url"))
        case _:
            raise misfit(source.at("type"), f"a picture of the type {kind!r} cannot be kept")
    source.refuse_rest(ignore)
    return made


def _call(fields: Fields) -> ToolCall:
    arguments, caller = fields.take("input"), fields.take("caller")
    if caller is not None and caller != _DIRECT:
        raise misfit(fields.at("caller"), "a call that the model does not ask for itself cannot be kept")
    if not isinstance(arguments, dict | str):  # text comes of a stream, when it is no object
        raise misfit(fields.at("input"), "missing" if arguments is None else "not an object")
    try:
        plain = json_copy(arguments, fields.at("input"))
    except InvalidValueError as error:
        raise misfit(error.path, error.message.removeprefix(f"{error.path}: ")) from error
    return ToolCall(fields.text("id"), fields.text("name"), plain)


def _result(fields: Fields, ignore: Collection[str]) -> ToolResultPart:
    call_id, is_error = fields.text("tool_use_id"), fields.take("is_error")
    if is_error not in (None, True, False):
        raise misfit(fields.at("is_error"), "neither true nor false")
    blocks = read_blocks(fields, ignore)
    only = blocks[0][1] if len(blocks) == 1 else Text("")
    if len(blocks) > 1 or not isinstance(only, Text):
        raise misfit(fields.at("content"), "more than one text; a result is one text")
    return ToolResultPart(call_id, only.text, bool(is_error))
