"""The harness runs agents with fakes in place of tools, moves time by hand, and kills as kill -9 does."""

import asyncio

import pytest

from kernelckpt import (
    Message,
    NotDone,
    RuntimeSignal,
    SignalSource,
    SignalType,
    ToolCall,
    Urgency,
    tool,
)
from kernelckpt.errors import EffectDenied, EffectError, UnknownTaskError, UsageError
from kernelckpt.testing import AgentHarness, Answers, FakeCall, ManualClock, UnansweredError


async def clerk(turn):
    """Ask whether to pay, and pay."""
    answer = turn.approvals.get("pay")
    if answer is None:
        turn.say("may I?")
        turn.set_state({"asked": True})
        return turn.ask_approval("pay", "Pay 3?", {"amount": 3})
    if not answer.approved:
        return turn.complete(f"not paid: {answer.reason}")
    return turn.complete(await turn.call("pay", amount=3))


async def listen(turn):
    """Say what is sent, until told to stop."""
    for message in turn.inbox:
        turn.say(message.text)
        if message.text == "stop":
            return turn.complete("stopped")
    return turn.wait_for_message()


async def payer(turn):
    """Pay at once, in two calls."""
    first = await turn.call("pay", amount=1)
    second = await turn.call("pay", amount=2)
    return turn.complete(f"{first}, {second}")


async def test_an_agent_runs_with_fakes_through_an_approval_and_a_crash():
    async with AgentHarness({"clerk": clerk}, fakes={"pay": "paid"}) as harness:
        assert await harness.submit("clerk") == "task-1"
        await harness.step()
        assert harness.texts("task-1") == ["may I?"]
        assert harness.state("task-1") == {"asked": True}
        (question,) = harness.approvals()
        assert (question.key, question.payload) == ("pay", {"amount": 3})
        await harness.crash()
        await harness.restart()
        assert [item.key for item in harness.approvals()] == ["pay"]
        await harness.approve(question, by="ada")
        assert (await harness.join("task-1")).text == "paid"
        (call,) = harness.calls
        assert (call.name, call.kwargs, call.task_id, call.done, call.value) == (
            "pay",
            {"amount": 3},
            "task-1",
            True,
            "paid",
        )
        assert call.key
        assert harness.counts() == {"task-1: pay(amount=3)": 1}
        assert harness.lives == 2


async def test_a_denied_question_reaches_the_agent():
    async with AgentHarness({"clerk": clerk}, fakes={"pay": "paid"}) as harness:
        await harness.submit("clerk", task_id="c1")
        await harness.step()
        await harness.deny(*harness.approvals(), reason="too dear")
        assert (await harness.join("c1")).text == "not paid: too dear"
        assert harness.calls == []


async def test_answers_come_in_their_order_as_values_exceptions_and_functions():
    async def asker(turn):
        try:
            await turn.call("ask", n=turn.number)
        except EffectError as error:
            turn.say(f"no: {error.error}")
        else:
            turn.say("yes")
        return turn.complete() if turn.number == 4 else None

    async def later(n):
        await asyncio.sleep(0)
        return n

    answers = Answers(1, ValueError("busy"), KeyError, later)
    async with AgentHarness({"asker": asker}, fakes={"ask": answers}) as harness:
        await harness.submit("asker", task_id="a")
        await harness.step()
        assert harness.texts("a") == ["yes", "no: ValueError: busy", "no: KeyError: ", "yes"]
        assert [(call.done, call.value) for call in harness.calls] == [
            (True, 1),
            (False, None),
            (False, None),
            (True, 4),
        ]
        assert isinstance(harness.calls[1].error, ValueError)
        assert harness.counts() == {"a: ask(n=1)": 1, "a: ask(n=4)": 1}


async def test_a_call_that_nothing_stands_for_fails_the_test_and_not_the_agent():
    calls = []

    @tool
    def pay(amount):
        calls.append(amount)

    async with AgentHarness({"payer": payer}, tools=[pay], fakes={"look": 1}) as harness:
        with pytest.raises(UnansweredError, match=r"pay\(amount=1\) was called and has no fake.*known: look"):
            await harness.submit("payer", task_id="p")
            await harness.step()
    assert calls == []


async def test_more_calls_than_answers_fail_the_test():
    async with AgentHarness({"payer": payer}, fakes={"pay": Answers("one")}) as harness:
        await harness.submit("payer", task_id="p")
        with pytest.raises(UnansweredError, match="'pay' was called more often than its 1 answers"):
            await harness.join("p")


async def test_functions_called_as_effects_have_fakes_by_their_names():
    def send_mail(to, idempotency_key):
        raise AssertionError("the real one")

    async def mailer(turn):
        return turn.complete(await turn.effect(send_mail, "ada"))

    keys = []

    def fake(to, idempotency_key):
        keys.append(idempotency_key)
        return f"sent to {to}"

    async with AgentHarness({"mailer": mailer}, fakes={"send_mail": fake}) as harness:
        await harness.submit("mailer", task_id="m")
        assert (await harness.join("m")).text == "sent to ada"
        assert keys == [harness.calls[0].key]
        assert harness.counts() == {"m: send_mail('ada')": 1}


async def test_tools_that_an_assistant_asks_for_have_fakes_too():
    async def assistant(turn):
        if turn.number == 1:
            return turn.request(Message.assistant("I look", [ToolCall("c1", "look", {"at": "sky"})]))
        return turn.complete(turn.messages[-1].text)

    async with AgentHarness({"a": assistant}, fakes={"look": lambda at: f"{at} is blue"}) as harness:
        await harness.submit("a", task_id="a")
        assert (await harness.join("a")).text == "sky is blue"


async def test_time_stands_still_until_the_test_moves_it():
    async def sleeper(turn):
        turn.say(f"turn {turn.number}")
        return turn.complete("awake") if turn.number == 3 else turn.sleep(100)

    clock = ManualClock()
    async with AgentHarness({"s": sleeper}, clock=clock) as harness:
        await harness.submit("s", task_id="s")
        await harness.step()
        await harness.advance(99.5)
        assert harness.texts("s") == ["turn 1"]
        await harness.advance(0.5)
        assert harness.texts("s") == ["turn 1", "turn 2"]
        await harness.crash()
        await clock.advance(1000)
        await harness.restart()
        await harness.step()
        assert harness.texts("s") == ["turn 1", "turn 2", "turn 3"]
        assert harness.timers.counts() == {"s": 2}
        assert clock.monotonic() == 1100


async def test_whoever_is_woken_acts_at_his_own_time_however_much_he_does():
    times = []

    async def busy(turn):
        for number in range(10):
            await turn.call("look", n=number)
        return turn.complete("done") if turn.number == 3 else turn.sleep(1)

    async with AgentHarness(
        {"b": busy}, fakes={"look": lambda n: times.append(clock.monotonic())}
    ) as harness:
        clock = harness.clock
        await harness.submit("b", task_id="b")
        await harness.advance(5)
        assert times == [0.0] * 10 + [1.0] * 10 + [2.0] * 10
        assert clock.monotonic() == 5


async def test_join_lets_a_task_have_the_time_it_needs_but_no_more():
    async def sleeper(turn):
        return turn.complete("awake") if turn.number == 3 else turn.sleep(3600)

    async with AgentHarness({"s": sleeper, "l": listen}) as harness:
        await harness.submit("s", task_id="s")
        with pytest.raises(UsageError, match="'s' does not end"):
            await harness.join("s", within=5000)
        assert (await harness.join("s")).text == "awake"
        assert harness.clock.monotonic() == 7200
        await harness.submit("l", task_id="l")
        with pytest.raises(UsageError, match="'l' does not end: it is suspended, waiting for external"):
            await harness.join("l")
        with pytest.raises(UnknownTaskError):
            await harness.join("nobody")


async def test_what_was_not_durable_is_gone_and_the_world_stays():
    held = asyncio.Event()

    async def pay(amount):
        if amount == 2:
            await held.wait()
        return f"paid {amount}"

    async with AgentHarness({"payer": payer}, fakes={"pay": pay}) as harness:
        await harness.submit("payer", task_id="p")
        await harness.step()
        assert [call.done for call in harness.calls] == [True, False]
        await harness.crash()
        held.set()
        await asyncio.sleep(0)
        assert [call.done for call in harness.calls] == [True, False]
        await harness.restart()
        assert harness.kernel.restored.in_doubt == ("p: pay",)
        await harness.step()
        (question,) = harness.approvals()
        assert harness.call_of(question) is None
        await harness.approve(question)
        assert (await harness.join("p")).text == "paid 1, paid 2"
        assert harness.counts() == {"p: pay(amount=1)": 1, "p: pay(amount=2)": 1}


async def test_what_a_dead_process_does_in_finally_reaches_nobody():
    held = asyncio.Event()

    async def tidy(turn):
        try:
            await turn.call("hang")
        finally:
            turn.spend(tokens=1000)
            await turn.call("clean")

    async with AgentHarness({"t": tidy}, fakes={"hang": held.wait, "clean": None}) as harness:
        await harness.submit("t", task_id="t")
        await harness.step()
        await harness.crash()
        await harness.restart()
        assert [call.name for call in harness.calls] == ["hang"]
        assert harness.task("t").budget.total_tokens == 0


async def test_programs_that_are_made_anew_forget_what_they_kept_in_variables():
    def programs():
        seen = []

        async def hoarder(turn):
            seen.extend(message.text for message in turn.inbox)
            turn.set_state(list(seen))
            return turn.wait_for_message()

        return {"h": hoarder}

    async with AgentHarness(programs) as harness:
        await harness.submit("h", task_id="h")
        await harness.send("h", "one")
        await harness.step()
        await harness.send("h", "two")
        await harness.step()
        assert harness.state("h") == ["one", "two"]
        await harness.crash()
        await harness.restart()
        await harness.send("h", "three")
        await harness.step()
        assert harness.state("h") == ["three"]


async def test_a_tool_keeps_what_it_was_declared_as():
    @tool(probe=lambda amount: NotDone())
    def pay(amount: int) -> str:
        raise AssertionError("the real one")

    held = asyncio.Event()

    async def fake(amount):
        if amount == 2 and not held.is_set():
            await held.wait()
        return f"paid {amount}"

    async with AgentHarness({"payer": payer}, tools=[pay], fakes={"pay": fake}) as harness:
        await harness.submit("payer", task_id="p")
        await harness.step()
        await harness.crash()
        held.set()
        await harness.restart()
        assert (await harness.join("p")).text == "paid 1, paid 2"
        assert [call.name for call in harness.calls] == ["pay", "pay", "the probe of pay", "pay"]
        assert {call.policy for call in harness.calls} == {"probe"}


async def test_a_probe_may_have_a_fake_of_its_own():
    @tool(probe=lambda amount: NotDone())
    def pay(amount: int) -> str:
        raise AssertionError("the real one")

    async def once(turn):
        return turn.complete(await turn.call("pay", amount=1))

    held = asyncio.Event()
    fakes = {"pay": lambda amount: held.wait(), "the probe of pay": lambda amount: f"paid {amount} long ago"}
    async with AgentHarness({"once": once}, tools=[pay], fakes=fakes) as harness:
        await harness.submit("once", task_id="p")
        await harness.step()
        await harness.crash()
        await harness.restart()
        assert (await harness.join("p")).text == "paid 1 long ago"
        assert harness.counts() == {}


async def test_a_fake_tool_may_be_declared_where_its_answer_is():
    @tool(effect="fail")
    def pay(amount: int) -> str:
        return f"paid {amount}"

    async def careful(turn):
        try:
            return turn.complete(await turn.call("pay", amount=1))
        except EffectDenied as error:
            return turn.complete(f"in doubt: {error.may_have_happened}")

    async with AgentHarness({"c": careful}, fakes={"pay": pay}) as harness:
        await harness.submit("c", task_id="c")
        assert (await harness.join("c")).text == "paid 1"
        assert harness.calls[0].policy == "fail"


async def test_messages_signals_and_other_calls_come_from_outside():
    async def waiter(turn):
        return turn.complete(turn.signals[0].summary) if turn.signals else turn.wait_for_signal()

    async with AgentHarness({"l": listen, "w": waiter}) as harness:
        await harness.submit("l", task_id="l")
        await harness.submit("w", task_id="w")
        await harness.send("l", "hello")
        await harness.send("l", "again", key="k")
        await harness.send("l", "again", key="k")
        await harness.step()
        assert harness.texts("l") == ["hello", "again"]
        assert [message.text for message in harness.messages("l")] == ["hello", "again"]
        await harness.signal(
            RuntimeSignal(SignalSource.CUSTOM, SignalType.EVENT, Urgency.NORMAL, "now"), task_id="w"
        )
        assert (await harness.join("w")).text == "now"
        await harness.do(lambda kernel: kernel.cancel("l", "enough"))
        assert harness.task("l").state.is_terminal()


async def test_what_is_shown_is_noted_over_all_lives():
    async def talker(turn):
        turn.emit(f"draft {turn.number}")
        return turn.complete("said") if turn.number == 2 else turn.wait_for_message()

    async with AgentHarness({"t": talker}) as harness:
        await harness.submit("t", task_id="t")
        await harness.step()
        await harness.crash()
        await harness.restart()
        await harness.send("t", "go on")
        await harness.step()
        assert harness.drafts("t") == ["draft 1", "draft 2"]
        assert "ended" in [event.kind for event in harness.events]


async def test_misuse_is_told():
    harness = AgentHarness({"l": listen})
    with pytest.raises(UsageError, match="not started"):
        await harness.step()
    async with harness:
        with pytest.raises(UsageError, match="the process runs"):
            await harness.restart()
        with pytest.raises(UnknownTaskError, match="submit it"):
            harness.task("l")
        await harness.crash()
        for use in (harness.step, harness.crash, lambda: harness.send("l", "x"), lambda: harness.advance(1)):
            with pytest.raises(UsageError, match="is dead"):
                await use()
        with pytest.raises(UsageError, match="dead"):
            harness.texts("l")


async def test_a_question_of_a_program_is_about_no_call():
    async with AgentHarness({"clerk": clerk}, fakes={"pay": 1}) as harness:
        await harness.submit("clerk", task_id="c")
        await harness.step()
        with pytest.raises(UsageError, match="no question about a call"):
            harness.call_of(*harness.approvals())


async def test_agents_that_never_rest_are_told(monkeypatch):
    async def busy(turn):
        turn.say("on and on")

    monkeypatch.setattr("kernelckpt.testing.agent_harness._MOST_ROUNDS", 500)
    async with AgentHarness({"b": busy}) as harness:
        await harness.submit("b", task_id="b")
        with pytest.raises(UsageError, match="do not come to rest"):
            await harness.step()


async def test_of_a_call_that_was_begun_twice_the_second_run_is_in_question():
    held = asyncio.Event()

    async def pay(amount):
        if len(harness.calls) > 1:
            await held.wait()
        return "paid"

    async def once(turn):
        await turn.call("pay", amount=1)
        return turn.complete("done")

    async with AgentHarness({"once": once}, fakes={"pay": pay}) as harness:
        harness.fakes.calls.append(FakeCall("pay", (), {"amount": 1}, task_id="o", number=1, done=True))
        await harness.submit("once", task_id="o")
        await harness.step()
        await harness.crash()
        await harness.restart()
        (question,) = harness.approvals()
        assert harness.call_of(question) is not None
        await harness.approve(question)
        await harness.step()
        assert [call.run for call in harness.calls] == [1, 1, 2]
        await harness.crash()
        await harness.restart()
        assert harness.call_of(*harness.approvals()) is None


async def test_a_wait_that_somebody_ended_is_no_timer_that_fired():
    async def asker(turn):
        if not turn.approvals:
            return turn.ask_approval("go", "Go?", timeout=60)
        return turn.complete(turn.approvals["go"].status.value)

    async with AgentHarness({"a": asker}) as harness:
        await harness.submit("a", task_id="in-time")
        await harness.submit("a", task_id="late")
        await harness.step()
        await harness.approve(next(item for item in harness.approvals() if item.task_id == "in-time"))
        assert (await harness.join("late")).text == "denied"
        assert (await harness.join("in-time")).text == "approved"
        assert harness.timers.counts() == {"late": 1}


async def test_doubts_are_answered_as_the_test_has_said():
    held = asyncio.Event()

    async def say_done(harness, question):
        await harness.approve(question, outcome="it was")

    fakes = {"pay": lambda amount: held.wait()}
    async with AgentHarness({"payer": payer}, fakes=fakes, in_doubt=say_done) as harness:
        await harness.submit("payer", task_id="p")
        await harness.step()
        await harness.crash()
        await harness.restart()
        await harness.step()
        assert [call.kwargs for call in harness.calls] == [{"amount": 1}, {"amount": 2}]
        assert harness.approvals() == []


async def test_leaving_with_a_call_under_way_does_not_hang():
    held = asyncio.Event()
    async with AgentHarness({"payer": payer}, fakes={"pay": lambda amount: held.wait()}) as harness:
        await harness.submit("payer", task_id="p")
        await harness.step()
    assert len(harness.calls) == 1
