"""Values of declared types: kept exactly, or refused by the path of what would come back otherwise."""

import datetime as dt
import enum
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pydantic
import pytest

from kernelckpt.codec.value import ValueCodec
from kernelckpt.errors import InvalidValueError


class Shade(enum.StrEnum):
    DARK = "dark"


class State(msgspec.Struct):
    any: Any = None
    share: float = 0.0
    pair: tuple[int, int] = (0, 0)
    at: dt.datetime | None = None
    parts: list["State"] = []


class More(State):
    more: int = 1


@dataclass
class Data:
    any: Any = None
    counted: int = field(default=0, init=False)


class Model(pydantic.BaseModel):
    any: Any = None
    raw: bytes = b""
    hidden: int = pydantic.Field(0, exclude=True)
    _private: int = 0


def private():
    made = Model()
    made._private = 1
    return made


EAST = dt.timezone(dt.timedelta(hours=2))
REFUSED = [
    (State, State({"a": [1, (2,)]}), "state.any.a[1]", "a tuple would come back as a list"),
    (State, State({1: {Shade.DARK: 1}}), "state.any[1].dark", "a Shade would come back as a str"),
    (State, State(any={1}), "state.any", "a set would come back as a list"),
    (State, State(pair=[1, 2]), "state.pair", "a list would come back as a tuple"),
    (State, State(share=2**53 + 1), "state.share", "a int would come back as a float"),
    (State, State(parts=[State(), More()]), "state.parts[1]", "a More would come back as a State"),
    (State, More(), "state", "a More would come back as a State"),
    (State, State(at=dt.datetime(2020, 1, 1, tzinfo=EAST)), "state.at", "would come back as"),
    (State, State(at=dt.datetime(2020, 1, 1, tzinfo=ZoneInfo("Europe/London"))), "state.at", "would come"),
    (State, State(at=dt.datetime(2020, 1, 1, fold=1)), "state.at", "would come back as"),
    (Data, Data(any=dt.datetime(2020, 1, 1)), "state.any", "a datetime would come back as a str"),
    (Model, Model(any={1: 2}), "state.any[1]", "a int would come back as a str"),
    (Model, Model(any=float("nan")), "state.any", "a float would come back as a NoneType"),
    (Model, Model(raw=b"\xff"), "state", "can't decode"),
    (Model, Model(hidden=1), "state.hidden", "1 would come back as 0"),
    (Model, private(), "state._private", "1 would come back as 0"),
    (dict[str, Any], {"a": (1,)}, "state.a", "a tuple would come back as a list"),
]
KEPT = [
    (State, State(share=1)),
    (State, State(share=-0.0, pair=(1, 2), parts=[State({1: {"1": 2}})])),
    (State, State(at=dt.datetime(2020, 1, 1, tzinfo=dt.UTC))),
    (State, State(at=dt.datetime(2020, 1, 1, tzinfo=ZoneInfo("UTC")))),
    (State, State(at=dt.datetime(2020, 1, 1))),
    (Data, Data([1.5, None])),
    (Model, Model(any=[1], raw=b"ok")),
    (dict[str, set[int]], {"a": {1, 2}}),
]


@pytest.mark.parametrize(("declared", "value", "path", "why"), REFUSED)
def test_what_would_come_back_as_something_else_is_refused(declared, value, path, why):
    with pytest.raises(InvalidValueError, match=why) as caught:
        ValueCodec(declared).encode(value, "state")
    assert caught.value.path == path
    assert caught.value.hint


@pytest.mark.parametrize(("declared", "value"), KEPT)
def test_what_comes_back_is_what_was_given(declared, value):
    codec = ValueCodec(declared)
    assert codec.decode(codec.encode(value, "state"), "state") == value


def test_nan_and_its_sign_come_back():
    codec = ValueCodec(State)
    assert (
        str(codec.decode(codec.encode(State(any=[float("nan"), -0.0]), "state"), "state").any)
        == "[nan, -0.0]"
    )


@pytest.mark.parametrize(("levels", "is_kept"), [(40, True), (130, False)])
def test_typed_values_nest_as_deep_as_plain_ones(levels, is_kept):
    state = State()
    for _ in range(levels):
        state = State(parts=[state])
    if is_kept:
        ValueCodec(State).encode(state, "state")
    else:
        with pytest.raises(InvalidValueError, match="deeper than 128"):
            ValueCodec(State).encode(state, "state")
