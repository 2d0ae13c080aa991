"""Straight-line functions run again: another way than the recorded one, other versions, steps in doubt."""

import asyncio
from contextlib import suppress

import anyio
import pytest
from effect_kit import Stuck, World, crashed, restarted
from kernel_kit import Recorder, kernel_of

from kernelckpt import straight_line, tool
from kernelckpt.errors import EffectDenied, RestoreError

# another way


class Crash:
    """A run of one task, killed at its latest commit and gone on from with other code."""

    def __init__(self, program, **settings):
        self._program = program
        self._settings = settings

    async def saved(self):
        """The state once the task waits."""
        recorder = Recorder()
        async with kernel_of({"p": self._program}, hooks=[recorder], **self._settings) as kernel:
            await kernel.submit("p", task_id="t")
            with anyio.fail_after(5):
                await kernel.idle()
            return recorder.saved()

    async def gone_on(self, other):
        """How the task ends with another program, once it is sent a message."""
        saved = await self.saved()
        async with kernel_of({"p": other}, hooks=[Recorder(saved)], **self._settings) as kernel:
            await kernel.send("t", "go on")
            with anyio.fail_after(5):
                return await kernel.join("t")


def steps_of(*steps, waits=True, calls=None):
    """A function that makes these steps, then waits for a message."""

    @straight_line
    async def program(run):
        async def note(*arguments):
            if calls is not None:
                calls.append(arguments)

        for name, *arguments in steps:
            with suppress(Exception):  # it must not be able to go on
                await run.step(name, note, *arguments)
        if waits:
            await run.receive()
        return "the end"

    return program


async def test_the_same_steps_go_on():
    calls = []
    program = steps_of(("pay", 1), ("pay", 1), ("tell", "x"), calls=calls)
    assert (await Crash(program).gone_on(program)).text == "the end"
    assert calls == [(1,), (1,), ("x",)]


@pytest.mark.parametrize(
    ("steps", "waits", "recorded", "asked"),
    [
        ([("pay", 1), ("pay", 3)], True, "recorded is pay(2), tell('x')", "asked for is pay(3)"),
        ([("pay", 1), ("give", 2)], True, "recorded is pay(2), tell('x')", "asked for is give(2)"),
        ([("pay", 1), ("pay", 2)], True, "recorded is tell('x')", "asked for is run.receive()"),
        ([("pay", 1), ("pay", 2)], False, "recorded is tell('x')", "asked for is its end"),
        ([], False, "recorded is pay(1), pay(2), tell('x')", "asked for is its end"),
    ],
)
async def test_another_way_than_the_recorded_one_stops_the_task_and_shows_both(steps, waits, recorded, asked):
    calls = []
    before = steps_of(("pay", 1), ("pay", 2), ("tell", "x"))
    result = await Crash(before).gone_on(steps_of(*steps, waits=waits, calls=calls))
    assert result.termination.value == "error"
    assert "StepMismatchError" in result.error
    assert recorded in result.error
    assert asked in result.error
    assert calls == []


async def test_steps_after_the_recorded_ones_are_made():
    calls = []
    before = steps_of(("pay", 1))
    saved = await Crash(before).saved()
    longer = steps_of(("pay", 1), waits=True, calls=calls)
    async with kernel_of({"p": longer}, hooks=[Recorder(saved)]) as kernel:
        await kernel.send("t", "go on")
        assert (await kernel.join("t")).text == "the end"
    assert calls == []


async def test_a_wait_is_refused_while_recorded_steps_were_not_asked_for():
    async def none():
        pass

    @straight_line
    async def before(run):
        await run.ask_approval("first", "First?")
        await run.step("none", none)
        await run.receive()

    @straight_line
    async def after(run):
        await run.ask_approval("first", "First?")
        await run.sleep(1)

    recorder = Recorder()
    async with kernel_of({"p": before}, hooks=[recorder]) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.idle()
        await kernel.approve("t", "first")
        await kernel.idle()
        saved = recorder.saved()
    async with kernel_of({"p": after}, hooks=[Recorder(saved)]) as kernel:
        await kernel.send("t", "go on")
        assert "recorded is none(); asked for is run.sleep(1)" in (await kernel.join("t")).error


async def test_another_version_is_refused_unless_it_says_that_it_continues():
    @straight_line
    async def first(run):
        return (await run.receive()).text

    saved = await Crash(first).saved()

    async def start(**versions):
        @straight_line(**versions)
        async def later(run):
            return f"later: {(await run.receive()).text}"

        async with kernel_of({"p": later}, hooks=[Recorder(saved)]) as kernel:
            await kernel.send("t", "go on")
            return (await kernel.join("t")).text

    with pytest.raises(RestoreError, match="written by version 1"):
        await start(version=2)
    with pytest.raises(RestoreError, match="steps that this one does not make"):
        await start(version=3, continues=[2])
    assert await start(version=2, continues=[1]) == "later: go on"


# in doubt


def paying(fn, done):
    """A function whose second step pays."""

    async def first():
        done.append("first")

    @straight_line
    async def program(run):
        await run.step("first", first)
        try:
            return await run.step("pay", fn, 5)
        except EffectDenied as error:
            return f"denied: {error.may_have_happened}"

    return program


@pytest.mark.parametrize(
    ("policy", "calls", "result"),
    [
        ("idempotent", [5, 5], {"paid": 5}),
        ("fail", [5], "denied: True"),
        ("probe", [5], {"paid": "before"}),
    ],
)
async def test_a_step_in_doubt_is_decided_by_the_policy_of_its_tool(policy, calls, result):
    world, done = World(), []
    world.knows = {"paid": "before"}
    stuck = Stuck(world)
    probe = world.was_paid if policy == "probe" else None
    pay = tool(effect=policy, name="pay", probe=probe)(stuck)
    saved = await crashed(paying(pay, done), stuck.under_way)
    ended = await restarted(paying(pay, done), saved)
    assert (ended.output or ended.text, world.calls, done) == (result, calls, ["first"])


@pytest.mark.parametrize(
    ("answer", "calls", "result"),
    [("again", [5, 5], {"paid": 5}), ("done", [5], {"paid": 0}), ("no", [5], "denied: True")],
)
async def test_without_a_policy_a_human_is_asked(answer, calls, result):
    world = World()
    stuck = Stuck(world)
    saved = await crashed(paying(tool(name="pay")(stuck), []), stuck.under_way)
    async with kernel_of({"p": paying(tool(name="pay")(stuck), [])}, hooks=[Recorder(saved)]) as kernel:
        (question,) = kernel.approvals()
        assert kernel.restored.in_doubt == ("t: pay",)
        if answer == "no":
            await kernel.deny("t", question.key)
        else:
            await kernel.approve("t", question.key, **({} if answer == "again" else {"outcome": {"paid": 0}}))
        with anyio.fail_after(5):
            ended = await kernel.join("t")
    assert (ended.output or ended.text, world.calls) == (result, calls)


async def test_a_recorded_wait_does_not_hide_that_a_recorded_step_was_left_out():
    stuck = Stuck(World())
    pay = tool(effect="idempotent", name="pay")(stuck)

    @straight_line
    async def before(run):
        await asyncio.gather(run.sleep(60), run.step("pay", pay, 5))

    @straight_line
    async def after(run):
        await asyncio.gather(run.sleep(60))

    saved = await crashed(before, stuck.under_way)
    ended = await restarted(after, saved)
    assert "recorded is pay(...); asked for is a wait" in ended.error
