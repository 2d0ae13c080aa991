"""Calls made through the ledger: intent before, outcome after, never silently twice."""

import asyncio
import functools
import threading
from dataclasses import dataclass

import anyio
import msgspec
import pydantic
import pytest
from kernel_kit import Failing, Gate, Recorder, kernel_of, kinds, settle

from kernelckpt import Retry, tool
from kernelckpt.errors import EffectDenied, EffectError, InvalidValueError, TurnEnded, UsageError


class World:
    """What effects change."""

    def __init__(self):
        self.calls = []

    async def pay(self, amount):
        self.calls.append(amount)
        return {"paid": amount}


async def run(program, *, hooks=(), **settings):
    async with kernel_of({"p": program}, hooks=hooks, **settings) as kernel:
        await kernel.submit("p", task_id="t")
        with anyio.fail_after(10):
            return await kernel.join("t")


def effects_of(saved):
    records = [msgspec.msgpack.decode(data) for key, data in saved.records.items() if key[0] == "effect"]
    return [(record["name"], record.get("status", "planned"), record.get("runs", 0)) for record in records]


async def test_an_effect_is_called_and_its_value_given_back():
    world = World()

    async def program(turn):
        return turn.complete(output=await turn.effect(world.pay, amount=5))

    assert (await run(program)).output == {"paid": 5}
    assert world.calls == [5]


async def test_the_intent_is_durable_before_the_call_and_the_outcome_before_the_turn_goes_on():
    gate, recorder, world = Gate(held=False), Recorder(), World()
    after = []

    async def program(turn):
        gate.hold()
        await turn.effect(world.pay, 5)
        after.append(effects_of(recorder.saved()))
        return turn.complete()

    async with kernel_of({"p": program}, hooks=[recorder, gate]) as kernel:
        await kernel.submit("p", task_id="t")
        await settle()
        assert effects_of(recorder.saved()) == [("World.pay", "started", 1)]
        assert world.calls == []
        gate.open()
        gate.hold()
        await settle()
        assert world.calls == [5]
        assert effects_of(recorder.saved()) == [("World.pay", "returned", 1)]
        assert after == []
        gate.open()
        await kernel.join("t")
    assert after == [[("World.pay", "returned", 1)]]
    assert effects_of(recorder.saved()) == []  # consumed by the commit of the turn


async def test_a_call_in_the_next_turn_is_made_anew():
    world = World()

    async def program(turn):
        turn.say(f"paid {(await turn.effect(world.pay, 5))['paid']}")
        return turn.complete() if turn.number == 2 else None

    await run(program)
    assert world.calls == [5, 5]


async def test_sync_functions_run_in_a_thread():
    async def program(turn):
        return turn.complete(output=await turn.effect(thread_name))

    def thread_name():
        return threading.current_thread() is threading.main_thread()

    assert (await run(program)).output is False


async def test_what_an_effect_raises_is_an_effect_error_with_its_facts():
    def broken(number):
        raise ValueError(f"no {number}")

    async def program(turn):
        with pytest.raises(EffectError) as caught:
            await turn.effect(broken, 5)
        return turn.complete(output=[caught.value.name, caught.value.error, str(caught.value)])

    assert (await run(program)).output == ["broken", "ValueError: no 5", "broken failed: ValueError: no 5"]


async def test_an_error_text_that_cannot_be_kept_is_mended():
    def broken():
        raise ValueError("\ud800")

    async def program(turn):
        with pytest.raises(EffectError, match=r"ValueError: \?"):
            await turn.effect(broken)
        return turn.complete("went on")

    assert (await run(program, hooks=[Recorder()])).text == "went on"


async def test_a_value_that_cannot_be_kept_is_an_effect_error():
    world = World()

    @tool(effect="idempotent", retry=Retry(attempts=3, first=0))
    def opaque():
        world.calls.append("called")
        return object()

    async def program(turn):
        said = "opaque failed: it was called, and returned what cannot be kept: .*: a object cannot be kept"
        with pytest.raises(EffectError, match=said):
            await turn.effect(opaque)
        return turn.complete("went on")

    assert (await run(program)).text == "went on"
    assert world.calls == ["called"]


async def test_arguments_that_cannot_be_kept_are_refused_before_the_call():
    world = World()

    async def program(turn):
        for bad in (object(), {"a": world}, "\ud800", 2**70):
            with pytest.raises(InvalidValueError, match="an argument of"):
                await turn.effect(world.pay, bad)
        return turn.complete("went on")

    assert (await run(program)).text == "went on"
    assert world.calls == []


async def test_things_without_a_name_or_that_cannot_be_called_are_refused():
    world = World()

    async def program(turn):
        with pytest.raises(UsageError, match="has no name to be recorded under") as caught:
            await turn.effect(functools.partial(world.pay, 5))
        assert "tool(name=" in caught.value.hint
        for bad in (5, None, "pay"):
            with pytest.raises(UsageError, match="cannot be called"):
                await turn.effect(bad)
        return turn.complete(output=await turn.effect(tool(name="pay")(functools.partial(world.pay, 5))))

    assert (await run(program)).output == {"paid": 5}


@dataclass
class Point:
    x: int
    y: int


class Quote(pydantic.BaseModel):
    price: float
    tags: list[str] = []


class Item(msgspec.Struct, frozen=True):
    name: str
    parts: tuple[int, ...] = ()


async def give_point() -> Point:
    return Point(1, 2)


def give_quote() -> Quote:
    return Quote(price=1.5, tags=["a"])


async def give_item() -> Item:
    return Item("x", (1, 2))


async def test_declared_return_types_come_back_as_such():
    seen = []

    async def program(turn):
        seen.extend(
            [await turn.effect(give_point), await turn.effect(give_quote), await turn.effect(give_item)]
        )
        return turn.complete()

    assert (await run(program)).ok
    assert seen == [Point(1, 2), Quote(price=1.5, tags=["a"]), Item("x", (1, 2))]


async def test_calls_at_the_same_time_are_told_apart():
    world = World()

    async def program(turn):
        values = await asyncio.gather(*(turn.effect(world.pay, number % 3) for number in range(30)))
        return turn.complete(output=[value["paid"] for value in values])

    assert (await run(program)).output == [number % 3 for number in range(30)]
    assert len(world.calls) == 30


async def test_ten_thousand_effects_in_a_turn():
    world = World()

    async def program(turn):
        for number in range(10_000):
            await turn.effect(world.pay, number)
        return turn.complete()

    assert (await run(program)).ok
    assert world.calls == list(range(10_000))


async def restarted(program, saved, **settings):
    """Go on from a state, as after a crash."""
    async with kernel_of({"p": program}, hooks=[Recorder(saved)], **settings) as kernel:
        with anyio.fail_after(10):
            return await kernel.join("t")


async def test_after_a_crash_recorded_outcomes_are_given_back_and_only_the_rest_is_done():
    world, recorder = World(), Recorder()
    crash = anyio.Event()

    def broken():
        world.calls.append("broken")
        raise ValueError("no")

    async def program(turn):
        seen = [await turn.effect(world.pay, 1), await turn.effect(world.pay, 1)]
        try:
            await turn.effect(broken)
        except EffectError as error:
            seen.append(error.error)
        if turn.attempt == 1:
            await crash.wait()
        seen.append(await turn.effect(world.pay, 2))
        return turn.complete(output=[seen, turn.attempt])

    async with kernel_of({"p": program}, hooks=[recorder]) as kernel:
        await kernel.submit("p", task_id="t")
        while world.calls[-1:] != ["broken"] or len(effects_of(recorder.saved())) < 3:
            await asyncio.sleep(0.001)
        await settle()
        saved = recorder.saved()
        await kernel.stop(grace=0)
    expected = [{"paid": 1}, {"paid": 1}, "ValueError: no", {"paid": 2}]
    assert (await restarted(program, saved)).output == [expected, 2]
    assert world.calls == [1, 1, "broken", 2]


async def crashed_in_a_call(world, policy):
    """The state of a kernel that died while a call was under way, and the program."""
    recorder = Recorder()
    under_way = anyio.Event()

    @tool(effect=policy)
    async def charge(amount):
        world.calls.append(amount)
        if len(world.calls) == 1:
            under_way.set()
            await anyio.sleep_forever()
        return amount

    async def program(turn):
        return turn.complete(output=await turn.effect(charge, 7))

    async with kernel_of({"p": program}, hooks=[recorder]) as kernel:
        await kernel.submit("p", task_id="t")
        await under_way.wait()
        saved = recorder.saved()
        await kernel.stop(grace=0)
    return saved, program


async def test_an_idempotent_call_in_doubt_is_made_again():
    world = World()
    saved, program = await crashed_in_a_call(world, "idempotent")
    assert (await restarted(program, saved)).output == 7
    assert world.calls == [7, 7]


async def test_another_call_in_doubt_waits_for_a_decision_and_is_made_again_when_approved():
    world = World()
    saved, program = await crashed_in_a_call(world, "ask")
    async with kernel_of({"p": program}, hooks=[Recorder(saved)]) as kernel:
        await kernel.idle()
        assert world.calls == [7]
        assert kinds(kernel)["t"] == ("suspended", "approval")
        assert kernel.restored.in_doubt == ("t: charge",)
        (question,) = kernel.approvals()
        assert "may have happened" in question.prompt
        assert question.payload == {"effect": "charge", "arguments": [7, {}]}
        await kernel.approve("t", question.key)
        assert (await kernel.join("t")).output == 7
    assert world.calls == [7, 7]


async def test_another_call_in_doubt_that_is_denied_raises_in_the_program():
    world = World()
    saved, program = await crashed_in_a_call(world, "ask")

    async def careful(turn):
        try:
            return await program(turn)
        except EffectDenied as error:
            return turn.complete("denied", output=[error.name, error.error])

    async with kernel_of({"p": careful}, hooks=[Recorder(saved)]) as kernel:
        await kernel.idle()
        await kernel.deny("t", reason="it did happen")
        assert (await kernel.join("t")).output == ["charge", "it did happen"]
    assert world.calls == [7]


async def test_several_calls_in_doubt_are_decided_one_by_one():
    world, recorder = World(), Recorder()

    async def stuck(number):
        world.calls.append(number)
        if len(world.calls) <= 3:
            await anyio.sleep_forever()
        return number

    async def program(turn):
        calls = [turn.effect(stuck, number) for number in range(3)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        return turn.complete(output=[o if isinstance(o, int) else type(o).__name__ for o in outcomes])

    async with kernel_of({"p": program}, hooks=[recorder]) as kernel:
        await kernel.submit("p", task_id="t")
        await settle()
        saved = recorder.saved()
        kernel.request_stop(0)
    async with kernel_of({"p": program}, hooks=[Recorder(saved)]) as kernel:
        await kernel.idle()
        first, second, third = kernel.approvals()
        await kernel.deny("t", first.key)
        await kernel.approve("t", third.key)
        await kernel.idle()
        assert [item.key for item in kernel.approvals()] == [second.key]
        assert world.calls == [0, 1, 2]
        await kernel.approve("t", second.key)
        assert (await kernel.join("t")).output == ["EffectDenied", 1, 2]
    assert sorted(world.calls[3:]) == [1, 2]


async def test_a_decision_survives_another_crash():
    world = World()
    saved, program = await crashed_in_a_call(world, "ask")
    recorder = Recorder(saved)
    async with kernel_of({"p": program}, hooks=[recorder]) as kernel:
        await kernel.idle()
        (question,) = kernel.approvals()
        still = recorder.saved()
    async with kernel_of({"p": program}, hooks=[Recorder(still)]) as kernel:
        await kernel.idle()
        assert [item.key for item in kernel.approvals()] == [question.key]  # asked once
    async with kernel_of({"p": program}, hooks=[recorder := Recorder(still)]) as kernel:
        await kernel.deny("t", reason="no")
        decided = next(saved for saved in recorder.history if effects_of(saved) == [("charge", "denied", 1)])
    result = await restarted(program, decided)
    assert "charge was not to be done again: no" in result.error
    assert world.calls == [7]


async def test_a_stop_lets_a_call_finish_within_the_grace_and_records_it():
    recorder, world = Recorder(), World()
    begun, go_on = anyio.Event(), anyio.Event()

    async def slow():
        world.calls.append("begun")
        begun.set()
        await go_on.wait()
        return "value"

    async def program(turn):
        return turn.complete(output=await turn.effect(slow))

    async with kernel_of({"p": program}, hooks=[recorder]) as kernel:
        await kernel.submit("p", task_id="t")
        await begun.wait()
        async with anyio.create_task_group() as group:
            group.start_soon(kernel.stop)
            await settle()
            go_on.set()
    assert (await kernel.join("t")).output == "value"


async def test_a_stop_does_not_wait_for_a_thread_beyond_the_grace():
    recorder, release = Recorder(), threading.Event()
    begun = threading.Event()

    def stuck():
        begun.set()
        release.wait(30)

    async def program(turn):
        return turn.complete(output=await turn.effect(stuck))

    try:
        with anyio.fail_after(10):
            async with kernel_of({"p": program}, hooks=[recorder]) as kernel:
                await kernel.submit("p", task_id="t")
                while not begun.is_set():
                    await asyncio.sleep(0.001)
                await kernel.stop(grace=0)
    finally:
        release.set()
    assert kernel.tasks.get("t").state.label() == "ready"
    assert effects_of(recorder.saved()) == [("stuck", "started", 1)]


async def test_a_call_that_lets_a_foreign_cancellation_escape_has_raised():
    async def foreign():
        task = asyncio.ensure_future(asyncio.sleep(100))
        await asyncio.sleep(0)
        task.cancel()
        await task

    async def program(turn):
        with pytest.raises(EffectError, match="CancelledError"):
            await turn.effect(foreign)
        return turn.complete("went on")

    assert (await run(program)).text == "went on"


async def test_a_timeout_of_the_program_around_a_call_leaves_the_turn_able_to_go_on():
    async def slow():
        await anyio.sleep_forever()

    async def program(turn):
        with anyio.move_on_after(0.01):
            await turn.effect(slow)
        return turn.complete(output=await turn.effect(World().pay, 1))

    assert (await run(program)).output == {"paid": 1}


async def test_no_call_is_begun_for_a_cancelled_task_even_if_its_program_goes_on():
    world = World()
    begun = anyio.Event()
    outcome = []

    async def program(turn):
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                try:
                    await turn.effect(world.pay, 5)
                except TurnEnded as error:
                    outcome.append(str(error))

    async def again(turn):
        begun.set()
        while True:
            try:
                await turn.effect(world.pay, 5) if world.calls else await anyio.sleep_forever()
            except Exception:
                raise
            except BaseException:
                if len(outcome) > 3:
                    raise
                outcome.append("caught")
                await turn.effect(world.pay, 6)

    for fn in (program, again):
        async with kernel_of({"p": fn}) as kernel:
            await kernel.submit("p", task_id="t")
            await begun.wait()
            await kernel.cancel("t")
    assert world.calls == []
    assert "not at work: no call is begun" in outcome[0]


async def test_no_call_is_begun_after_the_grace_of_a_stop_even_if_its_program_goes_on():
    world, begun = World(), anyio.Event()

    async def program(turn):
        begun.set()
        try:
            await anyio.sleep_forever()
        except BaseException:
            return turn.complete(output=await turn.effect(world.pay, 5))

    async with kernel_of({"p": program}) as kernel:
        await kernel.submit("p", task_id="t")
        await begun.wait()
        await kernel.stop(grace=0)
    assert world.calls == []
    assert kinds(kernel)["t"] == ("ready", None)


async def test_a_call_of_a_background_task_that_outlives_its_turn_does_not_taint_the_next():
    go_on, tasks, world, recorder = anyio.Event(), [], World(), Recorder()

    async def slow(number):
        world.calls.append(number)
        if len(world.calls) == 1:
            await go_on.wait()
        return len(world.calls)

    async def program(turn):
        if turn.number == 1:
            tasks.append(asyncio.ensure_future(turn.effect(slow, 1)))
            await settle()
            turn.say("left it behind")
            return None
        go_on.set()
        await settle()
        assert tasks[0].done()
        assert effects_of(recorder.saved()) == []
        return turn.complete(output=await turn.effect(slow, 1))

    result = await run(program, hooks=[recorder])
    assert result.output == 2  # made anew, not taken from the call of the turn before
    assert world.calls == [1, 1]
    await tasks[0]


@pytest.mark.parametrize("point", ["durable", "on_commit"])
async def test_when_durability_is_gone_no_further_call_happens(point):
    failing, world = Failing(), World()

    async def program(turn):
        await turn.effect(world.pay, 1)
        failing.points.add(point)
        for number in range(2, 5):
            try:
                await turn.effect(world.pay, number)
            except Exception:
                turn.say("caught")
        return turn.complete("never seen")

    with pytest.raises(RuntimeError, match="the disk is gone"):
        async with kernel_of({"p": program}, hooks=[failing]) as kernel:
            await kernel.submit("p", task_id="t")
            await kernel.join("t")
    assert world.calls == [1]
    assert not kernel.tasks.get("t").state.is_terminal()
