"""Crashing everywhere finds agents that lose or repeat things, passes good ones, and says where it was."""

import asyncio
import itertools
import random
import re
import runpy
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from kernelckpt import EffectPolicy, Message, Next, Retry, ToolCall, tool
from kernelckpt.errors import EffectDenied, UsageError
from kernelckpt.kernel.calls.performer import Performer
from kernelckpt.testing import (
    Answers,
    CrashDifferenceError,
    NotRepeatableError,
    Outcome,
    crash_everywhere,
)


class Bank:
    """The world: what was paid there."""

    def __init__(self):
        self.book = []

    def pay(self, amount):
        self.book.append(amount)
        return f"paid {amount}"


def book(harness):
    return sorted(harness.deps.book)


async def payer(turn):
    """Pay twice, by the ledger."""
    first = await turn.call("pay", amount=1)
    turn.say(first)
    return turn.complete(f"{first}, {await turn.call('pay', amount=2)}")


async def pay_twice(harness):
    await harness.submit("payer", task_id="p")
    assert harness.task("p").program == "payer"
    assert (await harness.join("p")).text == "paid 1, paid 2"


WORLD = {"deps": Bank, "fakes": lambda bank: {"pay": bank.pay}, "observe": book}


async def test_an_agent_that_pays_by_the_ledger_stands_every_crash():
    report = await crash_everywhere({"payer": payer}, pay_twice, **WORLD)
    assert report.points == report.runs > 20
    assert report.outcome.tasks == {"p": "completed 'paid 1, paid 2'"}
    assert report.outcome.counts == {"p: pay(amount=1)": 1, "p: pay(amount=2)": 1}
    kinds = {
        "commit: pay started",
        "written: append",
        "kept",
        "in pay, before it is done",
        "in pay, after it is done",
        "at the end of pay",
        "commit: pay returned",
        "commit of a turn of p",
        "durable",
    }
    assert kinds <= report.labels.keys()
    assert sum(report.labels.values()) == report.points
    assert str(report) == f"{report.points} points, {report.runs} crashed runs, 0 of them crashed twice"


@pytest.mark.parametrize("policy", ["idempotent", "ask", "probe", "fail"])
async def test_every_policy_does_what_it_says_at_every_point(policy):
    @tool(name="pay", effect=policy, probe=(lambda amount: None) if policy == "probe" else None)
    def pay(amount: int, idempotency_key: str) -> str:
        raise AssertionError("the real one")

    async def careful(turn):
        try:
            return turn.complete(await turn.call("pay", amount=1))
        except EffectDenied as error:
            return turn.complete(f"in doubt: {error.may_have_happened}")

    async def scenario(harness):
        await harness.submit("careful", task_id="c")
        await harness.join("c")

    seen = []

    def check(outcome):
        seen.append((outcome.tasks["c"], outcome.counts.get("c: pay(amount=1)", 0)))

    await crash_everywhere({"careful": careful}, scenario, tools=[pay], check=check, **WORLD)
    done, doubtful = "completed 'paid 1'", "completed 'in doubt: True'"
    expected = {
        "idempotent": {(done, 1), (done, 2)},
        "ask": {(done, 1)},
        "probe": {(done, 1)},
        "fail": {(done, 1), (doubtful, 0), (doubtful, 1)},
    }
    assert set(seen) == expected[policy]


async def test_a_second_crash_during_recovery_changes_nothing_either():
    done = []
    report = await crash_everywhere(
        {"payer": payer}, pay_twice, second=8, on_progress=lambda *so_far: done.append(so_far), **WORLD
    )
    assert report.second > 5 * report.points
    assert report.runs == report.points + report.second
    assert done[-1] == (report.runs, report.points * 9)


async def test_an_agent_that_pays_outside_of_an_effect_is_found_and_told_how_to_see_it_again():
    async def careless(turn):
        turn.deps.pay(1)
        return turn.complete(await turn.call("pay", amount=2))

    async def scenario(harness):
        await harness.submit("careless", task_id="c")
        await harness.join("c")

    with pytest.raises(CrashDifferenceError) as caught:
        await crash_everywhere({"careless": careless}, scenario, **WORLD)
    found = caught.value
    text = str(found)
    assert f"after a crash at point {found.point}, {found.label}:" in text
    assert "what was observed: [1, 2] undisturbed, [1, 1, 2] with the crash" in text
    assert f"points=[{found.point}]" in text
    assert (found.expected.observed, found.found.observed) == ([1, 2], [1, 1, 2])
    with pytest.raises(CrashDifferenceError, match=re.escape(text)):
        await crash_everywhere({"careless": careless}, scenario, points=[found.point], **WORLD)
    report = await crash_everywhere({"careless": careless}, scenario, points=[1], **WORLD)
    assert report.runs == 1


async def test_an_agent_that_calls_again_what_is_in_doubt_is_found():
    @tool(effect="idempotent")
    def pay(amount: int) -> str:
        raise AssertionError("the real one")

    with pytest.raises(CrashDifferenceError, match=r"what was observed: \[1, 2\] undisturbed, \[1, 1, 2\]"):
        await crash_everywhere({"payer": payer}, pay_twice, tools=[pay], **WORLD)


async def test_an_approver_who_always_says_again_is_found():
    async def again(harness, question):
        await harness.approve(question)

    with pytest.raises(CrashDifferenceError) as caught:
        await crash_everywhere(
            {"payer": payer}, pay_twice, in_doubt=again, fakes={"pay": lambda amount: f"paid {amount}"}
        )
    assert "p: pay(amount=1) was done once undisturbed, 2 times with the crash" in str(caught.value)
    with pytest.raises(CrashDifferenceError, match="was done once undisturbed, 2 times"):
        await crash_everywhere(
            {"payer": payer},
            pay_twice,
            in_doubt=again,
            check=lambda outcome: None,
            fakes={"pay": lambda amount: f"paid {amount}"},
        )


async def test_an_approver_who_believes_without_looking_is_found():
    async def believe(harness, question):
        await harness.approve(question, outcome="paid 1")

    async def once(turn):
        return turn.complete(await turn.call("pay", amount=1))

    async def scenario(harness):
        await harness.submit("once", task_id="o")
        await harness.join("o")

    fakes = {"pay": "paid 1"}
    with pytest.raises(CrashDifferenceError, match=r"o: pay\(amount=1\) was done once undisturbed, 0 times"):
        await crash_everywhere({"once": once}, scenario, in_doubt=believe, fakes=fakes)


async def test_an_idempotent_call_under_another_key_is_found():
    @tool(effect="idempotent")
    def look(idempotency_key: str) -> str:
        raise AssertionError("the real one")

    async def forgetful(turn):
        return turn.complete(await turn.effect(look.options(key=f"key {next(turn.deps)}")))

    async def scenario(harness):
        await harness.submit("f", task_id="f")
        await harness.join("f")

    with pytest.raises(CrashDifferenceError, match=r"f: look\(\) was made under 2 keys, not 1"):
        await crash_everywhere(
            {"f": forgetful}, scenario, tools=[look], fakes={"look": "seen"}, deps=itertools.count
        )


@pytest.mark.parametrize("where", ["history", "state"])
async def test_whatever_a_task_has_kept_is_compared(where):
    async def counting(turn):
        count = next(turn.deps)
        if where == "history":
            turn.say(str(count))
        else:
            turn.set_state(count)
        return turn.complete("done")

    async def scenario(harness):
        await harness.submit("c", task_id="c")
        await harness.join("c")

    with pytest.raises(CrashDifferenceError, match=f"the {where} of c: "):
        await crash_everywhere({"c": counting}, scenario, deps=itertools.count)


async def test_values_of_any_kind_that_can_be_kept_are_believed():
    @dataclass(frozen=True)
    class Receipt:
        number: int
        seal: bytes = bytes([255])

    def buy(amount) -> Receipt:
        raise AssertionError("the real one")

    async def buyer(turn):
        bought = await turn.effect(buy, 3)
        return turn.complete(f"{bought.number} {bought.seal.hex()}")

    async def scenario(harness):
        await harness.submit("buyer", task_id="b")
        assert (await harness.join("b")).text == "3 ff"

    report = await crash_everywhere({"buyer": buyer}, scenario, fakes={"buy": Receipt})
    assert report.outcome.counts == {"b: buy(3)": 1}


async def test_a_call_that_is_given_up_and_tried_again_stands_every_crash():
    @tool(effect="idempotent", timeout=5, retry=Retry(attempts=4, first=2.0))
    def ask(question: str) -> str:
        raise AssertionError("the real one")

    async def asker(turn):
        return turn.complete(await turn.call("ask", question="why"))

    async def hang(question):
        await asyncio.Event().wait()

    async def scenario(harness):
        await harness.submit("asker", task_id="a")
        await harness.join("a")

    fakes = {"ask": Answers(hang, ConnectionError("busy"), "because", "another one")}
    report = await crash_everywhere({"asker": asker}, scenario, tools=[ask], fakes=fakes)
    assert report.outcome.counts == {"a: ask(question='why')": 1}


async def test_the_way_of_a_scenario_does_not_depend_on_real_time(monkeypatch):
    chance = random.Random(7)
    seconds = itertools.accumulate(float(chance.random() < 0.02) for _ in itertools.count())
    monkeypatch.setattr("kernelckpt.log.time_slice.perf_counter", seconds.__next__)

    async def assistant(turn):
        if turn.number < 4:
            return turn.request(
                Message.assistant("I pay", [ToolCall(f"c{turn.number}", "pay", {"amount": 1})])
            )
        return turn.complete("paid")

    async def scenario(harness):
        await harness.submit("assistant", task_id="a")
        await harness.join("a")

    report = await crash_everywhere({"assistant": assistant}, scenario, **WORLD)  # runs differ in their time
    assert report.runs == report.points


async def test_answers_begin_anew_in_each_run():
    report = await crash_everywhere({"payer": payer}, pay_twice, fakes={"pay": Answers("paid 1", "paid 2")})
    assert report.runs == report.points


@pytest.mark.parametrize("source", [time.time_ns, random.random])
async def test_an_agent_that_depends_on_time_or_chance_is_found_without_a_crash(source):
    async def moody(turn):
        return turn.complete(f"it is {source()}")

    async def scenario(harness):
        await harness.submit("moody", task_id="m")
        await harness.step()

    with pytest.raises(
        NotRepeatableError, match=r"(?s)the end of m: .* undisturbed, .* the second time.*through effects"
    ):
        await crash_everywhere({"moody": moody}, scenario)

    async def steady(turn):
        return turn.complete(f"it is {await turn.effect(source)}")

    fakes = {getattr(source, "__qualname__", "").rpartition(".")[2] or "x": 7, source.__qualname__: 7}
    await crash_everywhere({"moody": steady}, scenario, fakes=fakes)


async def test_an_agent_whose_way_is_another_one_later_on_is_found():
    runs = []

    async def wayward(turn):
        runs.append(turn.number)
        turn.say("on my way")
        if len(runs) > 4:
            turn.spend(tokens=1)  # a commit of its own, of which nothing is to be seen in the end
        return turn.complete("there")

    async def scenario(harness):
        await harness.submit("w", task_id="w")
        await harness.step()

    with pytest.raises(NotRepeatableError, match=r"on its way to point \d+ the scenario took another way"):
        await crash_everywhere({"w": wayward}, scenario)


def repeat(effect, tool):
    """A planted bug of the kernel: what is in doubt is called again."""
    return EffectPolicy.IDEMPOTENT


async def do_not_wait(self, task_id, number, effect, write=Performer.write):
    """A planted bug of the kernel: a call is begun before its intent is durable."""
    if effect.decided:
        await write(self, task_id, number, effect)
    else:
        self._core.state.put(("effect", task_id, number), effect)
        self._core.state.commit()


@pytest.mark.parametrize(
    ("place", "bug"),
    [("doubt.policy_of", repeat), ("performer.Performer.write", do_not_wait)],
)
async def test_a_kernel_that_breaks_its_promise_is_found(monkeypatch, place, bug):
    @tool(probe=lambda amount: None)
    def pay(amount: int) -> str:
        raise AssertionError("the real one")

    await crash_everywhere({"payer": payer}, pay_twice, tools=[pay], **WORLD)
    monkeypatch.setattr(f"kernelckpt.kernel.calls.{place}", bug)
    with pytest.raises(CrashDifferenceError, match=r"what was observed: \[1, 2\] undisturbed, \[1, 1, 2\]"):
        await crash_everywhere({"payer": payer}, pay_twice, tools=[pay], **WORLD)


async def chatter(harness):
    await harness.submit("l", task_id="l")
    for text in ("one", "two", "stop"):
        await harness.send("l", text)
        await harness.step()


async def test_an_agent_that_keeps_a_message_in_a_variable_only_is_found():
    def forgetful():
        heard = []

        async def listen(turn):
            heard.extend(message.text for message in turn.inbox)
            return turn.complete(" ".join(heard)) if "stop" in heard else turn.wait_for_message()

        return {"l": listen}

    with pytest.raises(CrashDifferenceError, match="the end of l: \"completed 'one two stop'\" undisturbed"):
        await crash_everywhere(forgetful, chatter)


async def test_an_agent_that_keeps_messages_in_its_state_stands_every_crash():
    async def listen(turn):
        heard = [*(turn.state or []), *(message.text for message in turn.inbox)]
        turn.set_state(heard)
        return turn.complete(" ".join(heard)) if "stop" in heard else turn.wait_for_message()

    report = await crash_everywhere({"l": listen}, chatter, second=3)
    assert report.outcome.states == {"l": ["one", "two", "stop"]}


@pytest.mark.parametrize("seconds", [0, 10])
async def test_timers_stand_every_crash_though_no_time_passes(seconds):
    async def nap(turn):
        turn.say(f"turn {turn.number}")
        return turn.complete("awake") if turn.number == 4 else turn.sleep(seconds)

    async def scenario(harness):
        await harness.submit("nap", task_id="n")
        await harness.join("n")

    report = await crash_everywhere({"nap": nap}, scenario, second=2)
    assert report.outcome.timers == {"n": 3}


async def test_timers_children_approvals_and_concurrent_calls_stand_every_crash():
    async def child(turn):
        if turn.number == 1:
            return turn.sleep(60)
        return turn.complete(await turn.call("look", at=turn.goal))

    async def boss(turn) -> Next:
        if turn.number == 1:
            both = [turn.effect(look.options(key=f"k{n}"), n) for n in range(2)]
            turn.say(str(await asyncio.gather(*both)))
            return turn.join(turn.spawn("child", goal="a"), turn.spawn("child", goal="b"))
        if "go" not in turn.approvals:
            return turn.ask_approval("go", "Go on?")
        if turn.number == 3:
            return turn.request(Message.assistant("I look", [ToolCall("c1", "look", {"at": "sky"})]))
        return turn.complete(turn.messages[-1].text)

    async def scenario(harness):
        await harness.submit("boss", task_id="b")
        await harness.advance(60)
        await harness.approve(*harness.approvals(), by="ada")
        await harness.join("b")

    @tool
    def look(at: str) -> str:
        raise AssertionError("the real one")

    report = await crash_everywhere(
        {"boss": boss, "child": child}, scenario, tools=[look], fakes={"look": lambda at: f"saw {at}"}
    )
    assert report.outcome.timers == {"b/child-1": 1, "b/child-2": 1}
    assert report.outcome.counts == {
        "b: look(0)": 1,
        "b: look(1)": 1,
        "b: look(at='sky')": 1,
        "b/child-1: look(at='a')": 1,
        "b/child-2: look(at='b')": 1,
    }
    assert report.runs == report.points


async def test_the_clerk_of_the_examples_stands_every_crash():
    place = Path(__file__).parents[2] / "examples" / "tools_and_approval.py"
    example = runpy.run_path(str(place), run_name="example")

    async def scenario(harness):
        await harness.submit("clerk", task_id="a7", goal="have invoice A7 paid")
        await harness.step()
        await harness.approve(*harness.approvals(), by="the accountant")
        assert (await harness.join("a7")).text == "paid 42 for A7"

    def pay(invoice, amount):
        return f"paid {amount} for {invoice}"

    fakes = {"pay": pay, "look_up": {"amount": 42}}
    tools = [example["pay"], example["look_up"]]
    report = await crash_everywhere({"clerk": example["clerk"]}, scenario, tools=tools, fakes=fakes)
    assert report.runs > 25


async def test_a_scenario_may_crash_by_itself():
    async def scenario(harness):
        await harness.submit("payer", task_id="p")
        await harness.crash()
        await harness.restart()
        await harness.join("p")

    await crash_everywhere({"payer": payer}, scenario, **WORLD)


async def test_what_a_scenario_raises_after_a_crash_is_told_with_its_point():
    async def scenario(harness):
        await harness.submit("payer", task_id="p")
        await harness.join("p")
        assert harness.lives == 1, "it was started again"

    with pytest.raises(
        CrashDifferenceError, match=r"point 1, .*\n.*AssertionError: it was started again"
    ) as caught:
        await crash_everywhere({"payer": payer}, scenario, **WORLD)
    assert caught.value.found is None


async def test_a_check_says_what_is_wrong_in_place_of_comparing():
    def check(outcome: Outcome):
        assert outcome.counts == {}, "it has paid"

    with pytest.raises(CrashDifferenceError, match="the check raised AssertionError: it has paid"):
        await crash_everywhere({"payer": payer}, pay_twice, check=check, **WORLD)


async def test_more_runs_than_the_limit_are_refused_not_left_out():
    with pytest.raises(UsageError, match=r"\d+ runs for \d+ points, and the limit is 10"):
        await crash_everywhere({"payer": payer}, pay_twice, limit=10, **WORLD)
    await crash_everywhere({"payer": payer}, pay_twice, limit=10, points=[1, 2, (3, 1)], **WORLD)


@pytest.mark.parametrize("point", [0, 10_000, (), (1, 0)])
async def test_a_point_that_is_not_there_is_refused(point):
    with pytest.raises(UsageError, match="there is no point"):
        await crash_everywhere({"payer": payer}, pay_twice, points=[point], **WORLD)
