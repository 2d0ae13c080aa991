"""What tools say of their arguments and values: schemas for models, checks before calls, types kept."""

import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Literal

import anyio
import msgspec
import pydantic
import pytest
from effect_kit import World, crashed, restarted, run
from kernel_kit import kernel_of

from kernelckpt import CheckpointHook, MemoryStorage, Message, ToolCall, tool
from kernelckpt.errors import EffectError, InvalidValueError


@dataclass
class Point:
    x: int
    y: int = 0


class Quote(pydantic.BaseModel):
    price: float


class Basket(pydantic.BaseModel):
    quotes: list[Quote]


class Item(msgspec.Struct, frozen=True):
    name: str


# schemas


def test_the_schema_of_a_tool_comes_from_its_annotations():
    @tool
    def order(
        item: Annotated[str, msgspec.Meta(description="what to order", min_length=1)],
        amount: int = 1,
        *,
        size: Literal["s", "m"] = "m",
        idempotency_key: str = "",
    ) -> str:
        """Order something."""

    assert (order.name, order.description) == ("order", "Order something.")
    assert order.schema == {
        "type": "object",
        "properties": {
            "item": {"type": "string", "minLength": 1, "description": "what to order"},
            "amount": {"type": "integer", "default": 1},
            "size": {"enum": ["m", "s"], "default": "m"},
        },
        "required": ["item"],
        "additionalProperties": False,
    }


def test_the_schema_of_a_model_within_an_argument_can_be_looked_up():
    @tool
    def buy(basket: Basket, at: Point | None = None, **more):
        """Buy."""

    schema = buy.schema
    assert schema["properties"]["basket"]["properties"]["quotes"]["items"] == {"$ref": "#/$defs/Quote"}
    assert schema["$defs"]["Quote"]["properties"]["price"]["type"] == "number"
    assert schema["properties"]["at"]["anyOf"] == [{"$ref": "#/$defs/Point"}, {"type": "null"}]
    assert schema["$defs"]["Point"]["required"] == ["x"]
    assert schema["additionalProperties"] is True


def test_arguments_whose_types_no_model_could_send_may_be_anything():
    @tool
    def strange(connection: socket.socket, when: "NoSuchType", untyped, *rest, mutable=[]):  # noqa: B006, F821
        """Do something."""

    assert set(strange.schema["properties"]) == {"connection", "when", "untyped", "mutable"}
    assert tool(name="dict")(dict).schema["type"] == "object"


# arguments


async def answer(function, arguments):
    """What a model is told that calls a tool."""

    async def program(turn):
        if turn.number == 1:
            return turn.request(Message.assistant("", [ToolCall("c1", "f", arguments)]))
        return turn.complete(output=[turn.messages[-1].text, turn.messages[-1].content[0].is_error])

    return (await run(program, tools=[tool(name="f")(function)])).output


async def test_a_model_is_told_what_is_wrong_with_its_arguments_and_nothing_is_called():
    world = World()

    def f(point: Point, quote: Quote | None = None):
        world.calls.append(point)

    for arguments, text in (
        ({}, "Object missing required field `point`"),
        ({"point": {"x": "1"}}, "Expected `int`, got `str` - at `$.point.x`"),
        ({"point": {"x": 1}, "more": 2}, "Object contains unknown field `more`"),
        ({"point": {"x": 1}, "quote": {"price": "much"}}, "price: float_parsing"),
        ({"point": {"x": 1}, "idempotency_key": "k"}, "unknown field `idempotency_key`"),
    ):
        told, is_error = await answer(f, arguments)
        assert is_error
        assert text in told
        assert "much" not in told  # what was sent may be a secret
    assert world.calls == []


async def test_a_tool_gets_its_arguments_in_the_types_that_it_declares():
    seen = []

    def f(day: date, point: Point, quotes: list[Quote], /, item: Item, size: int = 3, **more: int):
        seen.extend([day, point, quotes, item, size, more])

    sent = {"day": "2024-05-06", "point": {"x": 1}, "quotes": [{"price": 2}], "item": {"name": "tea"}}
    assert await answer(f, {**sent, "extra": 5}) == ["null", False]
    assert seen == [date(2024, 5, 6), Point(1), [Quote(price=2)], Item("tea"), 3, {"extra": 5}]


async def test_a_program_gives_models_and_dataclasses_as_they_are():
    seen = []

    @tool
    def buy(quote: Quote, points: list[Point]) -> None:
        seen.extend([quote, *points])

    async def program(turn):
        await turn.call(buy, quote=Quote(price=1.5), points=[Point(1)])
        await turn.effect(buy, Quote(price=2.5), [Point(2)])
        with pytest.raises(
            InvalidValueError, match=r"arguments of buy: Expected `array`, got `int` - at `\$.points`"
        ):
            await turn.call(buy, quote=Quote(price=1.5), points=5)
        return turn.complete()

    assert (await run(program, tools=[buy])).ok
    assert seen == [Quote(price=1.5), Point(1), Quote(price=2.5), Point(2)]


# values


class Opaque:
    """What cannot be kept."""


def gives_socket() -> socket.socket:
    """Return a socket."""


def gives_opaque_in_a_list() -> list[Opaque]:
    """Return strange things."""


async def streams() -> AsyncIterator[str]:
    """Return what can be read once."""


def gives_one_of_two() -> Point | Item:
    """Return what could not be told apart."""


@pytest.mark.parametrize("function", [gives_socket, gives_opaque_in_a_list, streams, gives_one_of_two])
async def test_a_function_that_is_declared_to_return_what_cannot_be_kept_is_refused_before_the_call(function):
    async def program(turn):
        with pytest.raises(InvalidValueError, match=f"the value of {function.__name__}, as it is declared"):
            await turn.effect(function)
        return turn.complete("nothing was called")

    assert (await run(program)).text == "nothing was called"
    with pytest.raises(InvalidValueError):
        tool(function)


def pair() -> tuple[int, Point]:
    return 1, Point(2)


def models() -> dict[str, list[Quote]]:
    return {"a": [Quote(price=1)]}


def days() -> set[date]:
    return {date(2024, 5, 6)}


def maybe() -> Quote | None:
    return Quote(price=3)


def loose() -> object:
    return {"a": [1]}


async def test_values_come_back_in_their_declared_types_after_a_crash_too():
    crash, seen = anyio.Event(), []

    async def program(turn):
        seen.append([await turn.effect(function) for function in (pair, models, days, maybe, loose)])
        if turn.attempt == 1:
            crash.set()
            await anyio.sleep_forever()
        return turn.complete()

    assert (await restarted(program, await crashed(program, crash))).ok
    expected = [(1, Point(2)), {"a": [Quote(price=1)]}, {date(2024, 5, 6)}, Quote(price=3), {"a": [1]}]
    assert seen == [expected, expected]


async def test_a_large_value_is_kept_whole_and_shown_to_a_model_by_its_beginning():
    def f() -> str:
        return "x" * 5_000_000

    async def program(turn):
        if turn.number == 1:
            whole = await turn.effect(f)
            assert len(whole) == 5_000_000
            return turn.request(Message.assistant("", [ToolCall("c1", "f", {})]))
        return turn.complete(output=[len(turn.messages[-1].text) < 100_000, len(turn.spooled("c1"))])

    async with kernel_of({"p": program}, tools=[tool(name="f")(f)]) as kernel:
        await kernel.submit("p", task_id="t")
        assert (await kernel.join("t")).output == [True, 5_000_000]


@pytest.mark.parametrize(("value", "size"), [("x" * 2**25, 2**25 + 5), (["\0" * 6_000_000], 36_000_004)])
async def test_a_value_that_no_record_could_hold_is_an_error_and_the_kernel_goes_on(value, size):
    def f():
        return value

    async def program(turn):
        if turn.number == 1:
            return turn.request(Message.assistant("", [ToolCall("c1", "f", {})]))
        return turn.complete(turn.messages[-1].text)

    hooks = [CheckpointHook(MemoryStorage())]
    told = (await run(program, tools=[tool(name="f")(f)], hooks=hooks)).text
    assert f"{size} bytes" in told
    assert "more than 33554432" in told


async def test_a_function_whose_value_is_not_what_it_declares_has_raised():
    def wrong() -> Point:
        return Item("tea")

    async def program(turn):
        with pytest.raises(EffectError, match="the value of wrong: a Item, but the declared type is Point"):
            await turn.effect(wrong)
        return turn.complete("went on")

    assert (await run(program)).text == "went on"
