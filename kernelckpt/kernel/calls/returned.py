"""What functions say that they return: whether it can be kept, found out before they are called."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterator
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from msgspec import inspect as shape

from kernelckpt.codec.value import ValueCodec
from kernelckpt.errors import InvalidValueError

_PLAIN = (
    shape.AnyType,
    shape.NoneType,
    shape.BoolType,
    shape.IntType,
    shape.FloatType,
    shape.StrType,
    shape.BytesType,
    shape.ListType,
    shape.LiteralType,
    shape.TypedDictType,
)
"""What comes back from plain data as it was, with no type named."""

_PARTS = ("item_type", "item_types", "key_type", "value_type", "types", "fields", "type")
"""Where the description of a type keeps those that it consists of."""


def returned_by(fn: Callable[..., Any], name: str) -> ValueCodec:
    """What encodes and decodes the value that a function returns; plain data if it does not say.

    Raises:
        InvalidValueError: it says that it returns what cannot be kept.
    """
    hint = _declared(fn)
    parts = _shapes(hint)
    strange = [part.cls for part in parts if isinstance(part, shape.CustomType) and not _is_kept(part.cls)]
    if strange:
        raise _refusal(name, f"a {getattr(strange[0], '__name__', strange[0])} cannot be kept")
    if all(_is_plain(part) for part in parts):
        return ValueCodec()
    try:
        return ValueCodec(hint)
    except TypeError as error:
        raise _refusal(name, str(error)) from error


def declared_by(fn: Callable[..., Any]) -> ValueCodec:
    """What checks a value that somebody says a function has returned; anything if it does not say."""
    try:
        return ValueCodec(_declared(fn))
    except (TypeError, NotImplementedError, NameError, AttributeError):  # only a type checker can read it
        return ValueCodec()


def _refusal(name: str, why: str) -> InvalidValueError:
    path = f"the value of {name}"
    hint = "return plain data, a dataclass, a msgspec struct or a pydantic model, or declare no type"
    return InvalidValueError(f"{path}, as it is declared: {why}", path=path, hint=hint)


def _declared(fn: Callable[..., Any]) -> Any:
    try:
        hint = get_type_hints(fn).get("return", Any)
    except (NameError, TypeError, AttributeError):
        return Any
    while get_origin(hint) in {Awaitable, Coroutine}:
        hint = get_args(hint)[-1]
    return Any if hint is object else hint


def _shapes(hint: Any) -> list[Any]:
    """A type and all that it consists of, described; nothing of one that only a type checker can read."""
    try:
        return list(_parts(shape.type_info(hint)))
    except (TypeError, NotImplementedError, NameError, AttributeError):
        arms = get_args(hint) if get_origin(hint) in {Union, UnionType} else ()
        return [part for arm in arms for part in _shapes(arm)]


def _parts(info: Any, seen: frozenset[int] = frozenset()) -> Iterator[Any]:
    """The description of a type, and those of all that it consists of."""
    if id(info) in seen:
        return
    yield info
    for name in _PARTS:
        part = getattr(info, name, None)
        for each in part if isinstance(part, tuple) else (part,):
            if isinstance(each, shape.Type | shape.Field):
                yield from _parts(each, seen | {id(info)})


def _is_plain(info: Any) -> bool:
    if isinstance(info, shape.DictType):
        return isinstance(info.key_type, shape.StrType | shape.AnyType)
    is_open = isinstance(info, shape.CustomType) and info.cls is object
    return is_open or isinstance(info, (*_PLAIN, shape.UnionType, shape.Field, shape.Metadata))


def _is_kept(kind: Any) -> bool:
    """Whether a type that msgspec does not know is a pydantic model, or anything at all."""
    return kind is object or (isinstance(kind, type) and hasattr(kind, "model_validate"))
