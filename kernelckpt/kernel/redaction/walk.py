"""Taking secrets out of records and plain data: whatever holds none stays the very object it was."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Any

import msgspec
from msgspec.structs import replace

from kernelckpt.codec.plain import MAX_DEPTH
from kernelckpt.errors import InvalidValueError
from kernelckpt.kernel.redaction.identity import ENCODED, IDENTITIES
from kernelckpt.kernel.redaction.redaction import Redaction

_NESTS = frozenset({*range(0x80, 0xC0), 0xC4, 0xC5, 0xC6, *range(0xD9, 0xE0)})
"""First bytes of what holds text or bytes in msgpack."""


class Walk:
    """Walks through data. Texts, keys and bytes are searched; numbers and labels are not."""

    def __init__(self, redaction: Redaction, *, refuses: bool) -> None:
        """`refuses`: whether a secret in an identity is an error, rather than none of its business."""
        self._redaction = redaction
        self._refuses = refuses

    def value(self, value: Any, path: str, depth: int = 0) -> Any:
        """The value without secrets.

        Raises:
            InvalidValueError: an identity holds one; names the path below the one given.
        """
        if isinstance(value, str):
            return value if isinstance(value, Enum) else self._redaction.text(value)
        if isinstance(value, bytes):
            return self._bytes(value, path, depth)
        if isinstance(value, bytearray | memoryview):  # in a draft: state holds neither
            data = bytes(value)
            made = self._bytes(data, path, depth)
            return value if made is data else made
        if isinstance(value, msgspec.Struct):
            return self._struct(value, path, depth)
        if isinstance(value, dict):
            return self._dict(value, path, depth)
        if isinstance(value, list | tuple):
            items = [self.value(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(value)]
            same = all(new is old for new, old in zip(items, value, strict=True))
            return value if same else type(value)(items)
        return value

    def encoded(self, data: bytes, path: str, depth: int = 0) -> bytes:
        """The bytes of a value in msgpack without secrets."""
        if not data:
            return data
        plain = msgspec.msgpack.decode(data)
        made = self.value(plain, path, depth)
        return data if made is plain else msgspec.msgpack.encode(made)

    def _struct(self, record: msgspec.Struct, path: str, depth: int) -> msgspec.Struct:
        kind = type(record)
        identities, encoded = IDENTITIES.get(kind, ()), ENCODED.get(kind, ())
        changed = {}
        for name in kind.__struct_fields__:
            old = getattr(record, name)
            place = f"{path}.{name}" if path else name
            if name in identities:
                if self._refuses:
                    self.refuse(old, place)
                continue
            new = self.encoded(old or b"", place) or old if name in encoded else self.value(old, place, depth)
            if new is not old:
                changed[name] = new
        return replace(record, **changed) if changed else record

    def _dict(self, value: dict[Any, Any], path: str, depth: int) -> dict[Any, Any]:
        made: dict[Any, Any] = {}
        is_same = True
        for key, item in value.items():
            new_key = self.value(key, path, depth)
            new = self.value(item, f"{path}.{new_key}", depth + 1)
            if new_key is not key:
                new_key = _free(new_key, made, value)
            is_same = is_same and new_key is key and new is item
            made[new_key] = new
        return value if is_same else made

    def _bytes(self, data: bytes, path: str, depth: int) -> bytes:
        """Bytes of a user: walked through if they are msgpack as a whole; searched as text in any case."""
        found = data
        if data and data[0] in _NESTS and depth < MAX_DEPTH:
            try:
                found = self.encoded(data, path, depth + 1)
            except (msgspec.DecodeError, ValueError, RecursionError):
                found = data  # it only looked like msgpack
        text = found.decode("utf-8", "surrogateescape")
        made = self._redaction.text(text)
        return found if made is text else made.encode("utf-8", "surrogateescape")

    def refuse(self, value: Any, path: str) -> None:
        """Raise `InvalidValueError` if a text, or one of several, holds a secret."""
        if isinstance(value, str):
            name = self._redaction.name_in(value)
            if name is not None:
                hint = "ids, names, keys and labels are not rewritten: keep secrets out of them"
                raise InvalidValueError(f"{path}: holds the secret {name}", path=path, hint=hint)
        elif isinstance(value, Iterable) and not isinstance(value, bytes):
            for index, item in enumerate(value):
                self.refuse(item, f"{path}[{index}]")


def _free(key: Any, made: dict[Any, Any], old: dict[Any, Any]) -> Any:
    """A key that takes no other's place: two that differed in their secrets only are numbered."""
    number, free = 1, key
    while free in made or free in old:
        number += 1
        suffix = f" ({number})"
        free = key + (suffix if isinstance(key, str) else suffix.encode())
    return free
