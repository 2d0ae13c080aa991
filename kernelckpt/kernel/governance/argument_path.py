"""Dotted paths into the arguments of a call, with the reach of JSON pointers."""

from __future__ import annotations

from typing import Any


def keys_of(path: str) -> tuple[str, ...]:
    """The keys of a dotted path: dots are the slashes of a JSON pointer, `~1` a slash, `~0` a tilde."""
    pointer = path.replace(".", "/")
    return tuple(key.replace("~1", "/").replace("~0", "~") for key in pointer.split("/"))


def value_at(arguments: Any, keys: tuple[str, ...]) -> Any:
    """The value under the keys, one in the other; None when there is none.

    In a list, a key is an index from 0 in plain digits.
    """
    value = arguments
    for key in keys:
        if isinstance(value, dict):
            value = value.get(key)
        elif isinstance(value, list | tuple):
            value = _item(value, key)
        else:
            return None
    return value


def _item(items: list[Any] | tuple[Any, ...], key: str) -> Any:
    is_index = key.isascii() and key.isdigit() and (key == "0" or not key.startswith("0"))
    if not is_index or len(key) > len(str(len(items))):
        return None
    index = int(key)
    return items[index] if index < len(items) else None
