"""Milestones in a live kernel: a task that takes a phase for done waits until that is judged."""

import anyio
import pytest
from governed_kit import capability, noted, phase, spec_of
from kernel_kit import Gate, Recorder, kernel_of, kinds, settle, texts

from kernelckpt import (
    HumanApproval,
    MilestoneCheckResult,
    RetryPolicy,
    RollbackPolicy,
    RuntimeSignal,
    SchedulerBudget,
    SignalSource,
    SignalType,
    TimedOut,
    Urgency,
)
from kernelckpt.errors import InvalidValueError, TaskMismatchError, UnknownTaskError, UsageError

PASS, FAIL = MilestoneCheckResult.pass_, MilestoneCheckResult.fail
CRITICAL = RuntimeSignal(SignalSource.CUSTOM, SignalType.EVENT, Urgency.CRITICAL, "now")


async def work(turn):
    """Claim the current phase; what is told is said."""
    for note in turn.notes:
        turn.say(f"told: {note}")
    return turn.complete(f"try {turn.number}", output={"turn": turn.number})


async def claimed(kernel, *phases):
    """A task that has taken the first of these phases for done."""
    await kernel.submit("work", task_id="t", run_spec=spec_of(*phases))
    await kernel.idle()


async def test_a_task_waits_until_its_phase_is_judged_and_the_last_one_completes_it():
    recorder = Recorder()
    async with kernel_of({"work": work}, hooks=[recorder]) as kernel:
        await claimed(kernel, phase("p1", criteria=("it runs",)), phase("p2", required_evidence=("a log",)))
        assert kinds(kernel)["t"] == ("blocked", "milestone")
        (evaluation,) = kernel.evaluations()
        assert (evaluation.task_id, evaluation.phase_id, evaluation.text) == ("t", "p1", "try 1")
        assert evaluation.criteria == ("it runs",)
        await kernel.judge("t", PASS("p1"), evidence=["42 tests"])
        await kernel.idle()
        (evaluation,) = kernel.evaluations()
        assert (evaluation.phase_id, evaluation.required_evidence) == ("p2", ("a log",))
        await kernel.judge("t", PASS("p2"))
        result = await kernel.join("t")
        assert kernel.evaluations() == []
        assert texts(kernel, "t") == ["try 1", "told: [MILESTONE] next phase: p2; to be shown: a log"]
    assert (result.termination.value, result.text, result.output) == ("completed", "try 2", {"turn": 2})
    assert [event.phase_id for event in noted(recorder, "MilestoneAdvanced")] == ["p1", "p2"]
    assert [event.evidence for event in noted(recorder, "MilestoneEvidence")] == [("42 tests",)]


async def test_a_task_without_phases_is_done_at_once():
    async with kernel_of({"work": work}) as kernel:
        await claimed(kernel)
        assert (await kernel.join("t")).text == "try 1"


async def test_a_phase_that_is_not_passed_is_tried_again_and_may_be_for_ever():
    recorder = Recorder()
    async with kernel_of({"work": work}, hooks=[recorder]) as kernel:
        await claimed(kernel, phase("p1", retry_policy=RetryPolicy(0)))
        for number in range(1, 4):
            await kernel.judge("t", FAIL("p1", f"no {number}"))
            await kernel.idle()
        assert texts(kernel, "t")[:3] == ["try 1", "told: [MILESTONE] phase p1 was not passed: no 1", "try 2"]
        await kernel.judge("t", PASS("p1"))
        assert (await kernel.join("t")).text == "try 4"
    assert [event.reason for event in noted(recorder, "MilestoneBlocked")] == ["no 1", "no 2", "no 3"]


@pytest.mark.parametrize("policy", list(RollbackPolicy))
async def test_what_happens_when_the_attempts_are_used_up(policy):
    recorder = Recorder()
    async with kernel_of({"work": work}, hooks=[recorder]) as kernel:
        await claimed(kernel, phase("p1", retry_policy=RetryPolicy(2), rollback_policy=policy))
        await kernel.judge("t", FAIL("p1", "no 1"))
        await kernel.idle()
        await kernel.judge("t", FAIL("p1", "no 2"))
        await kernel.idle()
        history = texts(kernel, "t")
        if policy is RollbackPolicy.TERMINATE:
            result = await kernel.join("t")
            assert (result.termination.value, result.error) == ("milestone_exceeded", "no 2")
            assert result.text == "try 2"
            assert kernel.evaluations() == []
            with pytest.raises(UsageError, match="takes no phase for done"):
                await kernel.judge("t", PASS("p1"))
            return
        assert ("try 2" in history) == (policy is RollbackPolicy.CONTINUE)
        assert kernel.evaluations()[0].text == "try 3"
        await kernel.judge("t", PASS("p1"))
        assert (await kernel.join("t")).text == "try 3"
    rolled_back = [event.reason for event in noted(recorder, "Rollbacked")]
    assert rolled_back == (["malformed_replay"] if policy is RollbackPolicy.ROLLBACK else [])


async def test_a_passed_phase_unlocks_its_capabilities_once():
    seen, recorder = [], Recorder()

    async def program(turn):
        seen.append([(entry.id, entry.mounted_by, entry.mount_reason) for entry in turn.capabilities.entries])
        return turn.complete()

    async with kernel_of({"work": program}, hooks=[recorder]) as kernel:
        await claimed(kernel, phase("p1", unlocks=(capability("deploy"),)), phase("p2"))
        assert kernel.tasks.get("t").caps == ()
        await kernel.judge("t", PASS("p1"))
        await kernel.idle()
        assert kernel.tasks.get("t").caps == ("deploy",)
    assert seen == [[], [("deploy", "milestone:p1", "phase_advance")]]
    (change,) = noted(recorder, "CapabilityChanged")
    assert (change.added, change.mounted_by) == (("Tool:deploy",), "milestone:p1")
    (advanced,) = noted(recorder, "MilestoneAdvanced")
    assert advanced.capabilities_unlocked == ("Tool:deploy",)


@pytest.mark.parametrize("answer", ["approve", "deny"])
async def test_a_human_judges_a_phase_by_a_question(answer):
    async with kernel_of({"work": work}) as kernel:
        await claimed(kernel, phase("p1", criteria=("it is fine",), verifier=HumanApproval()))
        assert kinds(kernel)["t"] == ("suspended", "approval")
        (question,) = kernel.approvals()
        assert question.payload == {"phase": "p1", "text": "try 1", "criteria": ["it is fine"]}
        with pytest.raises(UsageError):
            await kernel.approve("t")
        if answer == "deny":
            await kernel.deny("t", question.key, reason="it is not")
            await kernel.idle()
            assert "told: [MILESTONE] phase p1 was not passed: it is not" in texts(kernel, "t")
            (second,) = kernel.approvals()
            assert second.key != question.key
            with pytest.raises(UsageError, match="it was answered already"):
                await kernel.approve("t", question.key)
            question = second
        await kernel.approve("t", question.key)
        result = await kernel.join("t")
        with pytest.raises(UsageError, match="has ended"):
            await kernel.deny("t", question.key)
    assert result.text == ("try 1" if answer == "approve" else "try 2")


async def test_the_host_may_judge_what_a_human_is_asked_and_then_the_question_is_gone():
    async with kernel_of({"work": work}) as kernel:
        await claimed(kernel, phase("p1", verifier=HumanApproval()), phase("p2"))
        await kernel.judge("t", PASS("p1"))
        await kernel.idle()
        assert kernel.approvals() == []
        assert kinds(kernel)["t"] == ("blocked", "milestone")


async def test_a_denial_of_all_that_ends_the_task_leaves_no_answer_behind():
    async def program(turn):
        return turn.ask_approval("k", "?") if turn.number == 1 else turn.complete()

    recorder, last = Recorder(), phase("p1", verifier=HumanApproval(), retry_policy=RetryPolicy(1))
    async with kernel_of({"work": program}, hooks=[recorder]) as kernel:
        await claimed(kernel, last)
        await kernel.signal(CRITICAL, "t")
        await kernel.idle()
        keys = [item.key for item in kernel.approvals()]
        assert len(keys) == 2
        await kernel.deny("t", *reversed(keys))
        assert (await kernel.join("t")).termination.value == "milestone_exceeded"
    assert [key for key in recorder.saved().records if key[0] == "approval"] == []


async def test_a_judgement_that_is_off_changes_nothing():
    recorder = Recorder()
    async with kernel_of({"work": work}, hooks=[recorder]) as kernel:
        await claimed(kernel, phase("p1"), phase("p2"))
        before = recorder.saved()
        for result in (PASS("p2"), PASS("nothing"), FAIL("p2", "no"), None, "p1"):
            with pytest.raises(UsageError):
                await kernel.judge("t", result)
        with pytest.raises(UsageError):
            await kernel.judge("t", PASS("p1"), evidence="one text")
        with pytest.raises(UnknownTaskError):
            await kernel.judge("nobody", PASS("p1"))
        assert recorder.saved() == before
        await kernel.judge("t", PASS("p1"))
        with pytest.raises(UsageError):
            await kernel.judge("t", PASS("p1"))


async def test_cancel_extend_and_a_critical_signal_while_a_phase_is_judged():
    async with kernel_of({"work": work}) as kernel:
        await claimed(kernel, phase("p1"))
        await kernel.signal(CRITICAL, "t")
        await kernel.extend("t", SchedulerBudget(max_turns=9))
        with pytest.raises(UsageError, match="not finished"):
            await kernel.forget("t")
        with pytest.raises(UsageError):
            await kernel.resume("t")
        await kernel.idle()
        assert kinds(kernel)["t"] == ("blocked", "milestone")
        assert kernel.tasks.get("t").budget.turns == 1
        await kernel.cancel("t", "enough")
        assert kernel.evaluations() == []
        with pytest.raises(UsageError, match="takes no phase"):
            await kernel.judge("t", PASS("p1"))
        await kernel.forget("t")


@pytest.mark.parametrize("verifier", [None, HumanApproval()])
async def test_a_phase_that_is_judged_cannot_be_rolled_back_under_the_judge(verifier):
    async with kernel_of({"work": work}) as kernel:
        await claimed(kernel, phase("p1", verifier=verifier))
        with pytest.raises(UsageError, match="waits for a word"):
            await kernel.rollback("t", TimedOut())
        await kernel.judge("t", PASS("p1"))
        assert (await kernel.join("t")).text == "try 1"


async def test_a_claim_is_shown_only_when_it_is_durable():
    gate = Gate(held=False)
    async with kernel_of({"work": work}, hooks=[gate]) as kernel:
        gate.hold()
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: kernel.submit("work", task_id="t", run_spec=spec_of(phase("p1"))))
            await settle()
            assert kinds(kernel)["t"] == ("blocked", "milestone")
            assert kernel.evaluations() == []
            gate.open()
        await settle()
        assert [item.phase_id for item in kernel.evaluations()] == ["p1"]


async def test_a_child_has_phases_of_its_own_and_its_parent_waits_for_them():
    async def lead(turn):
        if turn.number == 1:
            return turn.join(turn.spawn("work", task_id="c", run_spec=spec_of(phase("p1"))))
        return turn.complete(turn.results["c"].text)

    async with kernel_of({"lead": lead, "work": work}) as kernel:
        await kernel.submit("lead", task_id="t")
        await kernel.idle()
        assert kinds(kernel)["c"] == ("blocked", "milestone")
        await kernel.judge("c", PASS("p1"))
        assert (await kernel.join("t")).text == "try 1"


async def test_an_output_survives_the_judgement_whole():
    async def program(turn):
        return turn.complete("ünïcode", output={"list": [1, None, "x"]})

    async with kernel_of({"work": program}) as kernel:
        await claimed(kernel, phase("première"))
        await kernel.judge("t", PASS("première"))
        result = await kernel.join("t")
    assert (result.text, result.output) == ("ünïcode", {"list": [1, None, "x"]})


async def test_a_contract_whose_phases_cannot_be_told_apart_is_refused():
    async with kernel_of({"work": work}) as kernel:
        for phases in ((phase("p"), phase("p")), (phase(""),)):
            with pytest.raises(InvalidValueError, match=r"run_spec\.milestones\.phases"):
                await kernel.submit("work", task_id="t", run_spec=spec_of(*phases))
        unlocked = phase("p", unlocks=(capability("x", metadata={"a": {1, 2}}),))
        with pytest.raises(InvalidValueError, match=r"phases\[0\]\.unlocks\[0\]\.metadata"):
            await kernel.submit("work", task_id="t", run_spec=spec_of(unlocked))
        assert "t" not in kernel.tasks


async def test_a_task_that_exists_with_another_contract_is_a_mismatch():
    async with kernel_of({"work": work}) as kernel:
        await claimed(kernel, phase("p1"))
        await kernel.submit("work", task_id="t", run_spec=spec_of(phase("p1")))
        await kernel.submit("work", task_id="t")
        with pytest.raises(TaskMismatchError, match="another run_spec"):
            await kernel.submit("work", task_id="t", run_spec=spec_of(phase("p2")))
