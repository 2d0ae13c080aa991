"""What a review of governance, questions and notes has found: each was wrong once."""

import anyio
import pytest
from governed_kit import ASK, called, phase, requesting, rules, spec_of
from kernel_kit import Recorder, kernel_of, kinds, once, settle

from kernelckpt import (
    CapabilityFilter,
    Disposition,
    GovernancePolicy,
    Message,
    MilestoneCheckResult,
    PermissionRule,
    ProviderFailure,
    RuntimeSignal,
    SandboxProfile,
    SchedulerBudget,
    SignalSource,
    SignalType,
    Urgency,
    tool,
)
from kernelckpt.errors import GovernanceDenied
from kernelckpt.kernel.lines import NOTES_KEPT
from kernelckpt.testing import ManualClock


async def test_a_call_made_after_one_alike_was_refused_is_not_made_again_by_a_rerun():
    made, allowed, hangs = [], [], [True]

    @tool(effect="ask")
    async def pay():
        made.append(1)

    async def program(turn):
        try:
            await turn.effect(pay)
        except GovernanceDenied:
            allowed.append(True)
            await turn.effect(pay)
        if hangs:
            await anyio.sleep_forever()
        return turn.complete("paid")

    closures = {"v": lambda _call, _caller: None if allowed else "not yet"}
    recorder = Recorder()
    policy = GovernancePolicy(vetoes=("v",))
    async with kernel_of({"p": program}, hooks=[recorder], governance=policy, closures=closures) as kernel:
        await kernel.submit("p", task_id="t")
        await settle()
        saved = recorder.saved()
        await kernel.stop(0)
    hangs.clear()
    async with kernel_of({"p": program}, hooks=[Recorder(saved)], closures=closures) as kernel:
        assert (await kernel.join("t")).final_message.text == "paid"
    assert made == [1]


@pytest.mark.parametrize("is_grouped", [False, True])
@pytest.mark.parametrize(("effect", "begun"), [("idempotent", 2), ("ask", 2)])
async def test_a_gated_call_made_by_another_asks_a_human_and_both_are_made(effect, begun, is_grouped):
    made = []

    @tool(effect="idempotent")
    async def inner():
        made.append("inner")
        return 1

    async def program(turn):
        @tool(effect=effect)
        async def outer():
            made.append("outer")
            if not is_grouped:
                return await turn.effect(inner)
            async with anyio.create_task_group() as group:
                group.start_soon(turn.effect, inner)
            return 1

        return turn.complete(output=await turn.effect(outer))

    async with kernel_of({"p": program}, governance=rules(**{"*inner": ASK})) as kernel:
        await kernel.submit("p", task_id="t")
        with anyio.fail_after(5):
            await kernel.idle()
            while questions := kernel.approvals():
                await kernel.approve("t", *(item.key for item in questions))
                await kernel.idle()
            assert (await kernel.join("t")).output == 1
    assert made == ["outer"] * begun + ["inner"]


async def test_a_call_beside_one_that_makes_a_gated_call_is_done_before_the_turn_ends():
    go_on, done = anyio.Event(), []

    @tool(effect="idempotent")
    async def inner():
        return 1

    @tool(effect="ask")
    async def sibling():
        await go_on.wait()
        done.append(1)

    async def program(turn):
        @tool(effect="idempotent")
        async def outer():
            return await turn.effect(inner)

        async with anyio.create_task_group() as group:
            group.start_soon(turn.effect, sibling)
            group.start_soon(turn.effect, outer)
        return turn.complete("ok")

    async with kernel_of({"p": program}, governance=rules(**{"*inner": ASK})) as kernel:
        await kernel.submit("p", task_id="t")
        await settle()
        assert kernel.approvals() == []
        go_on.set()
        await settle()
        (question,) = kernel.approvals()
        await kernel.approve("t", question.key)
        assert (await kernel.join("t")).final_message.text == "ok"
    assert done == [1]


async def two_questions(turn):
    """Ask about a plan, and about another one when broken in upon."""
    if "other" in turn.approvals:
        return turn.complete(output=turn.approvals["other"].approved)
    is_other = turn.state or bool(turn.signals)
    turn.set_state(is_other)
    return turn.ask_approval("other" if is_other else "plan", "May I?")


async def test_a_question_that_was_given_up_does_not_hold_back_the_answer_to_another():
    async with kernel_of({"p": two_questions}) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.idle()
        await kernel.signal(RuntimeSignal(SignalSource.CUSTOM, SignalType.ALERT, Urgency.HIGH, "stop"), "t")
        await kernel.idle()
        assert [item.key for item in kernel.approvals()] == ["plan", "other"]
        await kernel.approve("t", "other")
        with anyio.fail_after(5):
            assert (await kernel.join("t")).output is True


async def test_an_answer_to_a_question_that_was_given_up_leaves_the_task_waiting_for_the_other():
    async with kernel_of({"p": two_questions}) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.idle()
        await kernel.signal(RuntimeSignal(SignalSource.CUSTOM, SignalType.ALERT, Urgency.HIGH, "stop"), "t")
        await kernel.idle()
        await kernel.approve("t", "plan")
        await kernel.idle()
        assert kinds(kernel)["t"] == ("suspended", "approval")
        turns = kernel.tasks.get("t").budget.turns
        await kernel.approve("t", "plan")  # again: it changes nothing
        await kernel.idle()
        assert kernel.tasks.get("t").budget.turns == turns
        await kernel.deny("t", "other")
        assert (await kernel.join("t")).output is False


async def test_no_task_does_through_a_child_what_its_filter_keeps_it_from():
    made = []

    @tool(effect="ask", name="secret")
    async def secret():
        made.append(1)

    async def child(turn):
        try:
            await turn.effect(secret)
        except GovernanceDenied as error:
            return turn.complete(error.stage)
        return turn.complete("made")

    async def middle(turn):
        return turn.join(turn.spawn("child", task_id="c")) if turn.number == 1 else turn.complete()

    async def lead(turn):
        return turn.join(turn.spawn("middle")) if turn.number == 1 else turn.complete()

    programs = {"lead": lead, "middle": middle, "child": child}
    async with kernel_of(programs, governance=GovernancePolicy()) as kernel:
        only = spec_of(capability_filter=CapabilityFilter(allowed_ids=("spawn",)))
        await kernel.submit("lead", task_id="t", run_spec=only)
        await kernel.join("t")
        assert (await kernel.join("c")).final_message.text == "capability_check"
    assert made == []


async def test_a_child_that_is_told_something_else_than_a_human_has_allowed_is_asked_about_anew():
    runs, told = [], []

    async def child(turn):
        told.append(turn.messages[0].text)
        return turn.complete()

    async def lead(turn):
        if turn.number > 1:
            return turn.complete()
        runs.append(1)
        text = "be careful" if len(runs) == 1 else "delete all"
        limits = SchedulerBudget(max_turns=3)
        return turn.join(turn.spawn("child", messages=[Message.user(text)], budget=limits))

    async with kernel_of({"lead": lead, "child": child}, governance=rules(spawn=ASK)) as kernel:
        await kernel.submit("lead", task_id="t")
        await kernel.idle()
        (question,) = kernel.approvals()
        assert question.payload["arguments"]["messages"][0]["content"] == "be careful"
        assert question.payload["arguments"]["budget"]["max_turns"] == 3
        await kernel.approve("t", question.key)
        await kernel.idle()
        (question,) = kernel.approvals()
        assert question.payload["arguments"]["messages"][0]["content"] == "delete all"
    assert told == []


async def test_a_program_that_reads_no_notes_keeps_the_newest_of_them():
    turns = NOTES_KEPT + 20

    async def program(turn):
        if turn.number <= turns:
            return turn.rollback(ProviderFailure(f"fault {turn.number}"))
        return turn.complete(output=list(turn.notes))

    recorder, clock = Recorder(), ManualClock()
    async with kernel_of({"p": program}, hooks=[recorder], clock=clock) as kernel:
        await kernel.submit("p", task_id="t")
        while kernel.tasks.live():
            await clock.advance(60)
        notes = (await kernel.join("t")).output
    assert len(notes) == NOTES_KEPT
    assert notes[-1].endswith(f"fault {turns}")
    assert not any(key[0] == "inbox" for key in recorder.saved().records)


async def test_a_call_judged_again_by_another_policy_counts_once_against_its_limit():
    recorder, calls = Recorder(), []
    settings = {"tools": [called(calls, "a")]}
    asks = (PermissionRule("a", ASK),)
    policy = GovernancePolicy(rules=asks)
    async with kernel_of({"p": requesting("a")}, hooks=[recorder], governance=policy, **settings) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.idle()
        saved = recorder.saved()
    again = Recorder(saved)
    other = GovernancePolicy(rules=asks, vetoed_tools=("b",))
    async with kernel_of({"p": requesting("a")}, hooks=[again], governance=other, **settings) as kernel:
        assert [key for key in again.saved().records if key[0] == "rate"] == [("rate", "", 1)]
        assert len(kernel.approvals()) == 1


async def test_a_turn_that_is_taken_back_does_not_fail_for_a_child_whose_id_was_taken_meanwhile():
    go_on = anyio.Event()

    async def program(turn):
        if turn.number > 1:
            return turn.complete("went on")
        turn.spawn("once", task_id="x")
        await go_on.wait()
        return turn.rollback(ProviderFailure("gone"))

    async with kernel_of({"p": program, "once": once}) as kernel:
        await kernel.submit("p", task_id="t")
        await settle()
        await kernel.submit("once", task_id="x")
        go_on.set()
        assert (await kernel.join("t")).final_message.text == "went on"


async def test_a_signal_queued_during_the_turn_that_takes_a_phase_for_done_is_there_in_the_next():
    go_on = anyio.Event()

    async def program(turn):
        if turn.number == 1:
            await go_on.wait()
            return turn.complete("one")
        return turn.complete(output=[signal.summary for signal in turn.signals])

    async with kernel_of({"p": program}) as kernel:
        await kernel.submit("p", task_id="t", run_spec=spec_of(phase("a"), phase("b")))
        await settle()
        signal = RuntimeSignal(SignalSource.CUSTOM, SignalType.EVENT, Urgency.NORMAL, "news")
        assert await kernel.signal(signal, "t") is Disposition.QUEUE
        go_on.set()
        await kernel.idle()
        await kernel.judge("t", MilestoneCheckResult.pass_("a"))
        await kernel.idle()
        await kernel.judge("t", MilestoneCheckResult.pass_("b"))
        assert (await kernel.join("t")).output == ["news"]


async def test_a_signal_is_not_lost_to_an_attention_policy_that_answers_nonsense():
    answers = ["nonsense", "queue"]

    class Policy:
        def decide(self, _signal, *, is_running):
            return answers.pop(0)

    async def program(turn):
        return turn.wait_for_message()

    async with kernel_of({"p": program}, attention="mine", closures={"mine": Policy()}) as kernel:
        await kernel.submit("p", task_id="t")
        await settle()
        signal = RuntimeSignal(SignalSource.CUSTOM, SignalType.EVENT, Urgency.NORMAL, "n", dedupe_key="k")
        with pytest.raises(ValueError, match="nonsense"):
            await kernel.signal(signal, "t")
        assert await kernel.signal(signal, "t") is Disposition.QUEUE


async def test_a_named_argument_does_not_hide_a_positional_one_of_the_same_name_from_the_policy():
    made = []

    @tool(effect="ask", name="write_file")
    async def write_file(path, /, **named):
        made.append(path)

    async def program(turn):
        try:
            await turn.effect(write_file, "/etc/passwd", path="/data/x")
        except GovernanceDenied as error:
            return turn.complete(error.stage)
        return turn.complete("made")

    policy = GovernancePolicy(sandbox=SandboxProfile(allow_fs_write=("/data",)))
    async with kernel_of({"p": program}, governance=policy) as kernel:
        await kernel.submit("p", task_id="t")
        assert (await kernel.join("t")).final_message.text == "sandbox_policy"
    assert made == []
