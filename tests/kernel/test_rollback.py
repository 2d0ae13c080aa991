"""Rollbacks: a turn undone by its program or from outside leaves a note, what it spent, and what happened."""

import asyncio

import anyio
import pytest
from crash_kit import at_every_commit, decided
from kernel_kit import Recorder, kernel_of, kinds, listen, once, settle, texts

from kernelckpt import (
    AgentIdentity,
    AgentRole,
    AgentRunSpec,
    ContextConfig,
    FatalToolError,
    GovernancePolicy,
    GovernanceRefusal,
    MalformedReplay,
    Message,
    MilestoneContract,
    MilestonePhase,
    PermissionAction,
    PermissionRule,
    ProviderFailure,
    SchedulerBudget,
    TimedOut,
    ToolCall,
    UserInterrupt,
    tool,
)
from kernelckpt.errors import EffectError, InvalidValueError, UnknownTaskError, UsageError
from kernelckpt.model.milestone import HumanApproval
from kernelckpt.model.os_event import Rollbacked

REASONS = {
    "fatal_tool_error": (FatalToolError("pay", "no money"), "pay failed for good: no money"),
    "governance_denied": (GovernanceRefusal("pay", "not today"), "pay was refused: not today"),
    "provider_failure": (ProviderFailure("cut off"), "the provider failed: cut off"),
    "timeout": (TimedOut(), "it took too long"),
    "user_interrupt": (UserInterrupt(), "the user broke in"),
    "malformed_replay": (MalformedReplay("no calls"), "it could not be gone on from: no calls"),
}


def rollbacks(kernel):
    """The rollbacks in the event log."""
    return [event for event in kernel.event_log.events if isinstance(event, Rollbacked)]


async def read(turn):
    """Wait for a message; complete with the notes."""
    if not turn.notes:
        return turn.wait_for_message()
    return turn.complete(output=list(turn.notes))


@pytest.mark.parametrize("kind", REASONS)
@pytest.mark.parametrize("verbose", [False, True])
async def test_each_reason_is_told_and_logged(kind, verbose):
    reason, text = REASONS[kind]

    async def program(turn):
        if turn.number == 1:
            return turn.rollback(reason)
        return turn.complete(output=list(turn.notes))

    async with kernel_of({"p": program}, context=ContextConfig(verbose_control_notes=verbose)) as kernel:
        events = kernel.events("t")
        await kernel.submit("p", task_id="t", messages=[Message.user("go")])
        result = await kernel.join("t")
        (event,) = rollbacks(kernel)
    head = "[SYSTEM] Transaction rollback:" if verbose else "[ROLLBACK]"
    assert result.output == [f"{head} {text}"]
    assert (event.reason, event.turn, event.checkpoint_history_len) == (kind, 1, 1)
    told = [(event.turn, event.data["reason"]) async for event in events if event.kind == "rolled_back"]
    assert told == [(1, kind)]


async def test_nothing_that_an_undone_turn_staged_is_kept_but_it_counts():
    async def program(turn):
        if turn.number == 1:
            assert [message.text for message in turn.inbox] == ["hello"]
            turn.say("lost")
            turn.set_state({"lost": True})
            turn.plan(["lost"])
            turn.directive("lost")
            turn.spawn("once", task_id="lost")
            turn.spend(tokens=7)
            return turn.rollback(TimedOut())
        inbox = [message.text for message in turn.inbox]
        return turn.complete(output=[inbox, turn.state, list(turn.messages), len(turn.notes)])

    started = anyio.Event()

    async def hold(turn):
        await started.wait()
        return turn.complete()

    async with kernel_of({"p": program, "once": once, "hold": hold}, max_concurrency=1) as kernel:
        await kernel.submit("hold", task_id="h")
        await kernel.submit("p", task_id="t")
        await kernel.send("t", "hello")
        started.set()
        result = await kernel.join("t")
        plan = kernel.context("t").plan
        assert "lost" not in kernel.tasks
    assert result.output == [["hello"], None, [], 1]
    assert (result.turns_used, result.total_tokens_used) == (2, 7)
    assert (plan.plan, plan.directives) == ((), ())


async def test_an_agent_that_rolls_back_for_ever_comes_to_its_limit():
    async def program(turn):
        return turn.rollback(ProviderFailure("still down"))

    async with kernel_of({"p": program}) as kernel:
        await kernel.submit("p", task_id="t", budget=SchedulerBudget(max_turns=5))
        result = await kernel.join("t")
        assert (result.termination, result.turns_used) == ("max_turns", 5)
        assert len(kernel.context("t").signals) == 5


async def test_bad_reasons_are_refused():
    async def program(turn):
        for bad in (None, "timeout", TimedOut, FatalToolError(5, "x"), ProviderFailure("\ud800")):
            with pytest.raises(InvalidValueError):
                turn.rollback(bad)
        return turn.wait_for_message()

    async with kernel_of({"p": program}) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.idle()
        assert kinds(kernel)["t"] == ("suspended", "external")
        with pytest.raises(InvalidValueError):
            await kernel.rollback("t", "timeout")
        assert rollbacks(kernel) == []


# what really happened stays


async def test_what_an_effect_returned_is_kept_for_the_next_turn_and_what_raised_is_tried_again():
    calls = []

    async def search():
        calls.append("search")
        return "found"

    async def provider(prompt):
        calls.append(prompt)
        if calls.count(prompt) == 1:
            raise OSError("the connection was lost")
        return "answer"

    async def program(turn):
        found = await turn.effect(search)
        try:
            return turn.complete(output=[found, await turn.effect(provider, "why?"), len(turn.notes)])
        except EffectError as error:
            return turn.rollback(ProviderFailure(error.error))

    async with kernel_of({"p": program}) as kernel:
        await kernel.submit("p", task_id="t", budget=SchedulerBudget(max_turns=9))
        assert (await kernel.join("t")).output == ["found", "answer", 1]
    assert calls == ["search", "why?", "why?"]


async def test_a_call_that_succeeded_after_one_alike_had_failed_is_not_made_again():
    calls = []

    async def pay():
        calls.append("pay")
        if len(calls) == 1:
            raise OSError("busy")
        return "paid"

    async def program(turn):
        if turn.number == 1:
            with pytest.raises(EffectError):
                await turn.effect(pay)
            assert await turn.effect(pay) == "paid"
            return turn.rollback(MalformedReplay("what for?"))
        return turn.complete(await turn.effect(pay))

    async with kernel_of({"p": program}) as kernel:
        await kernel.submit("p", task_id="t")
        assert (await kernel.join("t")).text == "paid"
    assert calls == ["pay", "pay"]


async def test_a_crash_at_any_commit_around_a_rollback_changes_nothing():
    def settings_of(world):
        async def pay(what):
            world.append(what)
            return what

        async def program(turn):
            paid = [await turn.effect(pay, "a")]
            if turn.number in {2, 3}:
                return turn.rollback(ProviderFailure(f"in turn {turn.number}"))
            turn.say(f"turn {turn.number}, {len(turn.notes)} notes")
            if turn.number == 5:
                return turn.complete(output=[*paid, *turn.notes])
            return None

        return {"programs": {"p": program}}

    async def drive(kernel):
        await kernel.submit("p", task_id="t")
        result = await decided(kernel)
        return result.output, result.turns_used, texts(kernel, "t")

    first, others, _ = await at_every_commit(settings_of, drive)
    assert first[0] == (["a"], 5, ["turn 1, 0 notes", "turn 4, 2 notes", "turn 5, 0 notes"])
    assert first[1] == ["a"] * 3  # turns 1 and 5 pay for themselves; 2, 3 and 4 share what was paid once
    assert others == [first] * len(others)


# from outside


async def test_a_turn_at_work_is_cut_off_at_once_and_that_is_kept_when_the_call_returns():
    begun, recorder, attempts = anyio.Event(), Recorder(), []

    async def program(turn):
        attempts.append((turn.number, turn.attempt))
        if not turn.notes:
            turn.say("lost")
            begun.set()
            await anyio.sleep_forever()
        return turn.complete(output=list(turn.notes))

    async with kernel_of({"p": program}, hooks=[recorder]) as kernel:
        await kernel.submit("p", task_id="t")
        await begun.wait()
        await kernel.rollback("t", TimedOut())
        saved = recorder.saved()
        result = await kernel.join("t")
        assert texts(kernel, "t") == []
        assert len(rollbacks(kernel)) == 1
    assert (result.output, result.turns_used) == (["[ROLLBACK] it took too long"], 2)
    assert attempts == [(1, 1), (2, 2)]  # the second turn begins after one in vain
    async with kernel_of({"p": program}, hooks=[Recorder(saved)]) as kernel:
        again = await kernel.join("t")
    assert (again.output, again.turns_used) == (result.output, result.turns_used)


@pytest.mark.parametrize("catches", ["and returns", "and goes on", "and raises"])
async def test_a_program_cannot_keep_its_turn_from_being_undone(catches):
    begun = anyio.Event()

    async def program(turn):
        if turn.notes:
            return turn.complete(output=len(turn.notes))
        try:
            begun.set()
            await anyio.sleep_forever()
        except asyncio.CancelledError:
            if catches == "and raises":
                raise ValueError("in the middle") from None
            turn.say("lost")
        if catches == "and goes on":
            await anyio.sleep_forever()
        return turn.complete("lost")

    async with kernel_of({"p": program}) as kernel:
        await kernel.submit("p", task_id="t")
        await begun.wait()
        await kernel.rollback("t", UserInterrupt())
        assert (await kernel.join("t")).output == 1
        assert texts(kernel, "t") == []


async def test_what_is_undone_already_is_not_undone_again():
    begun, go_on = anyio.Event(), anyio.Event()

    async def program(turn):
        if turn.notes:
            return turn.complete(output=list(turn.notes))
        with anyio.CancelScope(shield=True):
            begun.set()
            await go_on.wait()
        return None

    async with kernel_of({"p": program}) as kernel:
        await kernel.submit("p", task_id="t")
        await begun.wait()
        for _ in range(3):
            await kernel.rollback("t", UserInterrupt())
        assert len(kernel.context("t").signals) == 1
        go_on.set()
        result = await kernel.join("t")
    assert (result.output, result.turns_used) == (["[ROLLBACK] the user broke in"], 2)


async def test_a_task_that_is_cancelled_while_its_undone_turn_ends_stays_cancelled():
    begun, go_on = anyio.Event(), anyio.Event()

    async def program(turn):
        with anyio.CancelScope(shield=True):
            begun.set()
            await go_on.wait()
        return turn.complete()

    async with kernel_of({"p": program}) as kernel:
        await kernel.submit("p", task_id="t")
        await begun.wait()
        await kernel.rollback("t", UserInterrupt())
        await kernel.cancel("t", "enough")
        go_on.set()
        await kernel.idle()
        result = await kernel.join("t")
    assert (result.termination, result.turns_used) == ("user_abort", 1)


@pytest.mark.parametrize("approve", [True, False])
async def test_an_effect_that_is_cut_off_is_in_doubt_and_decided_before_the_next_turn(approve):
    begun, calls, turns, recorder = anyio.Event(), [], [], Recorder()

    async def pay():
        calls.append("pay")
        if len(calls) == 1:
            begun.set()
            await anyio.sleep_forever()
        return "paid"

    async def program(turn):
        turns.append(turn.number)
        try:
            return turn.complete(await turn.effect(pay))
        except EffectError as error:
            return turn.complete(error.error)

    async def finish(kernel):
        (question,) = kernel.approvals()
        assert kinds(kernel)["t"] == ("suspended", "approval")
        await (kernel.approve if approve else kernel.deny)("t", question.key)
        return (await kernel.join("t")).text

    async with kernel_of({"p": program}, hooks=[recorder]) as kernel:
        await kernel.submit("p", task_id="t")
        await begun.wait()
        await kernel.rollback("t", TimedOut())
        saved = recorder.saved()
        await kernel.idle()
        assert turns == [1]
        with pytest.raises(UsageError, match="a word"):
            await kernel.rollback("t", TimedOut())
        assert await finish(kernel) == ("paid" if approve else "denied")
    assert len(calls) == 1 + approve
    async with kernel_of({"p": program}, hooks=[Recorder(saved)]) as kernel:
        assert kernel.restored.in_doubt == ("t: " + pay.__qualname__.rpartition("<locals>.")[2],)
        assert await finish(kernel) == ("paid" if approve else "denied")


@pytest.mark.parametrize("restored", [False, True])
async def test_an_open_request_is_dropped_and_its_calls_are_told_of(restored):
    begun, recorder, calls = anyio.Event(), Recorder(), []

    @tool
    async def quick():
        calls.append("quick")

    @tool(effect="idempotent")
    async def slow():
        calls.append("slow")
        begun.set()
        await anyio.sleep_forever()

    async def program(turn):
        if not turn.notes:
            return turn.request(Message.assistant("", [ToolCall("1", "quick"), ToolCall("2", "slow")]))
        return turn.complete(output=list(turn.notes))

    settings = {"programs": {"p": program}, "tools": [quick, slow]}
    async with kernel_of(hooks=[recorder], **settings) as kernel:
        await kernel.submit("p", task_id="t")
        await begun.wait()
        await settle()
        saved = recorder.saved()
        if not restored:
            await kernel.rollback("t", UserInterrupt())
            assert kernel.context("t").request is None
            result = await kernel.join("t")
            assert texts(kernel, "t") == []
        await kernel.stop(grace=0)
    if restored:
        async with kernel_of(hooks=[Recorder(saved)], **settings) as kernel:
            await kernel.rollback("t", UserInterrupt())
            assert kernel.context("t").request is None
            result = await kernel.join("t")
            assert texts(kernel, "t") == []
    told = "[ROLLBACK] the user broke in; made all the same: quick; perhaps made: slow"
    assert result.output == [told]
    assert calls == ["quick", "slow"]


async def sleeper(turn):
    return turn.sleep(3600) if not turn.notes else turn.complete(output=list(turn.notes))


async def joiner(turn):
    if turn.notes:
        return turn.complete(output=list(turn.notes))
    return turn.join(turn.spawn("listen", task_id="child"))


async def waiter(turn):
    return turn.complete(output=list(turn.notes)) if turn.notes else turn.wait_external("door")


async def watcher(turn):
    return turn.complete(output=list(turn.notes)) if turn.notes else turn.wait_for_signal()


async def asker(turn):
    return turn.complete(output=list(turn.notes)) if turn.notes else turn.ask_approval("k", "May I?")


@pytest.mark.parametrize("program", [sleeper, joiner, waiter, watcher, asker, read])
@pytest.mark.parametrize("restored", [False, True])
async def test_a_task_that_waits_is_told_and_has_its_turn_right_after_a_restore_too(program, restored):
    recorder, programs = Recorder(), {"p": program, "listen": listen}
    said = [Message.user(f"message {number}") for number in range(6)]
    async with kernel_of(programs, hooks=[recorder]) as kernel:
        await kernel.submit("p", task_id="t", messages=said)
        await settle()
        saved = recorder.saved()
        if not restored:
            await kernel.rollback("t", TimedOut())
            result = await kernel.join("t")
            history = list(kernel.context("t").history)
            await kernel.stop(grace=0)
    if restored:
        async with kernel_of(programs, hooks=[Recorder(saved)]) as kernel:
            await kernel.rollback("t", TimedOut())
            result = await kernel.join("t")
            history = list(kernel.context("t").history)
            await kernel.stop(grace=0)
    assert (result.output, result.turns_used) == (["[ROLLBACK] it took too long"], 2)
    assert history == said


async def test_a_question_of_the_program_outlives_a_rollback():
    async def program(turn):
        if turn.approvals and not turn.approvals["k"].pending:
            return turn.complete(output=[turn.approvals["k"].approved, list(turn.notes)])
        return turn.ask_approval("k", "May I?")

    async with kernel_of({"p": program}) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.idle()
        await kernel.rollback("t", UserInterrupt())
        await kernel.idle()
        assert [item.key for item in kernel.approvals()] == ["k"]
        await kernel.approve("t", "k")
        assert (await kernel.join("t")).output == [True, ["[ROLLBACK] the user broke in"]]


async def test_what_cannot_be_rolled_back_is_refused_and_stays_as_it_is():
    recorder = Recorder()
    async with kernel_of({"once": once}, hooks=[recorder]) as kernel:
        await kernel.submit("once", task_id="t")
        await kernel.join("t")
        await kernel.idle()
        before = recorder.saved()
        with pytest.raises(UsageError, match="has ended") as caught:
            await kernel.rollback("t", TimedOut())
        assert caught.value.hint
        with pytest.raises(UnknownTaskError):
            await kernel.rollback("nobody", TimedOut())
        assert recorder.saved() == before


@pytest.mark.parametrize("verifier", [None, HumanApproval()])
async def test_a_task_whose_phase_is_being_judged_is_not_rolled_back(verifier):
    contract = MilestoneContract((MilestonePhase("a", verifier=verifier),))
    spec = AgentRunSpec(
        AgentIdentity.new("agent", "session"), AgentRole.CUSTOM, "shared", "goal", milestones=contract
    )
    async with kernel_of({"once": once}) as kernel:
        await kernel.submit("once", task_id="t", run_spec=spec)
        await kernel.idle()
        with pytest.raises(UsageError, match="a word"):
            await kernel.rollback("t", TimedOut())
        assert [item.phase_id for item in kernel.evaluations()] == ["a"]


GATED = GovernancePolicy(rules=(PermissionRule("pay", PermissionAction.ASK_USER),), default_rate_limit=None)


async def test_a_gated_call_is_asked_about_again_after_a_rollback_and_never_made_unasked():
    calls = []

    @tool
    async def pay():
        calls.append("pay")
        return "paid"

    async def program(turn):
        if turn.number == 1 and turn.notes:
            return turn.rollback(MalformedReplay("again"))
        return turn.complete(await turn.call("pay"))

    async with kernel_of({"p": program}, tools=[pay], governance=GATED) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.idle()
        assert len(kernel.approvals()) == 1
        await kernel.rollback("t", UserInterrupt())
        await kernel.idle()
        assert (calls, kernel.tasks.get("t").budget.turns) == ([], 1)
        (question,) = kernel.approvals()
        await kernel.approve("t", question.key)
        assert (await kernel.join("t")).text == "paid"
    assert calls == ["pay"]


async def test_a_gated_request_is_dropped_with_its_questions():
    calls = []

    @tool
    async def pay():
        calls.append("pay")

    async def program(turn):
        if turn.notes:
            return turn.complete(output=list(turn.notes))
        return turn.request(Message.assistant("", [ToolCall("1", "pay")]))

    async with kernel_of({"p": program}, tools=[pay], governance=GATED) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.idle()
        await kernel.rollback("t", UserInterrupt())
        assert (await kernel.join("t")).output == ["[ROLLBACK] the user broke in"]
        assert kernel.approvals() == []
    assert calls == []


async def test_notes_stay_until_a_turn_that_read_them_is_committed():
    seen = []

    async def program(turn):
        if turn.number == 1:
            return turn.rollback(ProviderFailure("one"))
        if turn.number == 2:
            turn.say("not looking")
            return None
        seen.append(turn.notes)
        if turn.number == 3:
            return turn.rollback(ProviderFailure("two"))
        if turn.number == 4:
            turn.say("read")
            return None
        return turn.complete()

    async with kernel_of({"p": program}) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.join("t")
    one, two = (f"[ROLLBACK] the provider failed: {text}" for text in ("one", "two"))
    assert seen == [(one,), (one, two), ()]
