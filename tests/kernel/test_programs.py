"""Programs: typed state, input and output; versions and upgrades; what cannot be a program."""

import datetime as dt
import functools
from dataclasses import dataclass, field

import msgspec
import pydantic
import pytest
from kernel_kit import Recorder, kernel_of, settle

from kernelckpt import Program
from kernelckpt.errors import InvalidValueError, RestoreError, TaskMismatchError, UsageError


class Notes(msgspec.Struct, frozen=True):
    seen: tuple[int, ...] = ()
    by: dict[int, str] = {}


@dataclass(frozen=True)
class Order:
    item: str
    amount: int = 1
    tags: list[str] = field(default_factory=list)


class Receipt(pydantic.BaseModel):
    total: float
    at: dt.datetime


AT = dt.datetime(2024, 1, 2, 3, 4, 5, tzinfo=dt.UTC)


async def shop(turn):
    notes = turn.state or Notes()
    turn.set_state(Notes((*notes.seen, turn.number), {**notes.by, turn.number: turn.input.item}))
    if turn.number == 3:
        return turn.complete("sold", output=Receipt(total=turn.input.amount * 1.5, at=AT))
    return None


SHOP = Program(shop, state=Notes, input=Order, output=Receipt)


async def test_typed_state_input_and_output():
    async with kernel_of({"shop": SHOP}) as kernel:
        await kernel.submit("shop", task_id="s", input=Order("tea", 4))
        result = await kernel.join("s")
        assert result.output == Receipt(total=6.0, at=AT)
        assert (await kernel.join())["s"].output == Receipt(total=6.0, at=AT)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (dt.datetime, AT),
        (dict[int, str], {1: "a"}),
        (tuple[int, ...], (1, 2)),
        (set[str], {"a"}),
        (bytes, b"\x00"),
        (Notes, Notes((1,), {2: "b"})),
        (Order, Order("x", 2, ["t"])),
        (Order | None, Order("x")),
        (list[Order], [Order("x")]),
        (Receipt, Receipt(total=1, at=AT)),
        (int, 5),
    ],
)
async def test_values_of_declared_types_come_back_as_they_were(kind, value):
    seen = []

    async def program(turn):
        if turn.number == 1:
            turn.set_state(value)
            return None
        seen.extend([turn.state, turn.input])
        return turn.complete(output=value)

    async with kernel_of({"p": Program(program, state=kind, input=kind, output=kind)}) as kernel:
        await kernel.submit("p", task_id="t", input=value)
        assert (await kernel.join("t")).output == value
        assert seen == [value, value]
        await kernel.submit("p", task_id="t", input=value)


async def test_values_of_another_type_are_refused_where_they_are_given():
    async def program(turn):
        for bad in ({"seen": []}, 5, None, Order("x"), Notes(("text",))):
            with pytest.raises(InvalidValueError, match="state"):
                turn.set_state(bad)
        with pytest.raises(InvalidValueError, match="output"):
            turn.complete(output={"total": 1})
        return turn.complete("went on")

    async with kernel_of({"p": Program(program, state=Notes, output=Receipt, input=Order)}) as kernel:
        for bad in ({"item": "tea"}, "tea", Order(5), Order("tea", "many")):
            with pytest.raises(InvalidValueError, match="input"):
                await kernel.submit("p", task_id="t", input=bad)
        await kernel.submit("p", task_id="t", input=Order("tea"))
        assert (await kernel.join("t")).text == "went on"


def test_what_cannot_be_a_program_is_refused():
    async def generator(turn):
        yield

    for bad in (None, 5, "shop", lambda turn: None, generator, print):
        with pytest.raises(UsageError, match="not an async function") as caught:
            Program(bad)
        assert caught.value.hint
    for version in (0, -1, "1", 1.0, True, None):
        with pytest.raises(UsageError, match="version"):
            Program(shop, version=version)


async def test_partial_functions_methods_and_callable_objects_are_programs():
    class Agent:
        async def method(self, turn):
            return turn.complete("method")

        async def __call__(self, turn):
            return turn.complete("object")

    async def greet(greeting, turn):
        return turn.complete(greeting)

    programs = {"m": Agent().method, "o": Agent(), "p": functools.partial(greet, "partial")}
    async with kernel_of(programs) as kernel:
        for name in programs:
            await kernel.submit(name, task_id=name)
        results = await kernel.join()
    assert [results[name].text for name in "mop"] == ["method", "object", "partial"]


async def state_of_a_waiting_task(program, **submission):
    recorder = Recorder()
    async with kernel_of({"p": program}, hooks=[recorder]) as kernel:
        await kernel.submit("p", task_id="t", **submission)
        await kernel.idle()
    return recorder.saved()


async def first(turn):
    turn.set_state({"name": "ann"})
    return turn.wait_external("upgrade")


class Person(msgspec.Struct, frozen=True):
    first: str
    version: int


def upgrade(old, version):
    return Person(old["name"], version)


async def second(turn):
    return turn.complete(output=[turn.state.first, turn.state.version])


async def test_a_state_of_an_older_version_is_upgraded_on_restore():
    saved = await state_of_a_waiting_task(Program(first))
    program = Program(second, state=Person, version=2, upgrade=upgrade)
    recorder = Recorder(saved)
    async with kernel_of({"p": program}, hooks=[recorder]) as kernel:
        assert kernel.restored.upgraded == ("t",)
        assert kernel.tasks.get("t").version == 2
        await kernel.resume("t")
        assert (await kernel.join("t")).output == ["ann", 1]
    async with kernel_of({"p": program}, hooks=[Recorder(recorder.saved())]) as kernel:
        assert kernel.restored.upgraded == ()


def broken_upgrade(old, version):
    raise KeyError("surname")


@pytest.mark.parametrize(
    ("program", "text"),
    [
        (Program(second, state=Person, version=2), "written by version 1 of the program, this is version 2"),
        (Program(second, state=Person, version=2, upgrade=broken_upgrade), "raised KeyError: 'surname'"),
        (
            Program(second, state=Person, version=2, upgrade=lambda old, version: old),
            "a dict, but the declared",
        ),
        (Program(second, state=Person), "state\\['t'\\]"),
    ],
)
async def test_a_state_that_cannot_be_brought_up_refuses_the_start(program, text):
    saved = await state_of_a_waiting_task(Program(first))
    with pytest.raises(RestoreError, match=text) as caught:
        async with kernel_of({"p": program}, hooks=[Recorder(saved)]):
            pytest.fail("started")
    assert caught.value.missing


async def test_a_state_of_a_newer_version_refuses_the_start():
    saved = await state_of_a_waiting_task(Program(first, version=3))
    with pytest.raises(RestoreError, match="written by version 3 of the program, this is version 2"):
        async with kernel_of({"p": Program(first, version=2)}, hooks=[Recorder(saved)]):
            pytest.fail("started")


class NewOrder(msgspec.Struct, frozen=True):
    item: str
    amount: int = 1
    tags: list[str] = []
    priority: str = "normal"


async def hold(turn):
    return turn.wait_external("door")


async def test_an_input_whose_type_has_grown_a_default_is_still_the_same_input():
    saved = await state_of_a_waiting_task(Program(hold, input=Order), input=Order("tea"))
    async with kernel_of({"p": Program(hold, input=NewOrder)}, hooks=[Recorder(saved)]) as kernel:
        await kernel.submit("p", task_id="t", input=NewOrder("tea"))
        with pytest.raises(TaskMismatchError):
            await kernel.submit("p", task_id="t", input=NewOrder("tea", priority="high"))


async def test_an_input_that_is_not_of_todays_type_refuses_the_start():
    saved = await state_of_a_waiting_task(Program(hold, input=Order), input=Order("tea"))
    with pytest.raises(RestoreError, match="input\\['t'\\]"):
        async with kernel_of({"p": Program(hold, input=Person)}, hooks=[Recorder(saved)]):
            await settle()
            pytest.fail("started")
