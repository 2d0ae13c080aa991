"""Whether a value that was written and read again is the one that was given, to the type of every part."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sized
from datetime import datetime, time
from itertools import chain, count
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import astuple

from kernelckpt.codec.plain import MAX_DEPTH
from kernelckpt.errors import InvalidValueError

_HINT = "declare its type, or pass what it would come back as"
_LEAVES = frozenset({type(None), bool, int, float, str, bytes})
_PYDANTIC = ("__dict__", "__pydantic_extra__", "__pydantic_private__")
"""Where a pydantic model keeps its fields, those that are not declared, and private ones."""


class _Difference(NamedTuple):
    """Where two values differ, from the root of both, and how."""

    place: str
    text: str


def check_exact(given: Any, again: Any, path: str) -> None:
    """Raise `InvalidValueError` naming the path of the first part that would come back as something else.

    A whole number where a float is declared comes back as that float: type checkers take one for the other.
    """
    found = _difference(given, again, 0)
    if found is not None:
        place = path + found.place
        raise InvalidValueError(f"{place}: {found.text}", path=place, hint=_HINT)


def _difference(given: Any, again: Any, depth: int) -> _Difference | None:
    kind = type(given)
    if kind is not type(again):
        is_number = kind is int and type(again) is float and given == again
        names = f"a {kind.__name__} would come back as a {type(again).__name__}"
        return None if is_number else _Difference("", names)
    if depth > MAX_DEPTH:
        return _Difference("", f"nested deeper than {MAX_DEPTH} levels")
    parts = _parts(kind, given, again)
    if parts is None:
        return None if _is_same(given, again) else _changed(given, again)
    for label, part, part_again in parts:
        of = type(part)
        if of is type(part_again) and of in _LEAVES and part == part_again and (part or of is not float):
            continue  # nearly all are; the rest of this costs several times as much
        found = _difference(part, part_again, depth + 1)
        if found is not None:
            return _Difference(f"{_step(label)}{found.place}", found.text)
    return None if not isinstance(given, Sized) or len(given) == len(again) else _changed(given, again)


def _parts(kind: type, given: Any, again: Any) -> Iterable[tuple[Any, Any, Any]] | None:
    """What a value consists of, each part with its name and its like; None for a value without parts."""
    if issubclass(kind, msgspec.Struct):
        return zip(kind.__struct_fields__, astuple(given), astuple(again), strict=True)
    if issubclass(kind, list | tuple):
        return zip(count(), given, again, strict=False)
    if issubclass(kind, dict):
        keys = zip(given, given, again, strict=False)
        return chain(keys, zip(given, given.values(), again.values(), strict=False))
    if issubclass(kind, set | frozenset):
        found = {member: member for member in again}
        return ((member, member, found.get(member)) for member in given)
    if dataclasses.is_dataclass(kind):
        names = [field.name for field in dataclasses.fields(kind)]
        return ((name, getattr(given, name, None), getattr(again, name, None)) for name in names)
    if hasattr(kind, "model_validate"):
        return (
            (None, getattr(given, name, None) or {}, getattr(again, name, None) or {}) for name in _PYDANTIC
        )
    return None


def _is_same(given: Any, again: Any) -> bool:
    if isinstance(given, float):
        if math.isnan(given):
            return math.isnan(again)
        return bool(given == again) and math.copysign(1, given) == math.copysign(1, again)
    if isinstance(given, datetime | time):
        zone = given.tzinfo
        is_same_zone = zone is None or zone.utcoffset(None) == again.utcoffset()
        return given == again and given.fold == again.fold and is_same_zone
    return bool(given == again)


def _changed(given: Any, again: Any) -> _Difference:
    return _Difference("", f"{given!r:.80} would come back as {again!r:.80}")


def _step(label: Any) -> str:
    """One step of a path: to an item, or to what has a name."""
    if label is None:
        return ""
    return f"[{label}]" if type(label) is int else f".{label!s:.80}"
