"""Requests: a reply and its results join the history together or not at all, and a fatal call undoes both."""

import anyio
import pytest
from crash_kit import assert_calls_have_results, at_every_commit, decided, histories
from kernel_kit import Recorder, kernel_of, kinds, settle, texts

from kernelckpt import (
    ContextConfig,
    Message,
    PlanStep,
    RuntimeSignal,
    SchedulerBudget,
    SignalSource,
    SignalType,
    ToolCall,
    ToolError,
    Urgency,
    tool,
)
from kernelckpt.errors import InvalidValueError
from kernelckpt.model.os_event import Rollbacked

KINDS = {
    "fatal": "fatal_tool_error",
    "provider_failure": "provider_failure",
    "timeout": "timeout",
    "user_interrupt": "user_interrupt",
}


def asking(*names):
    """A program that requests one call of each tool, then completes with its history and its notes."""

    async def program(turn):
        if not turn.messages and not turn.notes:
            calls = [ToolCall(f"c{number}", name) for number, name in enumerate(names)]
            return turn.request(Message.assistant("thinking", calls))
        shown = [message.text for message in turn.messages]
        return turn.complete(output={"history": shown, "notes": list(turn.notes)})

    return program


def noting(world, name, *, effect="ask", error=None):
    """A tool that notes in the world that it was called, and returns its name or raises."""

    @tool(name=name, effect=effect)
    async def noted():
        world.append(name)
        if error is not None:
            raise error
        return name

    return noted


async def answered(*tools, **settings):
    """What a program finds after its request of one call of each tool."""
    program = asking(*(item.name for item in tools))
    async with kernel_of({"p": program}, tools=tools, **settings) as kernel:
        await kernel.submit("p", task_id="t")
        return (await kernel.join("t")).output


@pytest.mark.parametrize("effect", ["ask", "idempotent"])
async def test_a_crash_at_any_commit_of_a_request_leaves_every_call_made_once_and_answered(effect):
    def settings_of(world):
        tools = [noting(world, name, effect=effect) for name in "abc"]
        return {"programs": {"p": asking("a", "b", "c")}, "tools": tools}

    async def drive(kernel):
        await kernel.submit("p", task_id="t")
        return (await decided(kernel)).output

    first, others, states = await at_every_commit(settings_of, drive)
    assert first == ({"history": ["thinking", "a", "b", "c"], "notes": []}, ["a", "b", "c"])
    assert others == [first] * len(others)
    for saved in states:
        for history in histories(saved):
            assert_calls_have_results(history)
            assert len(history) in {0, 4}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_crash_at_any_commit_of_a_doomed_request_undoes_it_all_the_same(kind):
    def settings_of(world):
        tools = [noting(world, "a"), noting(world, "b", error=ToolError("gone", kind=kind))]
        return {"programs": {"p": asking("a", "b")}, "tools": tools}

    async def drive(kernel):
        await kernel.submit("p", task_id="t")
        result = await decided(kernel)
        assert kernel.context("t").request is None
        return result.output["history"], result.turns_used

    first, others, states = await at_every_commit(settings_of, drive)
    assert first == (([], 2), ["a", "b"])
    assert others == [first] * len(others)
    assert not any(history for saved in states for history in histories(saved))


@pytest.mark.parametrize("kind", KINDS)
async def test_a_call_that_fails_for_good_undoes_its_request_and_the_agent_is_told_of_which_tool(kind):
    world = []
    tools = [noting(world, "keep"), noting(world, "pay", error=ToolError("no money", kind=kind))]
    program = asking("keep", "pay")
    async with kernel_of({"p": program}, tools=tools) as kernel:
        await kernel.submit("p", task_id="t")
        result = await kernel.join("t")
        (event,) = [event for event in kernel.event_log.events if isinstance(event, Rollbacked)]
    (note,) = result.output["notes"]
    assert note.startswith("[ROLLBACK] ")
    assert "pay" in note
    assert "no money" in note
    assert note.endswith("made all the same: keep")
    assert result.output["history"] == []
    assert (event.reason, event.checkpoint_history_len) == (KINDS[kind], 0)


async def test_a_verbose_note_is_a_sentence():
    config = ContextConfig(verbose_control_notes=True)
    found = await answered(noting([], "pay", error=ToolError("no", kind="fatal")), context=config)
    (note,) = found["notes"]
    assert note.startswith("[SYSTEM] Transaction rollback: pay failed for good")


@pytest.mark.parametrize("error", [ToolError("try later"), ToolError("x", kind="recoverable"), OSError("x")])
async def test_an_ordinary_error_is_an_answer(error):
    found = await answered(noting([], "pay", error=error))
    assert found["notes"] == []
    assert len(found["history"]) == 2
    assert str(error) in found["history"][1]


async def test_an_ordinary_error_before_a_fatal_one_does_not_hide_it():
    world = []
    first = noting(world, "a", error=ToolError("odd"))
    found = await answered(first, noting(world, "b", error=ToolError("gone", kind="fatal")))
    assert found["history"] == []
    assert "b failed for good" in found["notes"][0]


async def test_a_kind_of_error_that_does_not_exist_is_refused_where_it_is_made():
    with pytest.raises(InvalidValueError, match="deadly") as caught:
        ToolError("x", kind="deadly")
    assert "fatal" in caught.value.hint

    @tool
    async def pay():
        raise ToolError("x", kind="deadly")

    found = await answered(pay)
    assert "deadly" in found["history"][1]


async def test_a_class_of_errors_has_its_kind():
    class GoneError(ToolError):
        kind = "fatal"

    assert GoneError("x").kind == "fatal"
    assert GoneError("x", kind="timeout").kind == "timeout"
    assert (await answered(noting([], "pay", error=GoneError("x"))))["history"] == []


async def test_of_a_request_that_is_doomed_before_a_crash_no_other_call_is_made():
    world, recorder = [], Recorder()
    begun = anyio.Event()

    @tool(effect="idempotent")
    async def slow():
        world.append("slow")
        begun.set()
        await anyio.sleep_forever()

    tools = [noting(world, "pay", error=ToolError("gone", kind="fatal")), slow]
    programs = {"p": asking("pay", "slow")}
    async with kernel_of(programs, tools=tools, hooks=[recorder]) as kernel:
        await kernel.submit("p", task_id="t")
        await begun.wait()
        await settle()
        saved = recorder.saved()
        await kernel.stop(grace=0)
    async with kernel_of(programs, tools=tools, hooks=[Recorder(saved)]) as kernel:
        (note,) = (await kernel.join("t")).output["notes"]
    assert "pay failed for good" in note
    assert note.endswith("perhaps made: slow")
    assert sorted(world) == ["pay", "slow"]


async def test_the_plan_is_again_what_it_was_before_the_turn_that_asked():
    async def planner(turn):
        if turn.number == 1:
            turn.plan(["one", "two"], current_step=0)
            turn.progress("begun")
            turn.directive("be brief")
            return None
        if turn.number == 2:
            turn.plan([PlanStep("one", done=True), "two", "three"], current_step=1)
            turn.progress("half done")
            turn.directive("be quick")
            return turn.request(Message.assistant("", [ToolCall("1", "pay")]))
        return turn.complete()

    recorder = Recorder()
    pay = noting([], "pay", error=ToolError("no", kind="fatal"))
    async with kernel_of({"p": planner}, tools=[pay], hooks=[recorder]) as kernel:
        await kernel.submit("p", task_id="t", goal="shop")
        await kernel.join("t")
        plan = kernel.context("t").plan
    assert [step.label for step in plan.plan] == ["one", "two"]
    assert (plan.goal, plan.progress, plan.current_step) == ("shop", "begun", 0)
    assert plan.open_steps == ("one", "two")
    assert plan.directives == ("be brief", "be quick")
    for saved in recorder.history:
        async with kernel_of({"p": planner}, tools=[pay], hooks=[Recorder(saved)]) as kernel:
            await kernel.submit("p", task_id="t", goal="shop")
            await decided(kernel)
            assert kernel.context("t").plan == plan


async def test_a_directive_that_comes_while_the_calls_are_made_outlives_their_rollback():
    begun, fail = anyio.Event(), anyio.Event()

    @tool
    async def pay():
        begun.set()
        await fail.wait()
        raise ToolError("no", kind="fatal")

    async def planner(turn):
        if turn.number == 1:
            turn.progress("begun")
            return turn.request(Message.assistant("", [ToolCall("1", "pay")]))
        return turn.complete(output=[turn.context.plan.progress, *turn.context.plan.directives])

    async with kernel_of({"p": planner}, tools=[pay]) as kernel:
        await kernel.submit("p", task_id="t")
        await begun.wait()
        urgent = RuntimeSignal(SignalSource.CUSTOM, SignalType.EVENT, Urgency.CRITICAL, "stop shopping")
        await kernel.signal(urgent, "t")
        fail.set()
        assert (await kernel.join("t")).output == ["", "stop shopping"]


@pytest.mark.parametrize("restored", [False, True])
async def test_a_cancelled_request_is_answered_by_what_is_known_of_its_calls(restored):
    recorder, world = Recorder(), []
    begun = anyio.Event()

    @tool(effect="idempotent")
    async def slow():
        begun.set()
        await anyio.sleep_forever()

    tools = [noting(world, "quick"), slow]
    programs = {"p": asking("quick", "slow", "unknown")}
    async with kernel_of(programs, tools=tools, hooks=[recorder]) as kernel:
        await kernel.submit("p", task_id="t")
        await begun.wait()
        await settle()
        if not restored:
            await kernel.cancel("t", "enough")
            found = list(kernel.context("t").history)
        saved = recorder.saved()
        await kernel.stop(grace=0)
    if restored:
        async with kernel_of(programs, tools=tools, hooks=[Recorder(saved)]) as kernel:
            await kernel.cancel("t", "enough")
            found = list(kernel.context("t").history)
            assert kernel.context("t").request is None
            assert not kernel.snapshot().effects
    assert_calls_have_results(found)
    reply, quick, slow_one, unknown = found
    assert [call.id for call in reply.tool_calls] == ["c0", "c1", "c2"]
    assert (quick.text, slow_one.text) == ("quick", "perhaps made: enough")
    assert "there is no tool 'unknown'" in unknown.text
    assert world == ["quick"]


async def test_calls_that_were_never_begun_are_answered_as_not_made():
    world, waiting = [], anyio.Event()

    async def busy(turn):
        await waiting.wait()
        return turn.complete()

    programs = {"p": asking("a"), "busy": busy}
    async with kernel_of(programs, tools=[noting(world, "a")], max_concurrency=1) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.submit("busy", task_id="b")
        while kinds(kernel)["t"] != ("blocked", "tool"):
            await settle(1)
        await kernel.cancel("t", "enough")
        waiting.set()
        assert texts(kernel, "t") == ["thinking", "not made: enough"]
    assert world == []


async def test_a_request_that_its_budget_ends_joins_the_history_whole_after_a_crash_at_any_commit():
    def settings_of(world):
        return {"programs": {"p": asking("a", "b")}, "tools": [noting(world, name) for name in "ab"]}

    async def drive(kernel):
        await kernel.submit("p", task_id="t", budget=SchedulerBudget(max_turns=1))
        return (await kernel.join("t")).termination, texts(kernel, "t")

    first, others, states = await at_every_commit(settings_of, drive)
    unmade = "not made: the budget's max_turns was reached"
    assert first == (("max_turns", ["thinking", unmade, unmade]), [])
    assert others == [first] * len(others)
    for saved in states:
        for history in histories(saved):
            assert_calls_have_results(history)


async def test_the_open_reply_is_shown_until_it_joins_the_history():
    go_on, recorder = anyio.Event(), Recorder()

    @tool(effect="idempotent")
    async def slow():
        await go_on.wait()
        return "ok"

    programs = {"p": asking("slow")}
    async with kernel_of(programs, tools=[slow], hooks=[recorder]) as kernel:
        await kernel.submit("p", task_id="t")
        await settle()
        reply = kernel.context("t").request
        assert (reply.text, [call.name for call in reply.tool_calls]) == ("thinking", ["slow"])
        saved = recorder.saved()
        await kernel.stop(grace=0)
    async with kernel_of(programs, tools=[slow], hooks=[Recorder(saved)]) as kernel:
        assert kernel.context("t").request == reply
        assert list(kernel.context("t").history) == []
        go_on.set()
        assert (await kernel.join("t")).output["history"] == ["thinking", "ok"]
        assert kernel.context("t").request is None
