"""Values that a program may try to keep, many of which plain data has not; and what tells two apart."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import struct
import uuid
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

import msgspec
import pydantic
from hypothesis import strategies as st

from kernelckpt.codec.plain import MAX_DEPTH


class Text(str):  # noqa: SLOT000 - a subclass is what it is for
    """Text, but not `str`."""


class Number(int):
    """A number, but not `int`."""


class Colour(enum.Enum):
    """Labels."""

    RED = "red"


class Shade(enum.StrEnum):
    """Labels that are text."""

    DARK = "dark"


class Level(enum.IntEnum):
    """Labels that are numbers."""

    LOW = 1


ZONES = st.sampled_from([None, dt.UTC, dt.timezone(dt.timedelta(hours=2)), dt.timezone.min])
TEXTS = st.text(max_size=4) | st.sampled_from(
    ["\ud800", "a\udfff", "\x00", "e\u0301", "\u00e9", "$bytes", "1"]
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**66), 2**66),
    st.floats() | st.sampled_from([-0.0, float("nan"), float("inf"), 1.0]),
    TEXTS,
    st.binary(max_size=3),
    st.datetimes(timezones=ZONES),
    st.sampled_from(
        [
            *(Text("a"), Number(3), Colour.RED, Shade.DARK, Level.LOW, bytearray(b"a"), memoryview(b"a")),
            *(decimal.Decimal("1.0"), uuid.UUID(int=1), dt.date(2020, 1, 1), 10**400, 1j, range(2)),
            *(dt.timedelta(1), dt.time(1), object, ..., NotImplemented),
        ]
    ),
)
KEYS = st.one_of(TEXTS, st.sampled_from([1, 1.0, True, None, "1", "True", b"1", (1,), Text("a"), Shade.DARK]))
ANY = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=2).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=3)
        | st.frozensets(st.integers(0, 3) | TEXTS, max_size=2)
        | st.sets(st.integers(0, 3), max_size=2)
    ),
    max_leaves=5,
)


def nested(levels: int) -> Any:
    """A list in a list in a list."""
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


VALUES = (
    ANY | st.integers(MAX_DEPTH - 2, MAX_DEPTH + 2).map(nested) | st.sampled_from([300, 5000]).map(nested)
)


class Kept(msgspec.Struct):
    """What a program keeps as a msgspec struct."""

    loose: Any = None
    numbers: tuple[int, ...] = ()
    by_number: dict[int, str] = {}
    share: float = 0.0
    at: dt.datetime | None = None
    seen: set[int] = set()
    colour: Colour = Colour.RED


class Child(Kept):
    """One that the declared type knows nothing of."""

    more: int = 0


@dataclass
class Data:
    """What a program keeps as a dataclass."""

    loose: Any = None
    names: list[str] = field(default_factory=list)
    share: float = 0.0
    price: decimal.Decimal = decimal.Decimal(0)


class Model(pydantic.BaseModel):
    """What a program keeps as a pydantic model."""

    loose: Any = None
    numbers: tuple[int, ...] = ()
    by_number: dict[int, str] = {}
    raw: bytes = b""
    at: dt.datetime | None = None
    hidden: int = pydantic.Field(0, exclude=True)
    _private: int = 0


def _model(private: int, **values: Any) -> Model:
    made = Model(**values)
    made._private = private
    return made


GOOD = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=4,
)
SEVERAL = st.lists(st.integers(0, 3), max_size=2)
BY_NUMBER = st.dictionaries(st.integers(0, 3), st.text(max_size=2), max_size=2)
SHARES = st.floats(-2, 2) | st.integers(-3, 3)
TIMES = st.datetimes(timezones=st.just(dt.UTC))


def _keeping(cls: Any, good: dict[str, Any], odd: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Objects of a class all of whose fields are good, or all but one."""
    wrong = [st.builds(cls, **good | {name: values}) for name, values in odd.items()]
    return st.one_of(st.builds(cls, **good), st.builds(cls, **good), *wrong)


TYPED: dict[Any, st.SearchStrategy[Any]] = {
    None: VALUES,
    Kept: _keeping(
        Kept,
        {
            "loose": GOOD,
            "numbers": SEVERAL.map(tuple),
            "by_number": BY_NUMBER,
            "share": SHARES,
            "at": TIMES,
            "seen": SEVERAL.map(set),
        },
        {
            "loose": VALUES,
            "numbers": SEVERAL,
            "by_number": st.dictionaries(st.booleans(), st.text(max_size=2), max_size=2),
            "share": st.sampled_from([2**53 + 1, True, Level.LOW, "1.0", float("nan"), -0.0]),
            "at": st.datetimes(timezones=ZONES),
            "seen": SEVERAL.map(frozenset),
        },
    )
    | st.builds(Child, more=st.integers(0, 1)),
    Data: _keeping(
        Data,
        {"loose": GOOD, "names": st.lists(st.text(max_size=2), max_size=2), "share": SHARES},
        {"loose": VALUES, "names": st.lists(TEXTS | st.just(Text("a")), max_size=2)},
    ),
    Model: _keeping(
        _model,
        {"private": st.just(0), "loose": GOOD, "numbers": SEVERAL, "by_number": BY_NUMBER, "at": TIMES},
        {
            "loose": VALUES,
            "raw": st.binary(max_size=2),
            "at": st.datetimes(timezones=ZONES),
            "hidden": st.integers(0, 1),
            "private": st.integers(0, 1),
        },
    ),
    dict[str, Any]: st.dictionaries(st.text(max_size=2), GOOD) | st.dictionaries(KEYS, VALUES, max_size=2),
    tuple[int, ...]: SEVERAL.map(tuple) | SEVERAL,
}
"""Values to try for each declared type; None stands for plain data."""


def facts(value: Any, declared: type | None = None) -> Any:
    """All that tells a value from another, to the type of every part, as something to be compared.

    A whole number in a field that is declared a float is that float.
    """
    kind = type(value)
    if kind is float or (kind is int and declared is float and value == float(value)):
        return float, "nan" if value != value else struct.pack(">d", value)  # noqa: PLR0124 - only NaN is not
    if isinstance(value, list | tuple):
        return kind, [facts(item) for item in value]
    if isinstance(value, dict):
        return kind, [(facts(key), facts(item)) for key, item in value.items()]
    if isinstance(value, set | frozenset):
        return kind, sorted(map(repr, map(facts, value)))
    if isinstance(value, dt.datetime):
        return kind, value.isoformat(), value.fold
    if isinstance(value, msgspec.Struct):
        return kind, [facts(getattr(value, name), _type_of(kind, name)) for name in kind.__struct_fields__]
    if is_dataclass(value) and not isinstance(value, type):
        return kind, [facts(getattr(value, part.name), _type_of(kind, part.name)) for part in fields(value)]
    if isinstance(value, pydantic.BaseModel):
        return kind, facts(value.__dict__), facts(value.__pydantic_private__)
    return kind, repr(value)


def _type_of(kind: type, name: str) -> type | None:
    return float if name == "share" and "share" in kind.__annotations__ | Kept.__annotations__ else None
