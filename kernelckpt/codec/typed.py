"""Typed decoding: what a decoder says of wrong bytes becomes an error that names the place."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn, TypeVar

import msgspec

from kernelckpt.errors import DecodeError

T = TypeVar("T")


def refuse_ext(code: int, _data: memoryview) -> NoReturn:
    """Refuse an ext type in plain data; decoders ask for all but msgpack's own timestamp."""
    raise ValueError(f"ext type {code} is no plain data")


def decode_typed(decode: Callable[[bytes], T], data: bytes, path: str) -> T:
    """What `decode` makes of the bytes.

    Raises:
        DecodeError: they are not what it expects; the path begins with the one given.
    """
    try:
        return decode(data)
    except msgspec.ValidationError as error:
        text, _, inner = str(error).partition(" - at `")
        place = path + inner.rstrip("`").removeprefix("$")
        raise DecodeError(f"{place}: {text}", path=place) from error
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise DecodeError(f"{path}: {error}", path=path) from error
