"""Governance in a live kernel: every call, effect and spawn is judged before it happens."""

import sys

import anyio
import pytest
from governed_kit import (
    ASK,
    DENY,
    answers,
    audit,
    called,
    noted,
    requesting,
    rules,
)
from kernel_kit import Recorder, kernel_of, kinds, settle

from kernelckpt import (
    GovernancePolicy,
    Message,
    RuntimeSignal,
    SchedulerBudget,
    SignalSource,
    SignalType,
    TimedOut,
    ToolCall,
    ToolRateLimit,
    Urgency,
)
from kernelckpt.errors import (
    UsageError,
)
from kernelckpt.testing import ManualClock

CRITICAL = RuntimeSignal(SignalSource.CUSTOM, SignalType.EVENT, Urgency.CRITICAL, "now")


async def test_a_denied_call_rolls_the_whole_turn_back_and_nothing_is_called():
    calls, recorder = [], Recorder()
    tools = [called(calls, "read"), called(calls, "löschen")]
    policy = rules(löschen=DENY)
    settings = {"tools": tools, "governance": policy, "hooks": [recorder]}
    async with kernel_of({"p": requesting("read", "löschen")}, **settings) as kernel:
        await kernel.submit("p", task_id="t")
        output = (await kernel.join("t")).output
        assert kernel.tasks.get("t").budget.turns == 2
        assert kernel.context("t").history == []
    (note,) = output["notes"]
    assert note == "[ROLLBACK] löschen was refused: rule 'löschen' denies tool 'löschen'"
    assert (calls, output["answers"]) == ([], {})
    assert audit(recorder, "t") == [("read", "allow", None), ("löschen", "deny", "permission")]
    assert [event.reason for event in noted(recorder, "Rollbacked")] == ["governance_denied"]


async def test_a_denial_comes_before_any_question_to_a_human():
    calls = []
    tools = [called(calls, name) for name in ("ask", "deny")]
    async with kernel_of(
        {"p": requesting("ask", "deny")}, tools=tools, governance=rules(ask=ASK, deny=DENY)
    ) as k:
        await k.submit("p", task_id="t")
        output = (await k.join("t")).output
        assert k.approvals() == []
    assert "deny was refused" in output["notes"][0]
    assert calls == []


async def test_a_call_too_many_is_asked_again_only_when_it_may_be():
    calls, clock = [], ManualClock()
    policy = GovernancePolicy(rate_limits=(ToolRateLimit("look", 1, 10_000),), default_rate_limit=None)

    async def program(turn):
        if len(turn.messages) < 4:
            return turn.request(Message.assistant("", [ToolCall(f"c{turn.number}", "look")]))
        return turn.complete(output=[turn.number, list(turn.notes)])

    async with kernel_of({"p": program}, tools=[called(calls, "look")], governance=policy, clock=clock) as k:
        await k.submit("p", task_id="t")
        await settle()
        row = k.tasks.get("t")
        assert (len(calls), row.budget.turns, row.state.label()) == (1, 2, "ready")
        await clock.advance(10)
        assert len(calls) == 1
        await clock.advance(0.002)
        result = await k.join("t")
    assert len(calls) == 2
    number, notes = result.output
    assert number == 4  # a request, a refusal, a request, and the end: no turn was wasted on a refusal
    assert notes == ["[ROLLBACK] look was refused: it was called too often"]


async def test_a_gated_call_waits_while_the_others_are_kept_with_it():
    calls, recorder = [], Recorder()
    tools = [called(calls, "read"), called(calls, "删除")]
    settings = {"tools": tools, "governance": rules(删除=ASK), "hooks": [recorder]}
    async with kernel_of({"p": requesting("read", "删除", "删除")}, **settings) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.idle()
        assert kinds(kernel)["t"] == ("suspended", "approval")
        assert calls == []
        first, second = kernel.approvals()
        assert first.payload["arguments"] == {"n": 1}
        assert (first.payload["call_id"], second.payload["call_id"]) == ("c1", "c2")
        assert first.payload["effect"] == "删除"
        await kernel.approve("t", first.key)
        await kernel.idle()
        assert calls == []
        await kernel.deny("t", second.key, reason="once is enough")
        output = (await kernel.join("t")).output
        assert [m.text for m in kernel.context("t").history][:2] == ["before", "I call"]
    assert calls == [("read", {"n": 0}), ("删除", {"n": 1})]
    assert output["answers"] == {
        "c0": ["read done", False],
        "c1": ["删除 done", False],
        "c2": ["once is enough", True],
    }
    assert [event.call_id for event in noted(recorder, "ToolGated")] == ["c1", "c2"]
    assert [event.pending_calls for event in noted(recorder, "Suspended")] == [("c1", "c2")]
    assert [event.denied for event in noted(recorder, "Resumed")] == [("c2",)]


async def test_an_empty_answer_approves_nothing_and_a_denial_of_all_answers_all():
    calls = []
    async with kernel_of(
        {"p": requesting("rm", "rm")}, tools=[called(calls, "rm")], governance=rules(rm=ASK)
    ) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.idle()
        for answer in (kernel.approve, kernel.resume):
            with pytest.raises(UsageError):
                await answer("t")
        assert len(kernel.approvals()) == 2
        await kernel.deny("t")
        output = (await kernel.join("t")).output
    assert output["answers"] == {"c0": ["denied", True], "c1": ["denied", True]}
    assert calls == []


async def test_an_answer_cannot_be_turned_round_or_given_twice():
    calls = []
    async with kernel_of(
        {"p": requesting("rm", "rm")}, tools=[called(calls, "rm")], governance=rules(rm=ASK)
    ) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.idle()
        first, second = [item.key for item in kernel.approvals()]
        await kernel.deny("t", first)
        for again in (kernel.approve, kernel.deny):
            with pytest.raises(UsageError, match="any more: it was answered already"):
                await again("t", first)
        await kernel.approve("t", second, second)
        output = (await kernel.join("t")).output
        with pytest.raises(UsageError):
            await kernel.approve("t", first)
    assert output["answers"] == {"c0": ["denied", True], "c1": ["rm done", False]}
    assert calls == [("rm", {"n": 1})]


def many(number):
    """A program that requests so many calls, half of which are gated, and gives how many were answered."""

    async def program(turn):
        if turn.number == 1:
            made = [ToolCall(f"c{n}", "look" if n % 2 else "rm", {"n": n}) for n in range(number)]
            return turn.request(Message.assistant("", made))
        return turn.complete(output=len(answers(turn.messages)))

    return program


async def work_of(number):
    """How many functions are called while so many calls are judged, asked about, answered and made."""
    calls, work = [], 0

    def count(_frame, event, _argument):
        nonlocal work
        work += event in {"call", "c_call"}

    tools = [called(calls, "look"), called(calls, "rm")]
    async with kernel_of({"p": many(number)}, tools=tools, governance=rules(rm=ASK)) as kernel:
        sys.setprofile(count)
        try:
            await kernel.submit("p", task_id="t")
            await kernel.idle()
            asked = [item.key for item in kernel.approvals()]
            await kernel.deny("t", asked[0])
            await kernel.approve("t", *asked[1:])
            assert (await kernel.join("t")).output == number
        finally:
            sys.setprofile(None)
    assert len(calls) == number - 1
    return work


async def test_a_thousand_calls_in_one_request_are_judged_once_each():
    calls, recorder = [], Recorder()
    settings = {"tools": [called(calls, "look")], "governance": rules(rm=ASK), "hooks": [recorder]}
    async with kernel_of({"p": many(1000)}, **settings) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.idle()
        assert len(kernel.approvals()) == 500
        assert calls == []
    assert len(audit(recorder, "t")) == 1000


async def test_twice_as_many_calls_are_about_twice_as_much_work():
    assert await work_of(400) < 3 * await work_of(200)


async def test_cancel_while_gated_answers_the_calls_and_drops_the_questions():
    calls = []
    async with kernel_of(
        {"p": requesting("rm")}, tools=[called(calls, "rm")], governance=rules(rm=ASK)
    ) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.idle()
        (question,) = kernel.approvals()
        with pytest.raises(UsageError, match="not finished"):
            await kernel.forget("t")
        await kernel.extend("t", SchedulerBudget(max_turns=7))
        assert kinds(kernel)["t"] == ("suspended", "approval")
        await kernel.cancel("t", "no more")
        assert kernel.approvals() == []
        assert answers(kernel.context("t").history) == {"c0": ["not made: no more", True]}
        with pytest.raises(UsageError):
            await kernel.approve("t", question.key)
        await kernel.forget("t")
        assert "t" not in kernel.tasks
    assert calls == []


async def test_a_critical_signal_does_not_push_a_gated_call_through():
    calls = []
    async with kernel_of(
        {"p": requesting("rm")}, tools=[called(calls, "rm")], governance=rules(rm=ASK)
    ) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.idle()
        await kernel.signal(CRITICAL, "t")
        await kernel.idle()
        assert kinds(kernel)["t"] == ("suspended", "approval")
        assert calls == []
        (question,) = kernel.approvals()
        await kernel.deny("t", question.key, reason="no")
        output = (await kernel.join("t")).output
    assert output["notes"] == ["[INTERRUPT] now"]
    assert output["answers"] == {"c0": ["no", True]}


async def test_what_an_earlier_turn_asked_in_vain_does_not_hold_an_answered_call_up():
    calls = []

    async def program(turn):
        if turn.number == 1:
            return turn.ask_approval("k", "?")
        if turn.number == 2:
            return turn.request(Message.assistant("", [ToolCall("c", "rm")]))
        return turn.complete(output=answers(turn.messages))

    async with kernel_of({"p": program}, tools=[called(calls, "rm")], governance=rules(rm=ASK)) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.idle()
        await kernel.signal(CRITICAL, "t")
        await kernel.idle()
        keys = [item.key for item in kernel.approvals()]
        assert keys[0] == "k"
        await kernel.approve("t", keys[1])
        with anyio.fail_after(5):
            assert (await kernel.join("t")).output == {"c": ["rm done", False]}


async def test_a_rolled_back_request_takes_its_questions_with_it():
    calls = []
    async with kernel_of(
        {"p": requesting("rm")}, tools=[called(calls, "rm")], governance=rules(rm=ASK)
    ) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.idle()
        await kernel.rollback("t", TimedOut())
        output = (await kernel.join("t")).output
        assert kernel.approvals() == []
    assert (calls, output["answers"]) == ([], {})
