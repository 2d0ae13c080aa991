"""Calls that take too long, and calls that are tried again; by a clock that the test owns."""

import anyio
import msgspec
import pytest
from effect_kit import World, run
from kernel_kit import Recorder, kernel_of, settle

from kernelckpt import Message, NotDone, Retry, ToolCall, tool
from kernelckpt.errors import EffectDenied, EffectError, InvalidValueError, UsageError
from kernelckpt.testing import ManualClock


class Shaky(World):
    """A world whose first calls fail."""

    def __init__(self, failures):
        super().__init__()
        self._failures = failures

    async def pay(self, amount):
        self.calls.append(amount)
        if len(self.calls) <= self._failures:
            raise ConnectionError(f"try {len(self.calls)}")
        return {"paid": amount}


class Silent(World):
    """A world that never answers."""

    async def pay(self, amount):
        self.calls.append(amount)
        await anyio.sleep_forever()


def paying(world, **options):
    return tool(name="pay", **options)(world.pay)


def agent(pay):
    async def program(turn):
        try:
            return turn.complete(output=await turn.effect(pay, 7))
        except EffectDenied as error:
            return turn.complete(output=["denied", error.error])
        except EffectError as error:
            return turn.complete(output=["failed", error.error])

    return program


def effect_in(saved):
    (effect,) = [msgspec.msgpack.decode(data) for key, data in saved.records.items() if key[0] == "effect"]
    return effect


# retry


async def test_a_call_that_raises_is_tried_again_after_pauses_that_grow():
    world, clock = Shaky(3), ManualClock()
    pay = paying(world, effect="idempotent", retry=Retry(attempts=4, first=1, factor=3))
    async with kernel_of({"p": agent(pay)}, clock=clock) as kernel:
        await kernel.submit("p", task_id="t")
        await settle()
        for pause, calls in ((1, 2), (3, 3), (9, 4)):
            await clock.advance(pause - 0.01)
            await settle()
            assert len(world.calls) == calls - 1
            await clock.advance(0.01)
            await settle()
            assert len(world.calls) == calls
        assert (await kernel.join("t")).output == {"paid": 7}


async def test_after_the_last_try_what_it_raised_is_the_outcome():
    world, clock = Shaky(9), ManualClock()
    pay = paying(world, effect="idempotent", retry=Retry(attempts=2, first=0))
    assert (await run(agent(pay), clock=clock)).output == ["failed", "ConnectionError: try 2"]
    assert world.calls == [7, 7]


async def test_a_crash_while_a_call_waits_for_its_next_try_neither_shortens_the_pause_nor_doubts_the_call():
    world, clock, recorder = Shaky(1), ManualClock(), Recorder()
    pay = paying(world, effect="idempotent", retry=Retry(attempts=2, first=10))
    async with kernel_of({"p": agent(pay)}, clock=clock, hooks=[recorder]) as kernel:
        await kernel.submit("p", task_id="t")
        await settle()
        saved = recorder.saved()
        await kernel.stop(grace=0)
    effect = effect_in(saved)
    assert (effect.get("status", "planned"), effect["tries"], effect["runs"]) == ("planned", 1, 1)
    assert effect["retry_at_ms"] == clock.wall_ms() + 10_000
    await clock.advance(4)
    async with kernel_of({"p": agent(pay)}, clock=clock, hooks=[Recorder(saved)]) as kernel:
        assert kernel.restored.in_doubt == ()
        await settle()
        await clock.advance(5.9)
        await settle()
        assert world.calls == [7]
        await clock.advance(0.2)
        assert (await kernel.join("t")).output == {"paid": 7}
    assert world.calls == [7, 7]


async def test_a_clock_that_was_set_back_does_not_lengthen_the_pause():
    world, clock, recorder = Shaky(1), ManualClock(), Recorder()
    pay = paying(world, effect="idempotent", retry=Retry(attempts=2, first=10))
    async with kernel_of({"p": agent(pay)}, clock=clock, hooks=[recorder]) as kernel:
        await kernel.submit("p", task_id="t")
        await settle()
        saved = recorder.saved()
        await kernel.stop(grace=0)
    clock.jump(-3_600_000)
    async with kernel_of({"p": agent(pay)}, clock=clock, hooks=[Recorder(saved)]) as kernel:
        await settle()
        await clock.advance(10.1)
        assert (await kernel.join("t")).output == {"paid": 7}


async def test_a_call_that_can_be_probed_is_probed_before_it_is_tried_again():
    world, clock = Shaky(9), ManualClock()
    pay = paying(world, probe=world.was_paid, retry=Retry(attempts=3, first=0))
    assert (await run(agent(pay), clock=clock)).output == ["failed", "ConnectionError: try 3"]
    assert (world.calls, world.probes) == ([7, 7, 7], [7, 7])
    world, world.knows = Shaky(9), NotDone()
    world.knows = {"paid": 7}
    pay = paying(world, probe=world.was_paid, retry=Retry(attempts=3, first=0))
    assert (await run(agent(pay), clock=clock)).output == {"paid": 7}
    assert (world.calls, world.probes) == ([7], [7])


def test_only_what_can_be_repeated_may_be_tried_again():
    for effect in ("ask", "fail"):
        with pytest.raises(UsageError, match="nobody knows whether that repeats it"):
            tool(effect=effect, retry=Retry())(settle)
    with pytest.raises(UsageError, match="retry is a int"):
        tool(effect="idempotent", retry=3)(settle)


@pytest.mark.parametrize("wrong", [{"attempts": 0}, {"factor": 0.5}, {"factor": float("nan")}])
def test_retries_that_are_none_are_refused(wrong):
    with pytest.raises(UsageError):
        Retry(**wrong)


def test_no_pause_is_longer_than_the_longest():
    retry = Retry(attempts=10_000, first=1, factor=2, longest=60)
    assert [retry.pause_ms(tries) for tries in (1, 2, 3, 7, 9_999)] == [1000, 2000, 4000, 60_000, 60_000]


# timeout


async def timed_out(world, **options):
    """A kernel whose call has had no answer for its five seconds."""
    clock = ManualClock()
    async with kernel_of({"p": agent(paying(world, timeout=5, **options))}, clock=clock) as kernel:
        await kernel.submit("p", task_id="t")
        await settle()
        await clock.advance(4.9)
        await settle()
        assert not kernel.tasks.get("t").state.is_terminal()
        assert kernel.approvals() == []
        await clock.advance(0.2)
        await settle()
        for question in kernel.approvals():
            assert question.payload["reason"] == "TimeoutError: no answer within 5 s"
            await kernel.approve("t", question.key, outcome={"paid": "by hand"})
        return (await kernel.join("t")).output


async def test_an_idempotent_call_that_takes_too_long_has_failed():
    world = Silent()
    assert await timed_out(world, effect="idempotent") == ["failed", "TimeoutError: no answer within 5 s"]
    assert world.calls == [7]


async def test_another_call_that_takes_too_long_is_in_doubt_and_a_human_decides():
    world = Silent()
    assert await timed_out(world) == {"paid": "by hand"}
    assert world.calls == [7]


async def test_one_that_is_to_fail_says_that_it_took_too_long():
    assert await timed_out(Silent(), effect="fail") == ["denied", "TimeoutError: no answer within 5 s"]


async def test_one_that_can_be_probed_is_and_is_not_made_again_without_a_retry():
    world = Silent()
    assert await timed_out(world, probe=world.was_paid) == ["failed", "TimeoutError: no answer within 5 s"]
    world.knows = {"paid": 7}
    assert await timed_out(world, probe=world.was_paid) == {"paid": 7}
    assert (world.calls, world.probes) == ([7, 7], [7, 7])


async def test_a_requested_call_that_takes_too_long_waits_for_a_human():
    world, clock = Silent(), ManualClock()

    async def program(turn):
        if turn.number == 1:
            return turn.request(Message.assistant("", [ToolCall("c1", "pay", {"amount": 7})]))
        return turn.complete(turn.messages[-1].text)

    async with kernel_of({"p": program}, clock=clock, tools=[paying(world, timeout=5)]) as kernel:
        await kernel.submit("p", task_id="t")
        await settle()
        await clock.advance(5.1)
        await settle()
        (question,) = kernel.approvals()
        await kernel.deny("t", question.key, reason="it did not")
        assert (await kernel.join("t")).text == "it did not"
    assert world.calls == [7]


async def test_a_call_within_its_time_is_not_disturbed():
    world, clock = World(), ManualClock()
    assert (await run(agent(paying(world, timeout=5)), clock=clock)).output == {"paid": 7}


# how options are given


async def test_a_registered_tool_is_called_with_other_options():
    world = World()

    @tool
    async def pay(amount: int, idempotency_key: str) -> None:
        world.keys.append(idempotency_key)

    async def program(turn):
        await turn.call(pay.options(key="a"), amount=1)
        await turn.call(pay.options(key="b", policy="idempotent"), amount=1)
        return turn.complete()

    assert (await run(program, tools=[pay])).ok
    assert world.keys == ["a", "b"]
    assert (pay.key, pay.effect) == ("", "ask")  # the options are of one call


async def test_a_tool_with_a_key_is_not_registered():
    with pytest.raises(UsageError, match="all its calls would be one"):
        kernel_of(tools=[tool(settle).options(key="a")])


@pytest.mark.parametrize("wrong", [{"key": ""}, {"key": 5}, {"timeout": -1}, {"timeout": "5"}])
def test_options_that_are_none_are_refused(wrong):
    with pytest.raises(InvalidValueError):
        tool(settle).options(**wrong)
