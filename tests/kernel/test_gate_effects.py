"""Governance before the effects of programs: denied, limited, gated, together with others under way."""

import anyio
import pytest
from governed_kit import (
    ASK,
    DENY,
    audit,
    called,
    rules,
)
from kernel_kit import Recorder, kernel_of, kinds, settle

from kernelckpt import (
    GovernancePolicy,
    RateLimit,
    RuntimeSignal,
    SignalSource,
    SignalType,
    TimedOut,
    ToolRateLimit,
    Urgency,
    tool,
)
from kernelckpt.errors import (
    EffectDenied,
    GovernanceDenied,
    RateLimitedError,
    UsageError,
)
from kernelckpt.testing import ManualClock

CRITICAL = RuntimeSignal(SignalSource.CUSTOM, SignalType.EVENT, Urgency.CRITICAL, "now")


async def test_a_denied_effect_can_be_caught_and_one_let_through_rolls_the_turn_back():
    calls, recorder = [], Recorder()
    rm = called(calls, "rm")

    async def program(turn):
        if turn.number == 1:
            turn.say("lost")
            await turn.effect(rm)
        try:
            await turn.call("rm")
        except GovernanceDenied as error:
            return turn.complete(output=[error.name, error.stage, bool(error.hint), list(turn.notes)])

    async with kernel_of({"p": program}, tools=[rm], governance=rules(rm=DENY), hooks=[recorder]) as kernel:
        await kernel.submit("p", task_id="t")
        output = (await kernel.join("t")).output
        assert kernel.context("t").history == []
    assert output[:3] == ["rm", "permission", True]
    assert output[3] == ["[ROLLBACK] rm was refused: rule 'rm' denies tool 'rm'"]
    assert audit(recorder, "t") == [("rm", "deny", "permission")] * 2
    assert calls == []


async def test_an_effect_too_many_is_made_when_it_may_be_and_those_before_it_only_once():
    calls, clock = [], ManualClock()
    look, rm = called(calls, "look"), called(calls, "rm")
    policy = GovernancePolicy(rate_limits=(ToolRateLimit("rm", 1, 5_000),), default_rate_limit=None)

    async def program(turn):
        await turn.effect(look)
        await turn.effect(rm, n=1)
        await turn.effect(rm, n=2)
        return turn.complete("done")

    async with kernel_of({"p": program}, governance=policy, clock=clock) as kernel:
        await kernel.submit("p", task_id="t")
        await settle()
        assert [name for name, _ in calls] == ["look", "rm"]
        await clock.advance(5.002)
        assert (await kernel.join("t")).text == "done"
    assert calls == [("look", {}), ("rm", {"n": 1}), ("rm", {"n": 2})]


async def test_a_rate_limited_effect_says_when_to_try_again():
    seen = []

    async def program(turn):
        await turn.effect(look)
        try:
            await turn.effect(look)
        except RateLimitedError as error:
            seen.append((error.name, error.retry_after_ms))
        return turn.complete("done")

    look = called([], "look")
    policy = GovernancePolicy(default_rate_limit=RateLimit(1, 5_000))
    async with kernel_of({"p": program}, governance=policy, clock=ManualClock()) as kernel:
        await kernel.submit("p", task_id="t")
        assert (await kernel.join("t")).text == "done"
    assert seen == [("look", 5_000)]


@pytest.mark.parametrize("answer", ["approve", "deny"])
async def test_a_gated_effect_is_made_once_when_it_is_answered(answer):
    calls = []
    look, rm = called(calls, "look"), called(calls, "rm")

    async def program(turn):
        turn.say(f"attempt {turn.attempt}")
        await turn.effect(look)
        try:
            return turn.complete(await turn.effect(rm, path="/x" * 2000))
        except EffectDenied as error:
            return turn.complete(f"denied: {error.error}")

    async with kernel_of({"p": program}, governance=rules(rm=ASK)) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.idle()
        assert kinds(kernel)["t"] == ("suspended", "approval")
        assert calls == [("look", {})]
        assert kernel.context("t").history == []
        (question,) = kernel.approvals()
        assert question.payload["arguments"] == {"path": "/x" * 2000}  # a human sees all of it
        reason = {"reason": "not now"} if answer == "deny" else {}
        await getattr(kernel, answer)("t", question.key, **reason)
        text = (await kernel.join("t")).text
        assert kernel.tasks.get("t").budget.turns == 1
        assert len(kernel.context("t").history) == 1
    made = [("rm", {"path": "/x" * 2000})] if answer == "approve" else []
    assert calls == [("look", {}), *made]
    assert text == ("rm done" if answer == "approve" else "denied: not now")


async def test_a_human_sees_the_arguments_of_an_idempotent_effect_too():
    @tool(effect="idempotent")
    async def put(place):
        return place

    async def program(turn):
        return turn.complete(await turn.effect(put, "a shelf"))

    async with kernel_of({"p": program}, governance=rules(put=ASK)) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.idle()
        (question,) = kernel.approvals()
        assert question.payload["arguments"] == ["a shelf", {}]
        await kernel.approve("t", question.key)
        assert (await kernel.join("t")).text == "a shelf"


async def test_a_program_that_catches_everything_still_waits_for_the_human():
    calls = []
    rm, look = called(calls, "rm"), called(calls, "look")

    async def program(turn):
        turn.say("kept if nothing was gated")
        said = []
        for made in (rm, look):
            try:
                said.append(await turn.effect(made))
            except BaseException as error:
                said.append(type(error).__name__)
        return turn.complete(output=said)

    async with kernel_of({"p": program}, governance=rules(rm=ASK)) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.idle()
        assert calls == []  # nor is another call begun in a turn that is discarded
        assert kernel.context("t").history == []
        (question,) = kernel.approvals()
        await kernel.deny("t", question.key)
        assert (await kernel.join("t")).output == ["EffectDenied", "look done"]
    assert calls == [("look", {})]


async def test_two_gated_effects_at_once_are_asked_about_one_after_the_other_and_made_once():
    calls = []
    rm = called(calls, "rm")

    async def program(turn):
        async with anyio.create_task_group() as group:
            for number in range(2):
                group.start_soon(lambda n: turn.effect(rm, n=n), number)
        return turn.complete("both")

    async with kernel_of({"p": program}, governance=rules(rm=ASK), max_concurrency=1) as kernel:
        await kernel.submit("p", task_id="t")
        for _ in range(2):
            await kernel.idle()
            assert kinds(kernel)["t"] == ("suspended", "approval")
            (question,) = kernel.approvals()
            await kernel.approve("t", question.key)
        assert (await kernel.join("t")).text == "both"
    assert sorted(arguments["n"] for _, arguments in calls) == [0, 1]


async def test_an_effect_under_way_is_done_before_its_gated_sibling_ends_the_turn():
    begun, may_end, calls = anyio.Event(), anyio.Event(), []

    @tool(effect="ask")
    async def slow():
        calls.append("slow")
        begun.set()
        await may_end.wait()
        return "slow"

    rm = called(calls, "rm")

    async def program(turn):
        results = []

        async def first():
            results.append(await turn.effect(slow))

        async def second():
            await begun.wait()
            results.append(await turn.effect(rm))

        async with anyio.create_task_group() as group:
            group.start_soon(first)
            group.start_soon(second)
        return turn.complete(output=sorted(results))

    async with kernel_of({"p": program}, governance=rules(rm=ASK)) as kernel:
        await kernel.submit("p", task_id="t")
        await begun.wait()
        await settle()
        assert kinds(kernel)["t"][0] == "running"
        may_end.set()
        await kernel.idle()
        (question,) = kernel.approvals()
        await kernel.approve("t", question.key)
        assert (await kernel.join("t")).output == ["rm done", "slow"]
    assert calls == ["slow", ("rm", {})]


async def test_an_effect_cut_off_by_a_refused_sibling_is_in_doubt_and_not_simply_repeated():
    begun, calls = anyio.Event(), []

    @tool(effect="ask")
    async def slow():
        calls.append("slow")
        begun.set()
        if len(calls) == 1:
            await anyio.sleep_forever()
        return "slow"

    rm = called(calls, "rm")

    async def program(turn):
        if turn.notes:
            return turn.complete(await turn.effect(slow))
        async with anyio.create_task_group() as group:
            group.start_soon(turn.effect, slow)
            await begun.wait()
            await turn.effect(rm)
        return None

    async with kernel_of({"p": program}, governance=rules(rm=DENY)) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.idle()
        assert calls == ["slow"]
        (question,) = kernel.approvals()
        assert "may have happened" in question.prompt
        await kernel.approve("t", question.key)
        assert (await kernel.join("t")).text == "slow"
    assert calls == ["slow", "slow"]


async def test_a_gated_effect_that_is_rolled_back_from_outside_is_asked_about_again():
    calls = []
    rm = called(calls, "rm")

    async def program(turn):
        if turn.number == 1 and turn.notes:
            return turn.rollback(TimedOut())
        return turn.complete(await turn.effect(rm))

    async with kernel_of({"p": program}, governance=rules(rm=ASK)) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.idle()
        (old,) = kernel.approvals()
        await kernel.rollback("t", TimedOut())
        await kernel.idle()
        assert calls == []
        assert kinds(kernel)["t"] == ("suspended", "approval")
        (new,) = kernel.approvals()
        assert new.key != old.key
        with pytest.raises(UsageError):
            await kernel.approve("t", old.key)
        await kernel.approve("t", new.key)
        assert (await kernel.join("t")).text == "rm done"
    assert calls == [("rm", {})]


async def test_a_question_is_gone_with_the_call_that_the_next_attempt_does_not_make():
    rm = called([], "rm")

    async def program(turn):
        if turn.notes:
            return turn.wait_external("door")
        await turn.effect(rm)
        return None

    async with kernel_of({"p": program}, governance=rules(rm=ASK)) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.idle()
        (old,) = kernel.approvals()
        await kernel.rollback("t", TimedOut())
        await kernel.idle()
        assert kinds(kernel)["t"] == ("suspended", "external")
        assert kernel.approvals() == []
        with pytest.raises(UsageError, match="asks nothing under"):
            await kernel.approve("t", old.key)


async def test_a_critical_signal_breaks_a_turn_off_in_which_a_call_is_gated_and_it_is_asked_about_again():
    begun, may_end, calls = anyio.Event(), anyio.Event(), []

    @tool(effect="ask")
    async def slow():
        calls.append("slow")
        begun.set()
        await may_end.wait()
        return "slow"

    rm = called(calls, "rm")

    async def program(turn):
        async with anyio.create_task_group() as group:
            group.start_soon(turn.effect, slow)
            await begun.wait()
            await turn.effect(rm)
        return turn.complete(output=list(turn.notes))

    async with kernel_of({"p": program}, governance=rules(rm=ASK)) as kernel:
        await kernel.submit("p", task_id="t")
        await begun.wait()
        await settle()
        await kernel.signal(
            RuntimeSignal(SignalSource.CUSTOM, SignalType.EVENT, Urgency.CRITICAL, "now"), "t"
        )
        await settle()
        assert kinds(kernel)["t"][0] == "running"
        may_end.set()
        await kernel.idle()
        assert kinds(kernel)["t"] == ("suspended", "approval")
        assert calls == ["slow"]
        (question,) = kernel.approvals()
        await kernel.approve("t", question.key)
        assert (await kernel.join("t")).output == ["[INTERRUPT] now"]
    assert calls == ["slow", ("rm", {})]


async def test_a_task_cancelled_while_a_gated_call_waits_for_its_sibling_asks_nothing():
    begun, calls = anyio.Event(), []

    @tool(effect="ask")
    async def slow():
        begun.set()
        await anyio.sleep_forever()

    rm = called(calls, "rm")

    async def program(turn):
        async with anyio.create_task_group() as group:
            group.start_soon(turn.effect, slow)
            await begun.wait()
            await turn.effect(rm)

    recorder = Recorder()
    async with kernel_of({"p": program}, governance=rules(rm=ASK), hooks=[recorder]) as kernel:
        await kernel.submit("p", task_id="t")
        await begun.wait()
        await settle()
        await kernel.cancel("t")
        await kernel.idle()
        assert kernel.approvals() == []
        await kernel.forget("t")
    assert calls == []
    assert [key for key in recorder.saved().records if key[1] == "t"] == []
