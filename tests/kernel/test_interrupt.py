"""Signals acted on: what an interrupt ends, breaks off and never cuts, and what the agent is told."""

import asyncio

import anyio
import pytest
from crash_kit import at_every_commit
from kernel_kit import Gate, Recorder, kernel_of, kinds, listen, settle

from kernelckpt import (
    Disposition,
    GovernancePolicy,
    Message,
    PermissionAction,
    PermissionRule,
    RuntimeSignal,
    SignalSource,
    SignalType,
    ToolCall,
    Urgency,
    tool,
)
from kernelckpt.errors import TurnEnded

HIGH, CRITICAL = Urgency.HIGH, Urgency.CRITICAL


def a_signal(summary="s", urgency=HIGH, **fields):
    return RuntimeSignal(SignalSource.CUSTOM, SignalType.EVENT, urgency, summary, **fields)


def sleep(turn):
    return turn.sleep(3600)


def join(turn):
    return turn.join(turn.spawn("listen", task_id="child"))


def external(turn):
    return turn.wait_external("door")


def message(turn):
    return turn.wait_for_message()


def signal(turn):
    return turn.wait_for_signal()


def approval(turn):
    return turn.ask_approval("k", "May I?")


WAITS = [sleep, join, external, message, signal, approval]


def waiting(wait):
    """A program that waits once, then completes with the signals and notes it finds."""

    async def program(turn):
        if turn.number == 1:
            return wait(turn)
        return turn.complete(output=[[item.summary for item in turn.signals], list(turn.notes)])

    return {"p": program, "listen": listen}


# waits chosen by the program


@pytest.mark.parametrize("wait", WAITS)
@pytest.mark.parametrize("urgency", [HIGH, CRITICAL])
@pytest.mark.parametrize("restored", [False, True])
async def test_an_urgent_signal_ends_whatever_wait_the_program_has_chosen(wait, urgency, restored):
    recorder, programs = Recorder(), waiting(wait)
    async with kernel_of(programs, hooks=[recorder]) as kernel:
        await kernel.submit("p", task_id="t")
        await settle()
        saved = recorder.saved()
        if not restored:
            await kernel.signal(a_signal("fire", urgency), "t")
            result = await kernel.join("t")
            plan = kernel.context("t").plan
        await kernel.stop(grace=0)
    if restored:
        async with kernel_of(programs, hooks=[Recorder(saved)]) as kernel:
            await kernel.signal(a_signal("fire", urgency), "t")
            result = await kernel.join("t")
            plan = kernel.context("t").plan
            await kernel.stop(grace=0)
    head = "SIGNAL" if wait is sleep else "INTERRUPT"  # one that sleeps is idle: it is run, not interrupted
    assert result.output == [["fire"], [f"[{head}] fire"]]
    assert result.turns_used == 2
    assert plan.directives == ("fire",)


@pytest.mark.parametrize("wait", WAITS)
async def test_a_high_signal_that_comes_during_a_turn_ends_the_wait_the_turn_ends_in(wait):
    begun, go_on = anyio.Event(), anyio.Event()
    programs = waiting(wait)

    async def slow(turn):
        if turn.number == 1:
            begun.set()
            await go_on.wait()
        return await programs["p"](turn)

    async with kernel_of({**programs, "slow": slow}) as kernel:
        await kernel.submit("slow", task_id="t")
        await begun.wait()
        await kernel.signal(a_signal("fire"), "t")
        go_on.set()
        with anyio.fail_after(5):
            assert (await kernel.join("t")).output == [["fire"], ["[INTERRUPT] fire"]]
        await kernel.stop(grace=0)


async def test_a_program_that_reads_no_signals_is_interrupted_once():
    begun, go_on = anyio.Event(), anyio.Event()

    async def deaf(turn):
        turn.say("deaf")
        if turn.number == 1:
            begun.set()
            await go_on.wait()
        return turn.wait_for_message()

    async with kernel_of({"deaf": deaf}) as kernel:
        await kernel.submit("deaf", task_id="t")
        await begun.wait()
        await kernel.signal(a_signal("fire"), "t")
        go_on.set()
        await kernel.idle()
        assert kernel.tasks.get("t").budget.turns == 2
        assert kernel.context("t").signals == ("[INTERRUPT] fire",)


async def test_an_interrupted_join_can_be_gone_on_with():
    async def parent(turn):
        if turn.number == 1:
            return turn.join(turn.spawn("listen", task_id="a"), turn.spawn("listen", task_id="b"))
        if set(turn.results) == {"a", "b"}:
            return turn.complete(output=[result.text for result in turn.results.values()])
        turn.directive(f"turn {turn.number}: {sorted(turn.results)}")
        return turn.join("a", "b")

    async with kernel_of({"p": parent, "listen": listen}) as kernel:
        await kernel.submit("p", task_id="t")
        await settle()
        await kernel.send("a", "stop")
        await kernel.join("a")
        await kernel.signal(a_signal("hurry"), "t")
        await kernel.idle()
        assert kernel.context("t").plan.directives == ("hurry", "turn 2: ['a']")
        assert kernel.tasks.get("t").wait.children == ("b",)
        await kernel.send("b", "stop")
        assert (await kernel.join("t")).output == ["stopped", "stopped"]


async def test_one_that_is_ready_comes_first_whether_it_was_ready_or_asleep_or_waiting():
    order, go_on = [], anyio.Event()

    async def program(turn):
        if turn.number == 1 and turn.task.id == "asleep":
            return turn.sleep(3600)
        if turn.number == 1 and turn.task.id == "waits":
            return turn.wait_external("door")
        order.append(turn.task.id)
        return turn.complete()

    async def hold(turn):
        await go_on.wait()
        return turn.complete()

    async with kernel_of({"p": program, "hold": hold}, max_concurrency=1) as kernel:
        for name in ("asleep", "waits"):
            await kernel.submit("p", task_id=name)
        await settle()
        await kernel.submit("hold", task_id="hold")
        await settle()
        for name in ("first", "second", "third"):
            await kernel.submit("p", task_id=name)
        for name in ("asleep", "waits", "third"):
            await kernel.signal(a_signal(), name)
        go_on.set()
        await kernel.idle()
    assert order == ["third", "waits", "asleep", "first", "second"]


# turns at work


async def test_a_critical_signal_breaks_off_the_turn_at_work_which_is_run_again_and_not_counted():
    begun, attempts = anyio.Event(), []

    async def program(turn):
        attempts.append((turn.number, turn.attempt))
        turn.say("lost" if not turn.signals else "kept")
        if not turn.signals:
            begun.set()
            await anyio.sleep_forever()
        return turn.complete()

    async with kernel_of({"p": program}) as kernel:
        await kernel.submit("p", task_id="t")
        await begun.wait()
        assert await kernel.signal(a_signal("fire", CRITICAL), "t") is Disposition.INTERRUPT_NOW
        result = await kernel.join("t")
        assert [item.text for item in kernel.context("t").history] == ["kept"]
    assert (attempts, result.turns_used) == ([(1, 1), (1, 2)], 1)


async def test_a_high_signal_lets_the_turn_at_work_end():
    begun, go_on, attempts = anyio.Event(), anyio.Event(), []

    async def program(turn):
        attempts.append((turn.number, turn.attempt))
        turn.say("kept")
        if turn.number == 2:
            return turn.complete()
        begun.set()
        await go_on.wait()
        return None

    async with kernel_of({"p": program}) as kernel:
        await kernel.submit("p", task_id="t")
        await begun.wait()
        assert await kernel.signal(a_signal("fire"), "t") is Disposition.INTERRUPT
        await settle()
        assert attempts == [(1, 1)]
        go_on.set()
        await kernel.join("t")
    assert attempts == [(1, 1), (2, 1)]


async def test_a_call_that_was_begun_is_never_broken_off_and_none_is_begun_after_it():
    begun, go_on, calls = anyio.Event(), anyio.Event(), []

    async def pay():
        calls.append("pay begins")
        begun.set()
        await go_on.wait()
        calls.append("pay ends")
        return "paid"

    async def ship():
        calls.append("ship")

    async def program(turn):
        paid = await turn.effect(pay)
        if turn.signals:
            return turn.complete(paid)
        await turn.effect(ship)
        return turn.complete("shipped")

    async with kernel_of({"p": program}) as kernel:
        await kernel.submit("p", task_id="t")
        await begun.wait()
        await kernel.signal(a_signal("fire", CRITICAL), "t")
        await settle()
        assert calls == ["pay begins"]
        assert kinds(kernel)["t"] == ("running", None)
        go_on.set()
        assert (await kernel.join("t")).text == "paid"
    assert calls == ["pay begins", "pay ends"]


async def test_of_several_calls_at_once_all_that_were_begun_end_first():
    gates = {name: anyio.Event() for name in "abc"}
    calls = []

    async def step(name):
        calls.append(f"{name} begins")
        await gates[name].wait()
        calls.append(f"{name} ends")
        return name

    async def program(turn):
        if turn.signals:
            found = [await turn.effect(step, name) for name in "ab"]
            return turn.complete(output=found)
        async with anyio.create_task_group() as group:
            for name in "ab":
                group.start_soon(turn.effect, step, name)
        await turn.effect(step, "c")
        return turn.complete("not interrupted")

    async with kernel_of({"p": program}) as kernel:
        await kernel.submit("p", task_id="t")
        await settle()
        await kernel.signal(a_signal("fire", CRITICAL), "t")
        gates["a"].set()
        await settle()
        assert calls == ["a begins", "b begins", "a ends"]
        gates["b"].set()
        assert (await kernel.join("t")).output == ["a", "b"]
    assert calls == ["a begins", "b begins", "a ends", "b ends"]


async def test_a_call_that_makes_calls_itself_is_one_call():
    begun, go_on, calls = anyio.Event(), anyio.Event(), []

    async def inner(number):
        calls.append(number)
        return number

    async def program(turn):
        async def outer():
            begun.set()
            await go_on.wait()
            return await turn.effect(inner, 1) + await turn.effect(inner, 2)

        total = await turn.effect(outer)
        return turn.complete(output=[total, len(turn.signals)])

    async with kernel_of({"p": program}) as kernel:
        await kernel.submit("p", task_id="t")
        await begun.wait()
        await kernel.signal(a_signal("fire", CRITICAL), "t")
        go_on.set()
        with anyio.fail_after(5):
            assert (await kernel.join("t")).output == [3, 1]
    assert calls == [1, 2]


async def test_a_background_task_that_waits_to_begin_a_call_is_told_that_the_turn_is_over():
    begun, go_on, late = anyio.Event(), anyio.Event(), []

    @tool(effect="idempotent")
    async def pay():
        begun.set()
        await go_on.wait()

    async def program(turn):
        if turn.signals:
            return turn.complete()

        async def behind():
            await begun.wait()
            await settle(5)
            await turn.effect(pay)

        late.append(asyncio.ensure_future(behind()))
        await turn.effect(pay)
        return turn.complete("not interrupted")

    async with kernel_of({"p": program}) as kernel:
        await kernel.submit("p", task_id="t")
        await begun.wait()
        await kernel.signal(a_signal("fire", CRITICAL), "t")
        await settle()
        assert not late[0].done()
        go_on.set()
        assert (await kernel.join("t")).text == ""
        with pytest.raises(TurnEnded):
            await asyncio.wait_for(late[0], 5)


async def test_a_program_that_catches_its_interruption_commits_nothing():
    begun = anyio.Event()

    async def program(turn):
        if turn.signals:
            return turn.complete(output=turn.attempt)
        try:
            begun.set()
            await anyio.sleep_forever()
        except asyncio.CancelledError:
            turn.say("lost")
        return turn.complete("lost")

    async with kernel_of({"p": program}) as kernel:
        await kernel.submit("p", task_id="t")
        await begun.wait()
        await kernel.signal(a_signal("fire", CRITICAL), "t")
        assert (await kernel.join("t")).output == 2
        assert list(kernel.context("t").history) == []


async def test_several_critical_signals_during_one_call_break_its_turn_off_once():
    begun, go_on, attempts = anyio.Event(), anyio.Event(), []

    async def pay():
        begun.set()
        await go_on.wait()

    async def program(turn):
        attempts.append(turn.attempt)
        await turn.effect(pay)
        return turn.complete(output=[item.summary for item in turn.signals])

    async with kernel_of({"p": program}) as kernel:
        await kernel.submit("p", task_id="t")
        await begun.wait()
        for number in range(3):
            await kernel.signal(a_signal(str(number), CRITICAL), "t")
        go_on.set()
        assert (await kernel.join("t")).output == ["0", "1", "2"]
    assert attempts == [1, 2]


# what is not cut off


@pytest.mark.parametrize("urgency", [HIGH, CRITICAL])
async def test_tool_calls_are_not_cut_off_and_the_turn_after_them_reads_the_signal(urgency):
    begun, go_on, calls = anyio.Event(), anyio.Event(), []

    @tool
    async def pay():
        calls.append("pay")
        begun.set()
        await go_on.wait()
        return "paid"

    async def program(turn):
        if turn.number == 1:
            return turn.request(Message.assistant("", [ToolCall("1", "pay")]))
        shown = [item.text for item in turn.messages]
        return turn.complete(output=[shown, [item.summary for item in turn.signals], list(turn.notes)])

    async with kernel_of({"p": program}, tools=[pay]) as kernel:
        await kernel.submit("p", task_id="t")
        await begun.wait()
        await kernel.signal(a_signal("fire", urgency), "t")
        await settle()
        assert kinds(kernel)["t"] == ("blocked", "tool")
        go_on.set()
        assert (await kernel.join("t")).output == [["", "paid"], ["fire"], ["[INTERRUPT] fire"]]
    assert calls == ["pay"]


GATED = GovernancePolicy(rules=(PermissionRule("pay", PermissionAction.ASK_USER),), default_rate_limit=None)


@pytest.mark.parametrize("requests", [False, True])
@pytest.mark.parametrize("urgency", [HIGH, CRITICAL])
async def test_a_gated_call_still_waits_for_its_answer(requests, urgency):
    calls = []

    @tool
    async def pay():
        calls.append("pay")
        return "paid"

    async def program(turn):
        if not requests:
            return turn.complete(output=[await turn.call("pay"), len(turn.signals)])
        if turn.number == 1:
            return turn.request(Message.assistant("", [ToolCall("1", "pay")]))
        return turn.complete(output=[turn.messages[-1].text, len(turn.signals)])

    async with kernel_of({"p": program}, tools=[pay], governance=GATED) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.idle()
        await kernel.signal(a_signal("fire", urgency), "t")
        await kernel.idle()
        assert kinds(kernel)["t"] == ("suspended", "approval")
        (question,) = kernel.approvals()
        assert calls == []
        await kernel.approve("t", question.key)
        assert (await kernel.join("t")).output == ["paid", 1]
    assert calls == ["pay"]


async def test_an_effect_in_doubt_still_waits_for_its_answer():
    begun, recorder, calls = anyio.Event(), Recorder(), []

    async def pay():
        calls.append("pay")
        if len(calls) == 1:
            begun.set()
            await anyio.sleep_forever()
        return "paid"

    async def program(turn):
        return turn.complete(output=[await turn.effect(pay), len(turn.signals)])

    async with kernel_of({"p": program}, hooks=[recorder]) as kernel:
        await kernel.submit("p", task_id="t")
        await begun.wait()
        saved = recorder.saved()
        await kernel.stop(grace=0)
    async with kernel_of({"p": program}, hooks=[Recorder(saved)]) as kernel:
        await kernel.signal(a_signal("fire", CRITICAL), "t")
        await kernel.idle()
        assert calls == ["pay"]
        (question,) = kernel.approvals()
        await kernel.approve("t", question.key)
        assert (await kernel.join("t")).output == ["paid", 1]


# the other dispositions


@pytest.mark.parametrize("wait", [wait for wait in WAITS if wait not in {signal, sleep}])
@pytest.mark.parametrize("urgency", [Urgency.LOW, Urgency.NORMAL])
async def test_what_can_wait_gives_no_turn(wait, urgency):
    async with kernel_of(waiting(wait)) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.idle()
        before = kinds(kernel)
        disposition = await kernel.signal(a_signal("rain", urgency), "t")
        await kernel.idle()
        context = kernel.context("t")
        assert kinds(kernel) == before
        if urgency is Urgency.LOW:
            assert disposition is Disposition.OBSERVE
            assert (context.signals, context.plan.directives) == (("[SIGNAL] rain",), ("rain",))
        else:
            assert disposition is Disposition.QUEUE
            assert (context.signals, context.plan.directives) == ((), ())


async def test_a_queued_signal_leaves_a_line_when_it_is_delivered_and_no_directive():
    go_on = anyio.Event()

    async def program(turn):
        if turn.number == 1:
            await go_on.wait()
            turn.say("on")
            return None
        return turn.complete(output=[[item.summary for item in turn.signals], list(turn.notes)])

    async with kernel_of({"p": program}) as kernel:
        await kernel.submit("p", task_id="t")
        await settle()
        await kernel.signal(a_signal("rain", Urgency.NORMAL), "t")
        assert kernel.context("t").signals == ()
        go_on.set()
        assert (await kernel.join("t")).output == [["rain"], ["[SIGNAL] rain"]]
        assert kernel.context("t").plan.directives == ()


async def test_a_directive_that_is_repeated_is_kept_once_and_a_blank_one_not_at_all():
    async with kernel_of(waiting(external)) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.idle()
        for summary in ("be brief", "be kind", "be brief", " "):
            await kernel.signal(a_signal(summary, Urgency.LOW), "t")
        assert kernel.context("t").plan.directives == ("be kind", "be brief")
        assert len(kernel.context("t").signals) == 4


# lines


async def test_lines_are_consumed_by_the_commit_of_a_turn_that_read_or_rendered_them():
    async def program(turn):
        if turn.number == 1:
            return turn.wait_external("door")
        if turn.number == 2:
            turn.say("reads nothing")
            return turn.wait_external("door")
        if turn.number == 3:
            assert "[INTERRUPT] one" in str(turn.render())
            return turn.wait_external("door")
        return turn.complete(output=list(turn.notes))

    async with kernel_of({"p": program}) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.idle()
        await kernel.signal(a_signal("one"), "t")
        await kernel.idle()
        assert kernel.context("t").signals == ("[INTERRUPT] one",)
        await kernel.resume("t")
        await kernel.idle()
        assert kernel.context("t").signals == ()
        await kernel.signal(a_signal("two"), "t")
        assert (await kernel.join("t")).output == ["[INTERRUPT] two"]


async def test_lines_that_come_during_a_turn_or_were_read_by_one_broken_off_are_there_for_the_next():
    begun, seen = anyio.Event(), []

    async def program(turn):
        seen.append(turn.notes)
        if turn.attempt == 1:
            begun.set()
            await anyio.sleep_forever()
        return turn.complete()

    async with kernel_of({"p": program}) as kernel:
        await kernel.submit("p", task_id="t")
        await begun.wait()
        await kernel.signal(a_signal("low", Urgency.LOW), "t")
        await kernel.signal(a_signal("fire", CRITICAL), "t")
        await kernel.join("t")
    assert seen == [(), ("[SIGNAL] low", "[INTERRUPT] fire")]


# a question of the program


async def asker(turn):
    """Ask until there is an answer; note signals meanwhile."""
    for item in turn.signals:
        turn.say(item.summary)
    answer = turn.approvals.get("k")
    if answer is not None and not answer.pending:
        return turn.complete(output=answer.approved)
    if turn.number == 2:
        return turn.wait_external("door")
    return turn.ask_approval("k", "May I?")


@pytest.mark.parametrize("urgency", [HIGH, CRITICAL])
async def test_a_question_of_the_program_survives_an_interrupt_and_is_asked_once(urgency):
    async with kernel_of({"p": asker}) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.idle()
        await kernel.signal(a_signal("fire", urgency), "t")
        await kernel.idle()
        assert kinds(kernel)["t"] == ("suspended", "external")
        assert [item.key for item in kernel.approvals()] == ["k"]
        await kernel.resume("t")
        await kernel.idle()
        assert kinds(kernel)["t"] == ("suspended", "approval")
        assert [item.key for item in kernel.approvals()] == ["k"]
        await kernel.approve("t", "k")
        assert (await kernel.join("t")).output is True
        assert [item.text for item in kernel.context("t").history] == ["fire"]


async def test_a_question_may_be_answered_while_the_task_is_at_something_else():
    async with kernel_of({"p": asker}) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.idle()
        await kernel.signal(a_signal("fire"), "t")
        await kernel.idle()
        await kernel.deny("t", "k")
        await kernel.idle()
        assert kinds(kernel)["t"] == ("suspended", "external")
        await kernel.resume("t")
        assert (await kernel.join("t")).output is False


# crashes


async def test_a_crash_at_any_commit_around_an_interrupt_changes_nothing():
    def settings_of(world):
        async def pay():
            world.append("pay")
            return "paid"

        async def program(turn):
            paid = await turn.effect(pay)
            seen = [*(turn.state or []), *(item.summary for item in turn.signals), *turn.notes]
            turn.set_state(seen)
            if any(line.startswith("[") for line in seen):
                return turn.complete(output=[paid, *seen])
            return turn.wait_external("door")

        return {"programs": {"p": program}}

    async def drive(kernel):
        await kernel.submit("p", task_id="t")
        while not kernel.tasks.get("t").state.is_terminal():
            await kernel.idle()
            for question in kernel.approvals():
                await kernel.approve("t", question.key)
            row = kernel.tasks.get("t")
            if row.wait is not None and row.wait.label() == "external":
                await kernel.signal(a_signal("fire", CRITICAL), "t")
        result = await kernel.join("t")
        return result.output, result.turns_used, kernel.context("t").plan.directives

    first, others, _ = await at_every_commit(settings_of, drive)
    assert first == ((["paid", "fire", "[INTERRUPT] fire"], 2, ("fire",)), ["pay", "pay"])
    assert others == [first] * len(others)


async def test_a_crash_while_a_turn_waits_to_be_broken_off_leaves_the_signal_for_its_next_run():
    begun, recorder, calls = anyio.Event(), Recorder(), []

    @tool(effect="idempotent")
    async def pay():
        calls.append("pay")
        if len(calls) == 1:
            begun.set()
            await anyio.sleep_forever()
        return "paid"

    async def program(turn):
        if not turn.signals:
            await turn.call("pay")
            return turn.complete("not interrupted")
        return turn.complete(output=[turn.number, turn.attempt, list(turn.notes)])

    async with kernel_of({"p": program}, tools=[pay], hooks=[recorder]) as kernel:
        await kernel.submit("p", task_id="t")
        await begun.wait()
        await kernel.signal(a_signal("fire", CRITICAL), "t")
        await settle()
        saved = recorder.saved()
        await kernel.stop(grace=0)
    async with kernel_of({"p": program}, tools=[pay], hooks=[Recorder(saved)]) as kernel:
        assert (await kernel.join("t")).output == [1, 2, ["[INTERRUPT] fire"]]


async def test_an_interrupt_is_acknowledged_only_when_it_is_durable():
    gate = Gate(held=False)
    async with kernel_of(waiting(external), hooks=[gate]) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.idle()
        gate.hold()
        answers = []

        async def send():
            answers.append(await kernel.signal(a_signal("fire", CRITICAL), "t"))

        async with anyio.create_task_group() as group:
            group.start_soon(send)
            await settle()
            assert answers == []
            gate.open()
        assert answers == [Disposition.INTERRUPT_NOW]
