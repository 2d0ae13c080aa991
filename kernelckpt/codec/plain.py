"""Plain data: the values that survive a round trip through msgpack exactly."""

from __future__ import annotations

from typing import Any

from kernelckpt.errors import InvalidValueError

MAX_DEPTH = 128
"""How deep plain data may nest; deeper values are refused before they are written."""

_INT_MIN, _INT_MAX = -(2**63), 2**64 - 1
_HINT = "use None, bool, int, float, str, bytes, lists and dicts with text keys, or declare a type for it"


def check_plain(value: Any, path: str, depth: int = 0) -> None:
    """Raise `InvalidValueError` naming the path of the first thing msgpack would refuse or change.

    Tuples, sets, dates, subclasses and whole numbers beyond 64 bits are refused: a restore would give
    back something else.
    """
    kind = type(value)
    if value is None or kind in {bool, float, bytes}:
        return
    if kind is str:
        _check_text(value, path)
    elif kind is int:
        if not _INT_MIN <= value <= _INT_MAX:
            message = f"{path}: a whole number that does not fit into 64 bits"
            raise InvalidValueError(message, path=path, hint=_HINT)
    elif depth >= MAX_DEPTH:
        raise InvalidValueError(
            f"{path}: nested deeper than {MAX_DEPTH} levels", path=path, hint="flatten it"
        )
    elif kind is list:
        for index, item in enumerate(value):
            check_plain(item, f"{path}[{index}]", depth + 1)
    elif kind is dict:
        _check_dict(value, path, depth)
    else:
        raise InvalidValueError(f"{path}: a {kind.__name__} cannot be kept", path=path, hint=_HINT)


def _check_text(value: str, path: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        message = f"{path}: text with a lone surrogate at {error.start}"
        raise InvalidValueError(message, path=path, hint="encode it with errors='replace' first") from error


def _check_dict(value: dict[Any, Any], path: str, depth: int) -> None:
    for key, item in value.items():
        if type(key) is not str:
            message = f"{path}: a key is a {type(key).__name__}, not text"
            raise InvalidValueError(message, path=path, hint=_HINT)
        _check_text(key, path)
        check_plain(item, f"{path}.{key}", depth + 1)
