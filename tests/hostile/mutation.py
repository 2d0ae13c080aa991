"""Changes valid input as an attacker or a bad disk would: bytes, msgpack values, JSON data; all by a seed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

import msgpack
from msgspec.msgpack import Encoder

Pick: TypeAlias = Callable[[], float]
"""The next of some random numbers, from 0 up to 1: `Random(seed).random`, the cheapest there is."""

T = TypeVar("T")
_encode = Encoder().encode

BOMBS = (
    b"\xdd\xff\xff\xff\xff",  # an array of 2^32 - 1 items
    b"\xdf\xff\xff\xff\xff",  # a map of as many
    b"\xdb\xff\xff\xff\xff",  # a text of 4 GiB
    b"\xc6\xff\xff\xff\xff",  # bytes of 4 GiB
    b"\xc9\xff\xff\xff\xff\x05",  # an ext of 4 GiB, and one byte more
    b"\x91" * 3000,
    b"\x81\xa1a" * 3000,
    b"\xdd\x00\x0f\xff\xff" * 200,  # arrays within arrays, each of a million
    b"\xd4\x05a",  # an ext
    b"\xd5\xffab",  # a timestamp of a wrong length
    b"\xc7\x0c\xff\x00\x00\x00\x00\x7f" + b"\xff" * 7,  # one beyond all years
    b"\xd6\xff\x00\x00\x00\x01",  # a timestamp
    b"\x82\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00\x01\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00\x02",  # NaN, twice
    b"\x82\xa1a\x01\xa1a\x02",  # a key twice
    b"\x81\x81\x01\x01\x02",  # a map as key
    b"\xa3\xed\xa0\x80",  # a lone surrogate
    b"\xc1",
    b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00",
    b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00",
)
"""Pieces of msgpack that cost much, say more than is there, or are no plain data."""


HEADS = (0x00, 0x7F, 0x80, 0x90, 0xC0, 0xC4, 0xDD, 0xDF, 0xFF)
"""First bytes of msgpack values of all sorts."""


def _deep(levels: int) -> Any:
    value: Any = None
    for _ in range(levels):
        value = [value]
    return value


ODD: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    1,
    -1,
    2**31,
    2**53,
    2**63 - 1,
    2**63,
    2**64 - 1,
    -(2**63),
    0.0,
    -0.0,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "a",
    "none",
    "\x00",
    "ä" * 300,
    b"",
    b"\xff" * 16,
    [],
    {},
    [[]],
    {"": None},
    {"kind": "done"},
    {"$bytes": "!"},
    {"$$bytes": 1},
)
"""Values that a field may not expect."""

ODDER: tuple[Any, ...] = (
    2**64,
    -(2**70),
    10**400,
    "\ud800",
    _deep(300),
    _deep(5000),
    {1: 2},
    (1,),
    object(),
    {None: 1},
)
"""Such as can be in Python's data but not in msgpack."""

PIECES = (
    *("/", "\\", "..", "../", "/../../etc/passwd", ".", "~", "~root", ":", "::", "//", "@", "@@", "@7"),
    *("%", "%2F", "%2e%2e%2f", "%00", "%ff", "%zz", "?", "#", "*", "$(id)", "`id`", ";", "|", "'", '"'),
    *("\0", "\n", "\r\n", "\t", "\x1b[2J", "\x7f", "\x85", "\u2028", "\u202e", "\ufeff", " ", "\u3000"),
    *("e\u0301", "\u00e9", "\u212b", "\ufb01", "\u0131", "\u0130", "\u00df", "\u1e9e", "\u0663", "\u00b2"),
    *("\ud800", "\udcff", "\udfff", "\U0001f600", "\U0010ffff", "x" * 300, "\u00e4" * 130, "../" * 90),
    *("CON", "nul.txt", "COM1", "LPT9.", "aux", "seg.1.1", "owner.1", "blob.x", "head", "run", "kernelckpt"),
    *("-", "--", "--json", "-n", "0", "-1", "9" * 30, "1e9", "0x10", "memory:", "file:", "s3://", "FILE:"),
)
"""Pieces of names, paths and URLs that have gone wrong somewhere: traversals, escapes, look-alikes."""

_CHANGES = (1, 1, 1, 2, 4)
_LENGTHS = (1, 1, 2, 8, 40)
_SIZES = tuple(size.to_bytes(4, "big") for size in (0, 1, 2**16, 2**31, 2**32 - 1))
_KEYS = ("", "x", "kind", "type", "ü")


def one_of(pick: Pick, options: Sequence[T]) -> T:
    """One of these."""
    return options[int(pick() * len(options))]


def mutated_bytes(pick: Pick, data: bytes, others: Sequence[bytes]) -> bytes:
    """Bytes like these, but not these: one to four changes."""
    changed = bytearray(data)
    for _ in range(one_of(pick, _CHANGES)):
        at = int(pick() * (len(changed) + 1))
        choice = int(pick() * 8)
        if choice == 0 and at < len(changed):
            changed[at] ^= 1 << int(pick() * 8)
        elif choice == 1 and at < len(changed):
            changed[at] = one_of(pick, HEADS) if pick() < 0.9 else int(pick() * 256)
        elif choice == 2:
            del changed[at : at + one_of(pick, _LENGTHS)]
        elif choice == 3:
            changed[at:at] = changed[at : at + one_of(pick, _LENGTHS)]
        elif choice == 4:
            changed[at:at] = one_of(pick, BOMBS)
        elif choice == 5:
            changed[at : at + 4] = one_of(pick, _SIZES)
        elif choice == 6:
            other, length = one_of(pick, others), one_of(pick, _LENGTHS)
            begin = int(pick() * (len(other) + 1))
            changed[at : at + length] = other[begin : begin + length]
        else:
            del changed[at:]
    return bytes(changed)


def binary(seeds: Sequence[bytes]) -> Callable[[Pick, bytes], bytes]:
    """Mutates bytes as bytes, or as the msgpack values that they are."""
    values = {seed: _values_in(seed) for seed in seeds}

    def mutate(pick: Pick, data: bytes) -> bytes:
        found = values[data]
        if found is None or pick() < 0.4:
            return mutated_bytes(pick, data, seeds)
        changed = mutated(pick, found, ODD)
        return b"".join(map(_encode, changed if type(changed) is list else [changed]))

    return mutate


def _values_in(data: bytes) -> list[Any] | None:
    """The msgpack values of which these bytes consist; None when they do not."""
    unpacker = msgpack.Unpacker(strict_map_key=False)
    unpacker.feed(data)
    try:
        values = list(unpacker)
    except (ValueError, TypeError, msgpack.UnpackException):
        return None
    return values if unpacker.tell() == len(data) else None


def mutated(pick: Pick, value: Any, odd: Sequence[Any]) -> Any:
    """A copy of plain data with one to three parts changed; most of it is shared with the original."""
    for _ in range(one_of(pick, (1, 1, 2, 3))):
        value = _changed(pick, value, odd)
    return value


def _changed(pick: Pick, value: Any, odd: Sequence[Any]) -> Any:
    inner = value and type(value) in {list, dict}
    if not inner or pick() < 0.08:
        return one_of(pick, odd)
    if type(value) is list:
        return _changed_list(pick, value, odd)
    changed = dict(value)
    key = one_of(pick, list(changed))
    choice = int(pick() * 20)
    if choice == 0:
        del changed[key]
    elif choice == 1:
        changed[one_of(pick, (*_KEYS, key))] = one_of(pick, odd)
    elif choice == 2:
        changed[key] = one_of(pick, list(changed.values()))
    else:
        changed[key] = _changed(pick, changed[key], odd)
    return changed


def _changed_list(pick: Pick, value: list[Any], odd: Sequence[Any]) -> list[Any]:
    changed = list(value)
    at = int(pick() * len(changed))
    choice = int(pick() * 20)
    if choice == 0:
        del changed[at]
    elif choice == 1:
        changed.insert(at, one_of(pick, odd))
    elif choice == 2:
        changed.insert(at, changed[at])
    else:
        changed[at] = _changed(pick, changed[at], odd)
    return changed


def json_text(pick: Pick, value: Any) -> str | bytes:
    """JSON data as text, and now and then text that is damaged, or says a key twice."""
    text = json.dumps(value)
    choice = int(pick() * 6)
    if choice == 0:
        return mutated_bytes(pick, text.encode(), [text.encode()])
    if choice == 1 and "{" in text:
        at = text.index("{", int(pick() * (text.rindex("{") + 1))) + 1
        return text[:at] + '"turn":1,"turn":2,' + text[at:]
    if choice == 2:
        at = int(pick() * len(text))
        return text[:at] + "[" * (100_000 if pick() < 0.1 else 2) + text[at:]
    return text


def mutated_text(pick: Pick, text: str) -> str:
    """Text like this, with one to four pieces put in, doubled, or taken out."""
    for _ in range(one_of(pick, _CHANGES)):
        at, length = int(pick() * (len(text) + 1)), one_of(pick, _LENGTHS)
        choice = int(pick() * 4)
        if choice == 0:
            text = text[:at] + text[at + length :]
        elif choice == 1:
            text = text[:at] + text[at : at + length] + text[at:]
        else:
            text = text[:at] + one_of(pick, PIECES) + text[at:]
    return text
