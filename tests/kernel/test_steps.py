"""Straight-line functions: what is recorded is not done again, whatever happens in between."""

import asyncio
from dataclasses import dataclass

import anyio
from crash_kit import at_every_commit
from kernel_kit import kernel_of, settle

from kernelckpt import straight_line
from kernelckpt.errors import EffectError
from kernelckpt.testing import ManualClock


async def test_what_the_function_returns_is_the_result():
    @straight_line
    async def texts(run):
        return f"{run.task_id}: {run.goal}"

    @straight_line
    async def data(run):
        return {"input": run.input}

    async with kernel_of({"texts": texts, "data": data}) as kernel:
        await kernel.submit("texts", task_id="a", goal="say it")
        await kernel.submit("data", task_id="b", input=[1])
        assert (await kernel.join("a")).text == "a: say it"
        assert (await kernel.join("b")).output == {"input": [1]}


async def test_input_and_output_have_the_types_declared():
    @dataclass(frozen=True)
    class Order:
        item: str

    @straight_line(input=Order, output=Order)
    async def turned(run):
        return Order(run.input.item[::-1])

    async with kernel_of({"p": turned}) as kernel:
        await kernel.submit("p", task_id="t", input=Order("tea"))
        assert (await kernel.join("t")).output == Order("aet")


@dataclass(frozen=True)
class Word:
    text: str


async def test_a_step_gives_alike_when_it_is_made_and_when_it_is_only_remembered():
    given = []

    async def pair() -> tuple[int, Word]:
        return 1, Word("tea")

    @straight_line
    async def program(run):
        given.append(await run.step("pair", pair))
        await run.sleep(1)

    clock = ManualClock()
    async with kernel_of({"p": program}, clock=clock) as kernel:
        await kernel.submit("p", task_id="t")
        await settle(200)
        await clock.advance(1)
        await kernel.join("t")
    assert given == [(1, Word("tea")), (1, Word("tea"))]


class Scenario:
    """A function with steps alike, side by side and failing, and each kind of wait; and who answers it."""

    def settings_of(self, world):
        self.clock = ManualClock()
        return {"programs": {"p": self.program(world)}, "clock": self.clock}

    def program(self, world):
        async def pay(amount):
            world.append(f"pay {amount}")
            return amount * 10

        async def refuse(why):
            world.append(f"refuse {why}")
            raise ValueError(why)

        async def branch(run, name):
            first = await run.step("pay", pay, len(name))
            return [first, await run.step(f"again {name}", pay, first)]

        @straight_line
        async def program(run):
            seen = [await run.step("pay", pay, 100), await run.step("pay", pay, 100)]
            try:
                await run.step("refuse", refuse, "no money")
            except EffectError as error:
                seen.append(error.error)
            seen += await asyncio.gather(branch(run, "a"), branch(run, "bb"))
            await run.sleep(60)
            seen.append((await run.receive()).text)
            answer = await run.ask_approval("go", "Go on?", {"so": "far"})
            seen.append([answer.status.value, answer.by])
            await asyncio.gather(run.sleep(5), run.sleep(10))
            seen.append((await run.receive()).text)
            return [*seen, await run.step("pay", pay, 7)]

        return program

    async def drive(self, kernel):
        await kernel.submit("p", task_id="t")
        for _ in range(40):
            await settle(400)
            row = kernel.tasks.get("t")
            if row.state.is_terminal():
                break
            if row.wait is not None and row.wait.note == "message":
                await kernel.send("t", "a message")
            for question in kernel.approvals():
                await kernel.approve("t", question.key, by="ada")
            await self.clock.advance(5)
        with anyio.fail_after(5):
            result = await kernel.join("t")
        return result.output or result.error


async def test_killed_after_any_commit_the_function_comes_to_the_same_and_repeats_no_step():
    scenario = Scenario()
    first, others, states = await at_every_commit(scenario.settings_of, scenario.drive)
    assert first[0] == [
        *(1000, 1000, "ValueError: no money", [10, 100], [20, 200]),
        *("a message", ["approved", "ada"], "a message", 70),
    ]
    assert first[1] == sorted(
        ["pay 100", "pay 100", "refuse no money", "pay 1", "pay 10", "pay 2", "pay 20", "pay 7"]
    )
    assert len(states) > 25
    assert [other for other in others if other != first] == []
