"""Parts of messages in OpenAI's form, both ways."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from kernelckpt.adapters.fields import Fields, misfit
from kernelckpt.adapters.refuse import refuse_part, unsayable
from kernelckpt.model.message import Audio, ContentPart, Image, Message, Role, Text

_FORMATS = {"audio/wav": "wav", "audio/mpeg": "mp3"}
_MEDIA_TYPES = {name: media_type for media_type, name in _FORMATS.items()}
_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+);base64,(.*)", re.DOTALL)


def written_content(message: Message, path: str) -> str | list[dict[str, Any]]:
    """The `content` of a message: text, or a list of its parts."""
    if isinstance(message.content, str):
        return message.content
    return [
        _written(part, f"{path}.content[{index}]", message.role) for index, part in enumerate(message.content)
    ]


def _written(part: ContentPart, path: str, role: Role) -> dict[str, Any]:
    match part:
        case Text(text=text):
            return {"type": "text", "text": text}
        case Image() if role is Role.USER:
            return {"type": "image_url", "image_url": _written_image(part, path)}
        case Audio() if role is Role.USER:
            if part.media_type not in _FORMATS:
                text = f"sound of the type {part.media_type!r} cannot be said in OpenAI's form"
                raise unsayable(f"{path}.media_type", text, f"one of {', '.join(_FORMATS)}")
            return {
                "type": "input_audio",
                "input_audio": {"data": part.data, "format": _FORMATS[part.media_type]},
            }
    raise refuse_part(part, path, role.value)


def _written_image(image: Image, path: str) -> dict[str, Any]:
    detail = {} if image.detail is None else {"detail": image.detail}
    if (image.url is None) == (image.data is None):
        raise unsayable(path, "a picture needs a url or data, and not both")
    if image.url is not None:
        if image.media_type is not None:
            raise unsayable(f"{path}.media_type", "cannot be said of a url in OpenAI's form", "leave it out")
        return {"url": image.url, **detail}
    url = f"data:{image.media_type};base64,{image.data}"
    if not _DATA_URL.fullmatch(url):
        raise unsayable(f"{path}.media_type", "data needs a media type", 'as "image/png"')
    return {"url": url, **detail}


def read_content(fields: Fields, ignore: Collection[str], *, is_text: bool) -> str | tuple[ContentPart, ...]:
    """The content of a message; a single piece of text is text.

    Args:
        fields: the message.
        ignore: fields to leave out.
        is_text: whether the message can have nothing but text.
    """
    content = fields.take("content")
    if content is None or isinstance(content, str):
        return Fields({"content": content}, fields.path).text("content", "")
    given = Fields({"content": content}, fields.path).items("content")
    parts = tuple(_read(Fields(item, path), ignore, is_text=is_text) for path, item in given)
    only = parts[0] if len(parts) == 1 else None
    return only.text if isinstance(only, Text) else parts or ""


def _read(fields: Fields, ignore: Collection[str], *, is_text: bool) -> ContentPart:
    kind = fields.text("type")
    part: ContentPart
    match kind:
        case "text":
            part = Text(fields.text("text"))
        case "image_url" if not is_text:
            part = _read_image(fields.fields("image_url"), ignore)
        case "input_audio" if not is_text:
            part = _read_audio(fields.fields("input_audio"), ignore)
        case _:
            raise misfit(fields.at("type"), f"a part of the type {kind!r} cannot be kept in this message")
    fields.refuse_rest(ignore)
    return part


def _read_image(fields: Fields, ignore: Collection[str]) -> Image:
    url, detail = fields.text("url"), fields.text("detail", "") or None
    fields.refuse_rest(ignore)
    found = _DATA_URL.fullmatch(url)
    if found is None:
        return Image(url=url, detail=detail)
    return Image(data=found[2], media_type=found[1], detail=detail)


def _read_audio(fields: Fields, ignore: Collection[str]) -> Audio:
    data, name = fields.text("data"), fields.text("format")
    if name not in _MEDIA_TYPES:
        raise misfit(fields.at("format"), f"{name!r} is no format of sound that is known here")
    fields.refuse_rest(ignore)
    return Audio(data, _MEDIA_TYPES[name])
