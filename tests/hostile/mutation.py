"""Changes valid input as an attacker or a bad disk would: bytes, msgpack values, JSON data; all by a seed."""

from __future__ import annotations

import json
import struct
from random import Random
from typing import Any

import msgpack

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


def mutated_bytes(random: Random, data: bytes, others: list[bytes]) -> bytes:
    """Bytes like these, but not these: one to four changes."""
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        at = random.randrange(len(changed) + 1)
        length = random.choice((1, 1, 2, 8, 40))
        choice = random.randrange(8)
        if choice == 0 and at < len(changed):
            changed[at] ^= 1 << random.randrange(8)
        elif choice == 1 and at < len(changed):
            changed[at] = random.choice(
                (0x00, 0x7F, 0x80, 0x90, 0xC0, 0xC4, 0xDD, 0xDF, 0xFF, random.randrange(256))
            )
        elif choice == 2:
            del changed[at : at + length]
        elif choice == 3:
            changed[at:at] = changed[at : at + length]
        elif choice == 4:
            changed[at:at] = random.choice(BOMBS)
        elif choice == 5:
            changed[at : at + 4] = struct.pack(">I", random.choice((0, 1, 2**16, 2**31, 2**32 - 1)))
        elif choice == 6:
            other = random.choice(others)
            begin = random.randrange(len(other) + 1)
            changed[at : at + length] = other[begin : begin + length]
        else:
            del changed[at:]
    return bytes(changed)


def mutated_msgpack(random: Random, data: bytes) -> bytes | None:
    """A msgpack value with some of its parts replaced, doubled or left out; None when it is no such value."""
    try:
        value = msgpack.unpackb(data, strict_map_key=False)
        return bytes(msgpack.packb(mutated(random, value, ODD)))
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException):
        return None


def mutated(random: Random, value: Any, odd: tuple[Any, ...]) -> Any:
    """A copy of plain data with one to three parts changed; most of it is shared with the original."""
    for _ in range(random.choice((1, 1, 2, 3))):
        value = _changed(random, value, odd)
    return value


def _changed(random: Random, value: Any, odd: tuple[Any, ...]) -> Any:
    inner = value and isinstance(value, list | dict)
    if not inner or random.random() < 0.08:
        return random.choice(odd)
    if isinstance(value, list):
        return _changed_list(random, value, odd)
    changed = dict(value)
    key = random.choice(list(changed))
    choice = random.randrange(20)
    if choice == 0:
        del changed[key]
    elif choice == 1:
        changed[random.choice(("", "x", "kind", "type", "ü", key))] = random.choice(odd)
    elif choice == 2:
        changed[key] = random.choice(list(changed.values()))
    else:
        changed[key] = _changed(random, changed[key], odd)
    return changed


def _changed_list(random: Random, value: list[Any], odd: tuple[Any, ...]) -> list[Any]:
    changed = list(value)
    at = random.randrange(len(changed))
    choice = random.randrange(20)
    if choice == 0:
        del changed[at]
    elif choice == 1:
        changed.insert(at, random.choice(odd))
    elif choice == 2:
        changed.insert(at, changed[at])
    else:
        changed[at] = _changed(random, changed[at], odd)
    return changed


def json_text(random: Random, value: Any) -> str | bytes:
    """JSON data as text, and now and then text that is damaged, or says a key twice."""
    text = json.dumps(value)
    choice = random.randrange(6)
    if choice == 0:
        return mutated_bytes(random, text.encode(), [text.encode()])
    if choice == 1 and "{" in text:
        at = text.index("{", random.randrange(text.rindex("{") + 1)) + 1
        return text[:at] + '"turn":1,"turn":2,' + text[at:]
    if choice == 2:
        at = random.randrange(len(text))
        return text[:at] + "[" * random.choice((2, 100_000)) + text[at:]
    return text
