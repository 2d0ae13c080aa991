"""Reading a provider's JSON: faults name their place, and nothing that is there is left out unnoticed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from kernelckpt.errors import DecodeError, ProviderError

_LARGEST = 2**32 - 1
_NOTHING: tuple[Any, ...] = (None, False, "", [], {})
"""What says no more than a field that is not there."""


def incomplete() -> ProviderError:
    """The error of a stream that has ended before the reply did."""
    text = "the stream has ended before the reply did"
    return ProviderError(text, kind="incomplete", hint="make the call again")


def misfit(path: str, text: str, *, hint: str = "") -> DecodeError:
    """The error that says what is wrong with what is at a place."""
    return DecodeError(f"{path}: {text}", path=path, hint=hint)


class Fields:
    """The fields of one JSON object, taken out by name and type; what is left over can be asked for.

    Methods raise `DecodeError` for what is not of its type.
    """

    def __init__(self, value: Any, path: str) -> None:
        """`path` is where the object is."""
        if not isinstance(value, Mapping):
            raise misfit(path, f"a {type(value).__name__}, not an object")
        self.path = path
        self._left = dict(value)

    def at(self, name: str) -> str:
        """The place of a field."""
        return f"{self.path}.{name}" if self.path else name

    def take(self, name: str) -> Any:
        """What a field holds, whatever it is; None for one that is not there."""
        return self._left.pop(name, None)

    def text(self, name: str, default: str | None = None) -> str:
        """A text; without a default it must be there."""
        value = self.take(name)
        if value is None and default is not None:
            return default
        return checked_text(value, self.at(name))

    def count(self, name: str, default: int | None = None) -> int:
        """A number of tokens or of a place, a whole one of 32 bits; without a default it must be there."""
        value = self.take(name)
        if value is None and default is not None:
            return default
        if type(value) is not int or not 0 <= value <= _LARGEST:
            raise misfit(
                self.at(name), f"not a whole number from 0 to {_LARGEST}" if value is not None else "missing"
            )
        return value

    def fields(self, name: str) -> Fields:
        """An object, which must be there."""
        value = self.take(name)
        if value is None:
            raise misfit(self.at(name), "missing")
        return Fields(value, self.at(name))

    def maybe(self, name: str) -> Fields:
        """An object, empty if it is not there."""
        value = self.take(name)
        return Fields({} if value is None else value, self.at(name))

    def items(self, name: str) -> list[tuple[str, Any]]:
        """The items of a list with their places; none if it is not there."""
        value = self.take(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise misfit(self.at(name), f"a {type(value).__name__}, not a list")
        return [(f"{self.at(name)}[{index}]", item) for index, item in enumerate(value)]

    def refuse_rest(self, ignore: Collection[str] = ()) -> None:
        """Raise `DecodeError` if there is more than was taken, and it says anything."""
        for name, value in self._left.items():
            if name not in ignore and value not in _NOTHING:
                hint = f"to go on without it, say so: ignore=({name!r},)"
                raise misfit(self.at(name), "cannot be kept in a message", hint=hint)

    def raise_error(self) -> None:
        """Raise `ProviderError` if this is an error for an answer."""
        error = self._left.get("error")
        if error is None:
            return
        if not isinstance(error, Mapping):
            raise ProviderError(f"the provider answered: {error}")
        kind = str(error.get("type") or error.get("code") or "")
        raise ProviderError(f"the provider answered: {error.get('message') or kind}", kind=kind)


def checked_text(value: Any, path: str) -> str:
    """A text that can be kept."""
    if not isinstance(value, str):
        raise misfit(path, "missing" if value is None else f"a {type(value).__name__}, not text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise misfit(path, f"text with a lone surrogate at {error.start}") from None
    return value
