"""How turns and tasks end: the endings, what a program may return, what it may not."""

import asyncio
import sys

import anyio
import pytest
from kernel_kit import count, kernel_of, kinds, settle, texts

from kernelckpt import Message, SchedulerBudget
from kernelckpt.errors import EffectError, TurnEnded, UsageError

ENDINGS = {
    "join": lambda turn: turn.join(),
    "sleep": lambda turn: turn.sleep(0),
    "wait_for_message": lambda turn: turn.wait_for_message(),
    "wait_for_signal": lambda turn: turn.wait_for_signal(),
    "wait_external": lambda turn: turn.wait_external("door"),
    "ask_approval": lambda turn: turn.ask_approval("k", "?"),
    "request": lambda turn: turn.request(Message.assistant("hello")),
    "complete": lambda turn: turn.complete("done"),
    "fail": lambda turn: turn.fail("no"),
}

STAGES = {
    **ENDINGS,
    "say": lambda turn: turn.say("late"),
    "append": lambda turn: turn.append(Message.user("late")),
    "set_state": lambda turn: turn.set_state(1),
    "plan": lambda turn: turn.plan(["a"]),
    "progress": lambda turn: turn.progress("late"),
    "directive": lambda turn: turn.directive("late"),
    "spawn": lambda turn: turn.spawn("p"),
}


async def result_of(program, **settings):
    async with kernel_of({"p": program}, **settings) as kernel:
        await kernel.submit("p", task_id="t")
        with anyio.fail_after(10):
            return await kernel.join("t")


async def test_complete_with_text_and_output():
    async def program(turn):
        return turn.complete("text", output={"n": [1, None]})

    result = await result_of(program)
    assert (result.termination, result.ok, result.text) == ("completed", True, "text")
    assert result.output == {"n": [1, None]}
    assert (result.turns_used, result.error) == (1, "")


async def test_complete_with_nothing():
    async def program(turn):
        return turn.complete()

    result = await result_of(program)
    assert (result.ok, result.text, result.final_message, result.output) == (True, "", None, None)


async def test_fail_is_the_programs_own_judgement():
    async def program(turn):
        turn.say("kept")
        return turn.fail("no luck")

    async with kernel_of({"p": program}) as kernel:
        await kernel.submit("p", task_id="t")
        result = await kernel.join("t")
        assert (result.termination, result.error, result.ok) == ("error", "no luck", False)
        assert texts(kernel, "t") == ["kept"]
        assert result.turns_used == 1


@pytest.mark.parametrize("name", ["wait_for_message", "wait_for_signal", "wait_external", "ask_approval"])
async def test_an_ending_that_waits_counts_as_something_done(name):
    async def program(turn):
        return ENDINGS[name](turn)

    async with kernel_of({"p": program}) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.idle()
        state, wait = kinds(kernel)["t"]
        assert state == "suspended"
        assert wait in {"external", "signal", "approval"}


async def test_an_ending_that_was_called_but_not_returned_counts():
    async def program(turn):
        turn.complete("called")

    assert (await result_of(program)).text == "called"


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("end", ["complete", "sleep", "join"])
async def test_nothing_can_be_staged_after_an_ending(stage, end):
    async def program(turn):
        chosen = ENDINGS[end](turn)
        with pytest.raises(TurnEnded, match="the turn has ended in") as caught:
            STAGES[stage](turn)
        assert caught.value.hint
        if end != "complete":
            return chosen if turn.number == 1 else None
        return chosen

    result = await result_of(program, budget=SchedulerBudget(max_turns=2))
    assert result.ok or result.termination == "max_turns"


async def test_calls_are_refused_after_an_ending():
    async def program(turn):
        turn.complete("done")
        with pytest.raises(TurnEnded):
            await turn.effect(settle)
        with pytest.raises(TurnEnded):
            await turn.call("tool")

    assert (await result_of(program)).text == "done"


async def test_spending_and_drafts_are_possible_after_an_ending():
    async def program(turn):
        chosen = turn.complete("done")
        turn.spend(tokens=4)
        turn.emit("draft")
        return chosen

    assert (await result_of(program)).total_tokens_used == 4


@pytest.mark.parametrize("name", ENDINGS)
async def test_awaiting_an_ending_raises_with_advice(name):
    async def program(turn):
        await ENDINGS[name](turn)

    result = await result_of(program)
    assert result.termination == "error"
    assert "was awaited (return it: `return turn." in result.error


GARBAGE = {
    "text": "done",
    "number": 5,
    "true": True,
    "false": False,
    "zero": 0,
    "class": UsageError,
    "tuple": (),
}


@pytest.mark.parametrize("name", GARBAGE)
async def test_a_program_that_returns_garbage_fails_and_says_so(name):
    async def program(turn):
        turn.say("never")
        return GARBAGE[name]

    async with kernel_of({"p": program}) as kernel:
        await kernel.submit("p", task_id="t")
        result = await kernel.join("t")
        assert "UsageError: the program returned a" in result.error
        assert "turn.complete" in result.error
        assert texts(kernel, "t") == []


async def test_a_program_that_returns_a_call_it_did_not_await():
    async def program(turn):
        return turn.effect(settle)

    assert "did not await" in (await result_of(program)).error


async def test_an_ending_of_another_turn_is_refused():
    kept = []

    async def program(turn):
        if turn.number == 1:
            kept.append(turn.sleep(0))
            return kept[0]
        turn.say("never")
        return kept[0]

    async with kernel_of({"p": program}) as kernel:
        await kernel.submit("p", task_id="t")
        assert "ending of another turn" in (await kernel.join("t")).error
        assert texts(kernel, "t") == []


async def test_a_turn_that_does_nothing_stalls():
    async def program(turn):
        turn.emit("a draft is nothing")

    result = await result_of(program)
    assert result.termination == "error"
    assert result.error.startswith("TurnStalled: the turn staged nothing and ended in nothing")


async def test_none_asks_for_another_turn_until_the_budget_ends_it():
    async def program(turn):
        turn.say(str(turn.number))

    result = await result_of(program, budget=SchedulerBudget(max_turns=7))
    assert (result.termination, result.turns_used) == ("max_turns", 7)


async def test_a_program_or_a_call_that_exits_does_not_take_the_process_with_it():
    async def program(turn):
        with pytest.raises(EffectError, match="SystemExit: 2"):
            await turn.effect(leave)
        leave()

    def leave():
        sys.exit(2)

    assert "SystemExit: 2" in (await result_of(program)).error


async def test_a_program_that_lets_a_foreign_cancellation_escape_fails_alone():
    async def program(turn):
        task = asyncio.ensure_future(asyncio.sleep(100))
        await asyncio.sleep(0)
        task.cancel()
        await task

    async with kernel_of({"p": program, "count": count}) as kernel:
        await kernel.submit("count", task_id="c")
        await kernel.submit("p", task_id="t")
        assert "CancelledError" in (await kernel.join("t")).error
        assert (await kernel.join("c")).ok
        await kernel.submit("count", task_id="after")
        assert (await kernel.join("after")).ok


async def test_a_program_that_cancels_its_own_asyncio_task_fails_alone():
    async def program(turn):
        asyncio.current_task().cancel()
        await asyncio.sleep(0)

    async with kernel_of({"p": program, "count": count}) as kernel:
        await kernel.submit("p", task_id="t")
        assert "CancelledError" in (await kernel.join("t")).error
        await kernel.submit("count", task_id="after")
        assert (await kernel.join("after")).ok


async def test_a_program_may_use_timeouts_and_task_groups_of_its_own():
    async def program(turn):
        with anyio.move_on_after(0) as scope:
            await anyio.sleep(10)
        assert scope.cancelled_caught
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await asyncio.sleep(10)
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(settle)
        return turn.complete("done")

    assert (await result_of(program)).text == "done"


async def test_an_exception_group_fails_the_task():
    async def wrong():
        raise ValueError("inside")

    async def program(turn):
        async with anyio.create_task_group() as group:
            group.start_soon(wrong)

    result = await result_of(program)
    assert result.error.startswith("ExceptionGroup: unhandled errors")


async def test_a_program_that_raises_scheduler_stopped_without_a_stop_fails():
    async def program(turn):
        async with kernel_of() as other:
            pass
        await other.submit("p", task_id="x")

    with anyio.fail_after(5):
        assert "SchedulerStopped" in (await result_of(program)).error


async def test_what_happens_to_a_waiting_task_does_not_touch_others():
    async def wait(turn):
        return turn.wait_external("door")

    async with kernel_of({"wait": wait, "count": count}) as kernel:
        await kernel.submit("wait", task_id="w")
        await kernel.submit("count", task_id="c")
        await kernel.join("c")
        assert kinds(kernel)["w"] == ("suspended", "external")
        assert kernel.tasks.get("w").wait.note == "door"
        await kernel.resume("w")
        await kernel.idle()
        assert kernel.tasks.get("w").budget.turns == 2


async def test_resume_refuses_what_does_not_wait_for_it():
    async def wait(turn):
        return turn.wait_for_signal()

    async with kernel_of({"wait": wait, "count": count}) as kernel:
        await kernel.submit("wait", task_id="w")
        await kernel.submit("count", task_id="c")
        await kernel.join("c")
        await kernel.idle()
        with pytest.raises(UsageError, match="is suspended and waits for signal, not for a resume"):
            await kernel.resume("w")
        with pytest.raises(UsageError, match="is done and waits for nothing"):
            await kernel.resume("c")
