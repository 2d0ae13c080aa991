"""Programs that are retried: a turn that raises is run again later; tries and time are in the row."""

import asyncio

import anyio
import pytest
from kernel_kit import Recorder, kernel_of, settle

from kernelckpt import Program, Redaction, Retry, SchedulerBudget, tool
from kernelckpt.errors import UsageError
from kernelckpt.testing import ManualClock

RETRY = Retry(attempts=3, first=2.0, factor=5.0)


def failing(times):
    """A program that raises so often, and then completes; how often it was begun."""
    begun = []

    async def program(turn):
        begun.append(turn.attempt)
        turn.say("said")
        if len(begun) <= times:
            raise ValueError(f"no {len(begun)}")
        return turn.complete()

    return program, begun


def row_of(kernel):
    return kernel.tasks.get("t")


async def test_a_turn_that_raises_is_run_again_after_pauses_that_grow():
    clock, (program, begun) = ManualClock(), failing(2)
    start = clock.wall_ms()
    async with kernel_of({"p": Program(program, retry=RETRY)}, clock=clock) as kernel:
        await kernel.submit("p", task_id="t")
        await settle()
        assert (row_of(kernel).failed, row_of(kernel).deferred_until) == (1, start + 2_000)
        assert row_of(kernel).failure.startswith("ValueError: no 1")
        await clock.advance(1.999)
        assert len(begun) == 1
        await clock.advance(0.001)
        assert (row_of(kernel).failed, row_of(kernel).deferred_until) == (2, start + 12_000)
        await clock.advance(10)
        result = await kernel.join("t")
        assert (result.ok, result.turns_used) == (True, 1)
        assert (row_of(kernel).failed, row_of(kernel).failure, len(begun)) == (0, "", 3)
        assert [message.text for message in kernel.context("t").history] == ["said"]


async def test_what_programs_raise_is_logged(caplog):
    clock, (program, _) = ManualClock(), failing(9)
    retried = Program(program, retry=Retry(attempts=2, first=2.0))
    secret = Redaction({"KEY": "s3cret-s3cret"})
    programs = {"retried": retried, "once": raise_secret}
    async with kernel_of(programs, clock=clock, redaction=secret) as kernel:
        await kernel.submit("retried", task_id="t")
        await clock.advance(100)
        await kernel.submit("once", task_id="u")
        await kernel.join()
    place = "(test_program_retry.py:"
    assert [message[: message.find(place)] for message in caplog.messages] == [
        "run 'run': task 't', turn 1: raised (try 1 of 2, again in 2 s): ValueError: no 1 ",
        "run 'run': task 't', turn 1: failed: ValueError: no 2 ",
        "run 'run': task 'u', turn 1: failed: ValueError: no [redacted KEY] here ",
    ]
    assert {record.name for record in caplog.records} == {"kernelckpt"}


async def raise_secret(turn):
    raise ValueError("no s3cret-s3cret here")


async def test_after_the_last_try_the_task_ends_with_what_was_raised():
    clock, (program, begun) = ManualClock(), failing(9)
    async with kernel_of({"p": Program(program, retry=RETRY)}, clock=clock) as kernel:
        await kernel.submit("p", task_id="t")
        await clock.advance(100)
        result = await kernel.join("t")
        assert (result.termination, len(begun), row_of(kernel).failed) == ("error", 3, 3)
        assert result.error.startswith("ValueError: no 3")


async def test_a_program_is_not_retried_by_default():
    program, begun = failing(9)
    async with kernel_of({"p": program}) as kernel:
        await kernel.submit("p", task_id="t")
        assert (await kernel.join("t")).termination == "error"
        assert (len(begun), row_of(kernel).failed, row_of(kernel).failure) == (1, 0, "")


async def test_tries_count_from_the_last_turn_that_was_committed():
    clock, raised = ManualClock(), []

    async def program(turn):
        if len(raised) < 2 * turn.number:
            raised.append(turn.number)
            raise ValueError("no")
        turn.say("on")
        return turn.complete() if turn.number == 3 else None

    async with kernel_of({"p": Program(program, retry=RETRY)}, clock=clock) as kernel:
        await kernel.submit("p", task_id="t")
        await clock.advance(100)
        assert (await kernel.join("t")).ok
    assert raised == [1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize(("down", "begun_then"), [(1_000, 0), (2_000, 1), (3_600_000, 1)])
async def test_tries_and_the_time_of_the_next_survive_a_restart(down, begun_then):
    clock, recorder, (program, begun) = ManualClock(), Recorder(), failing(2)
    async with kernel_of({"p": Program(program, retry=RETRY)}, clock=clock, hooks=[recorder]) as kernel:
        await kernel.submit("p", task_id="t")
        await settle()
    clock.jump(down)
    again = Recorder(recorder.saved())
    async with kernel_of({"p": Program(program, retry=RETRY)}, clock=clock, hooks=[again]) as kernel:
        await settle()
        assert len(begun) == 1 + begun_then
        assert row_of(kernel).failed == 1 + begun_then
        await clock.advance(20)
        assert (await kernel.join("t")).ok


async def test_a_crash_in_a_turn_is_no_failed_try():
    clock, begun, recorder = ManualClock(), anyio.Event(), Recorder()

    async def program(turn):
        begun.set()
        await anyio.sleep_forever()

    async with kernel_of({"p": Program(program, retry=RETRY)}, clock=clock, hooks=[recorder]) as kernel:
        await kernel.submit("p", task_id="t")
        await begun.wait()
        died = recorder.saved()
        await kernel.cancel("t")
    done, _ = failing(0)
    async with kernel_of({"p": Program(done, retry=RETRY)}, hooks=[Recorder(died)]) as kernel:
        assert row_of(kernel).failed == 0
        assert (await kernel.join("t")).ok


async def test_a_retry_is_told_with_its_number_and_its_time():
    clock, told, (program, _) = ManualClock(), [], failing(1)
    async with kernel_of({"p": Program(program, retry=RETRY)}, clock=clock) as kernel:

        async def listen():
            async for event in kernel.events():
                told.append(event)

        async with anyio.create_task_group() as group:
            group.start_soon(listen)
            await settle()
            await kernel.submit("p", task_id="t")
            await clock.advance(10)
            await kernel.join("t")
            await settle()
            group.cancel_scope.cancel()
    (retrying,) = [event for event in told if event.kind == "retrying"]
    assert (retrying.task_id, retrying.turn, retrying.data["failed"]) == ("t", 1, 1)
    assert retrying.data["until_ms"] == ManualClock().wall_ms() + 2_000
    assert retrying.data["error"].startswith("ValueError: no 1")
    assert [event.kind for event in told].index("discarded") < told.index(retrying)


@pytest.mark.parametrize(("policy", "calls"), [("idempotent", 2), ("ask", 1)])
async def test_only_what_may_be_repeated_is_called_again_by_a_retry(policy, calls):
    clock, made = ManualClock(), []

    @tool(effect=policy)
    async def flaky() -> str:
        made.append("flaky")
        if len(made) == 1:
            raise ConnectionError("lost")
        return "sent"

    async def program(turn):
        return turn.complete(await turn.effect(flaky))

    async with kernel_of({"p": Program(program, retry=RETRY)}, clock=clock) as kernel:
        await kernel.submit("p", task_id="t")
        await clock.advance(100)
        result = await kernel.join("t")
    assert (result.ok, len(made)) == (policy == "idempotent", calls)


@pytest.mark.parametrize("policy", ["idempotent", "ask"])
async def test_calls_under_way_when_a_turn_raises_are_done_and_not_made_again(policy):
    clock, made, begun, go_on = ManualClock(), [], anyio.Event(), anyio.Event()

    @tool(effect=policy)
    async def slow() -> str:
        made.append("slow")
        begun.set()
        await go_on.wait()
        return "done"

    async def program(turn):
        call = asyncio.ensure_future(turn.effect(slow))
        await begun.wait()
        if turn.attempt == 1:
            raise ValueError("no")
        return turn.complete(await call)

    async with kernel_of({"p": Program(program, retry=RETRY)}, clock=clock) as kernel:
        await kernel.submit("p", task_id="t")
        await clock.advance(50)
        failed_before = row_of(kernel).failed
        go_on.set()
        await clock.advance(50)
        result = row_of(kernel).result
        await kernel.stop(0)
    assert failed_before == 0  # it waits for the call
    assert (result and result.text, made) == ("done", ["slow"])


async def test_a_retried_turn_pays_for_each_try_and_ends_with_its_budget():
    clock = ManualClock()

    async def program(turn):
        turn.spend(tokens=10)
        raise ValueError("no")

    async with kernel_of({"p": Program(program, retry=Retry(attempts=9, first=1.0))}, clock=clock) as kernel:
        await kernel.submit("p", task_id="t", budget=SchedulerBudget(max_total_tokens=30))
        await clock.advance(1000)
        result = await kernel.join("t")
        assert (result.termination, result.total_tokens_used) == ("token_budget", 30)


async def test_a_task_that_waits_to_be_tried_again_can_be_cancelled():
    clock, (program, begun) = ManualClock(), failing(9)
    async with kernel_of({"p": Program(program, retry=RETRY)}, clock=clock) as kernel:
        await kernel.submit("p", task_id="t")
        await settle()
        await kernel.cancel("t")
        await clock.advance(100)
        assert ((await kernel.join("t")).termination, len(begun)) == ("user_abort", 1)


def test_a_retry_that_is_none_is_refused():
    program, _ = failing(0)
    for bad in (3, None):
        with pytest.raises(UsageError, match="retry is a"):
            Program(program, retry=bad)
