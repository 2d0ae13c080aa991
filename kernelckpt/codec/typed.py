"""Typed decoding: what a decoder says of wrong bytes becomes an error that names the place."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn, TypeVar

import msgspec

from kernelckpt.errors import DecodeError
from kernelckpt.model.misfit import place_and_text, text_without_value

T = TypeVar("T")

MISFITS = (msgspec.MsgspecError, ValueError, RecursionError)
"""What a decoder raises on bytes that are not what it expects."""


def refuse_ext(code: int, _data: memoryview) -> NoReturn:
    """Refuse an ext type in plain data; decoders ask for all but msgpack's own timestamp."""
    raise ValueError(f"ext type {code} is no plain data")


def decode_typed(decode: Callable[[bytes], T], data: bytes, path: str, *, is_ours: bool = True) -> T:
    """What `decode` makes of the bytes.

    Args:
        decode: makes a value of bytes.
        data: the bytes.
        path: the path of the value.
        is_ours: whether the value is of a type of this package.

    Raises:
        DecodeError: they are not what it expects; the path begins with the one given. It names the place and
            repeats nothing of what is there but labels of our own, and neither does a cause; what a type of
            the user's says in its `__post_init__` is its word.
    """
    try:
        return decode(data)
    except MISFITS as error:
        raise misfit(error, path, is_ours=is_ours)  # noqa: B904 - it has its cause


def misfit(error: Exception, path: str, *, is_ours: bool = True) -> DecodeError:
    """What to raise for what a decoder has raised; see `decode_typed`."""
    if isinstance(error, msgspec.ValidationError):
        inner, text = place_and_text(error, is_ours=is_ours)
        found = DecodeError(f"{path}{inner}: {text}", path=path + inner)
        found.__cause__ = error.__cause__
    else:
        text = text_without_value(error)
        found = DecodeError(f"{path}: {text}", path=path)
        found.__cause__ = error if text == str(error) else None
    return found
