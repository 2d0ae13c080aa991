"""Snapshots as data that JSON can hold exactly: what it cannot hold is marked, or refused with its path."""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from math import isfinite
from typing import Any, TypeVar

import msgspec

from kernelckpt.errors import DecodeError, InvalidValueError, KernelCkptError
from kernelckpt.model.misfit import place_and_text

MAX_DEPTH = 256
"""How deep a form may nest; plain data in it may take up half of that."""

_T = TypeVar("_T")
_MARK = "$bytes"
_MARKED = re.compile(r"\$+bytes")
_FIELD = re.compile(r"field `(.*?)`")
_Fault = Callable[[str, str], KernelCkptError]
_Change = Callable[[Any, str], Any]


def to_json_form(value: Any) -> Any:
    """Plain data as JSON data, sharing nothing with it; bytes become `{"$bytes": base64}`.

    Raises:
        InvalidValueError: not plain data, or a number that JSON has not.
    """
    return _rebuilt(value, "", 0, _marked, _invalid)


def from_json_form(value: Any) -> Any:
    """The plain data that `to_json_form` was given, sharing nothing with the form.

    Raises:
        DecodeError: it is no such form; the path names the place.
    """
    return _rebuilt(value, "", 0, _unmarked, undecodable)


def convert_form(value: Any, type_: type[_T], path: str = "") -> _T:
    """The record that plain data describes, read strictly.

    Raises:
        DecodeError: it does not describe one; the path names the place.
    """
    try:
        return msgspec.convert(value, type_)
    except msgspec.ValidationError as error:
        inner, text = place_and_text(error)
        place = path + inner
        field = _FIELD.search(text)
        if field:
            place = place_of(place, field[1])
        raise undecodable(text, place.removeprefix(".")) from error.__cause__


def json_text(form: Any) -> str:
    """JSON data as compact text."""
    return json.dumps(form, separators=(",", ":"), ensure_ascii=False)


def parse_json(text: str | bytes, path: str) -> Any:
    """The data of a JSON text.

    Raises:
        DecodeError: it is none, or a key occurs twice in an object; the path is the one given.
    """
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise undecodable(str(error), path) from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key occurs twice in an object")
    return found


def place_of(path: str, key: str) -> str:
    """The path of a key within the object at `path`."""
    return f"{path}.{key}" if path else key


def undecodable(text: str, path: str) -> DecodeError:
    """The error of a place that does not hold what it should."""
    hint = "the snapshot was damaged, or written by something else; take one of its run anew"
    return DecodeError(f"{path or 'snapshot'}: {text}", path=path, hint=hint)


def _invalid(text: str, path: str) -> InvalidValueError:
    hint = "keep plain data in programs' results, payloads and arguments"
    return InvalidValueError(f"{path or 'snapshot'}: {text}", path=path, hint=hint)


def _rebuilt(value: Any, path: str, depth: int, change: _Change, fault: _Fault) -> Any:
    if depth > MAX_DEPTH:
        raise fault(f"nested deeper than {MAX_DEPTH} levels", path)
    if isinstance(value, dict):
        return change(_rebuilt_dict(value, path, depth, change, fault), path)
    if isinstance(value, list | tuple):
        return [
            _rebuilt(item, f"{path}[{index}]", depth + 1, change, fault) for index, item in enumerate(value)
        ]
    if isinstance(value, bytes):
        return change(value, path)
    _check_scalar(value, path, fault)
    return value


def _rebuilt_dict(
    value: dict[Any, Any], path: str, depth: int, change: _Change, fault: _Fault
) -> dict[str, Any]:
    for key in value:
        if not isinstance(key, str):
            raise fault(f"a key is a {type(key).__name__}, not text", path)
        _check_scalar(key, path, fault)
    return {key: _rebuilt(item, place_of(path, key), depth + 1, change, fault) for key, item in value.items()}


def _check_scalar(value: Any, path: str, fault: _Fault) -> None:
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            raise fault("text with a lone surrogate", path)
    elif isinstance(value, float):
        if not isfinite(value):
            raise fault(f"{value} is no number in JSON", path)
    elif value is not None and not isinstance(value, bool | int):
        raise fault(f"a {type(value).__name__} is not plain data", path)


def _marked(value: Any, _path: str) -> Any:
    if isinstance(value, bytes):
        return {_MARK: b64encode(value).decode()}
    return {"$" + key: item for key, item in value.items()} if _is_marked(value) else value


def _unmarked(value: Any, path: str) -> Any:
    if isinstance(value, bytes):
        raise undecodable("bytes are not JSON", path)
    if not _is_marked(value):
        return value
    if _MARK not in value:
        return {key[1:]: item for key, item in value.items()}
    try:
        return b64decode(value[_MARK], validate=True)
    except (TypeError, ValueError) as error:
        raise undecodable("not base64 text", place_of(path, _MARK)) from error


def _is_marked(value: dict[str, Any]) -> bool:
    return len(value) == 1 and _MARKED.fullmatch(next(iter(value))) is not None
