"""Arguments of tool calls, as JSON values and as JSON text."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from kernelckpt.adapters.refuse import unsayable
from kernelckpt.codec.plain import check_plain
from kernelckpt.errors import InvalidValueError


def json_text(value: Any, path: str) -> str:
    """A value as JSON.

    Raises:
        InvalidValueError: it has no JSON form, or another value would come back.
    """
    check_plain(value, path)
    try:
        return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise unsayable(path, f"no JSON: {error}") from error


def json_copy(value: Any, path: str) -> Any:
    """A JSON value that shares nothing with the one given; raises as `json_text` does."""
    return json.loads(json_text(value, path))


def arguments_of(text: str) -> Any:
    """The arguments that a model wrote: an object, or the text as it is if that is none that can be kept.

    Models err. What is no object is answered as a failed call, so that the model can mend it.
    """
    if not text.strip():
        return {}
    try:
        value = msgspec.json.decode(text)
        check_plain(value, "arguments")
    except (msgspec.DecodeError, UnicodeError, RecursionError, InvalidValueError):
        return text
    return value if isinstance(value, dict) else text
