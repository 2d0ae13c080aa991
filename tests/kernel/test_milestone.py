"""The milestone tracker: phases passed, blocked, restored."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernelckpt.errors import InvalidValueError, RestoreError, UsageError
from kernelckpt.kernel.milestone import (
    NO_REASON,
    Advanced,
    Blocked,
    MilestoneEvaluation,
    MilestoneTracker,
    check_contract,
    note_of_block,
    note_of_next,
)
from kernelckpt.model.capability import CapabilityDescriptor, CapabilityKind
from kernelckpt.model.milestone import (
    ExternalCommand,
    MilestoneCheckResult,
    MilestoneContract,
    MilestonePhase,
    MilestoneProgress,
    RetryPolicy,
    RollbackPolicy,
    UnlockPolicy,
)

PASS, FAIL = MilestoneCheckResult.pass_, MilestoneCheckResult.fail


def contract(*ids, **more):
    return MilestoneContract(tuple(MilestonePhase(name, (f"{name} works",), **more) for name in ids))


def after(tracker, *results):
    for result in results:
        tracker = tracker.judged(result).tracker
    return tracker


# The data


def test_phase_defaults():
    phase = MilestonePhase("a")
    assert (phase.criteria, phase.unlocks, phase.verifier, phase.retry_policy) == ((), (), None, None)
    assert (phase.unlock_policy, phase.rollback_policy) == (UnlockPolicy.IMMEDIATE, RollbackPolicy.TERMINATE)


def test_check_result_pass():
    result = PASS("a")
    assert (result.phase_id, result.passed, result.reason) == ("a", True, None)


def test_check_result_fail():
    result = FAIL("a", "tests are red")
    assert (result.phase_id, result.passed, result.reason) == ("a", False, "tests are red")


@pytest.mark.parametrize(("ids", "at", "fault"), [(("a", "b", "a"), 2, "'a'"), (("a", ""), 1, "empty")])
def test_phases_have_ids_of_their_own(ids, at, fault):
    with pytest.raises(InvalidValueError, match=fault) as caught:
        check_contract(contract(*ids))
    assert caught.value.path == f"milestones.phases[{at}].id"
    with pytest.raises(InvalidValueError, match=fault):
        MilestoneTracker(contract(*ids))


def test_the_path_of_a_wrong_id_begins_where_the_contract_lies():
    with pytest.raises(InvalidValueError) as caught:
        check_contract(contract(""), 'specs["a"].milestones')
    assert caught.value.path == 'specs["a"].milestones.phases[0].id'


# Where a task stands


@pytest.mark.parametrize("of", [None, MilestoneContract(())])
def test_no_contract_is_complete(of):
    tracker = MilestoneTracker(of)
    assert tracker.is_complete
    assert tracker.current is None
    assert tracker.progress == MilestoneProgress(None)


def test_one_phase_is_incomplete_with_id_and_criteria():
    tracker = MilestoneTracker(contract("build"))
    assert not tracker.is_complete
    assert (tracker.current.id, tracker.current.criteria) == ("build", ("build works",))
    assert tracker.progress == MilestoneProgress("build")


def test_past_the_last_phase_is_complete():
    assert MilestoneTracker(contract("build"), position=1).is_complete
    assert after(MilestoneTracker(contract("build")), PASS("build")).is_complete


# What a judgement leads to


def test_milestone_pass_advances_to_the_next_phase():
    of = contract("build", "ship")
    judged = MilestoneTracker(of).judged(PASS("build"))
    assert judged == Advanced(of.phases[0], (), of.phases[1], MilestoneTracker(of, 1))
    assert judged.tracker.progress == MilestoneProgress("ship")


def test_milestone_pass_unlocks_capabilities():
    skill = CapabilityDescriptor("deploy", CapabilityKind.SKILL, "puts it out", version="2", mounted_by="me")
    of = contract("build", unlocks=(skill,), unlock_policy=UnlockPolicy.DEFERRED)
    judged = MilestoneTracker(of).judged(PASS("build"))
    assert judged.unlocked == (
        CapabilityDescriptor(
            "deploy",
            CapabilityKind.SKILL,
            "puts it out",
            version="2",
            mounted_by="milestone:build",
            mount_reason="phase_advance",
        ),
    )


def test_milestone_all_phases_passed_completes():
    tracker = MilestoneTracker(contract("build", "ship"))
    last = after(tracker, PASS("build")).judged(PASS("ship"))
    assert last.next_phase is None
    assert last.tracker.is_complete
    assert last.tracker.progress == MilestoneProgress(None)


def test_milestone_fail_blocks_and_stays():
    of = contract("build")
    judged = MilestoneTracker(of).judged(FAIL("build", "tests are red"))
    assert judged == Blocked(of.phases[0], "tests are red", None, 1, MilestoneTracker(of, 0, 1))


def test_a_failure_without_a_reason_says_so():
    judged = MilestoneTracker(contract("a")).judged(MilestoneCheckResult("a", passed=False))
    assert judged.reason == NO_REASON


@pytest.mark.parametrize("policy", RollbackPolicy)
def test_the_policy_applies_from_the_last_attempt_on(policy):
    tracker = MilestoneTracker(contract("a", retry_policy=RetryPolicy(2), rollback_policy=policy))
    seen = []
    for _ in range(4):
        judged = tracker.judged(FAIL("a", "no"))
        seen.append((judged.blocked_count, judged.policy))
        tracker = judged.tracker
    assert seen == [(1, None), (2, policy), (3, policy), (4, policy)]
    assert tracker.current.id == "a"


@pytest.mark.parametrize("retries", [None, RetryPolicy(0)])
def test_no_limit_never_applies_the_policy(retries):
    tracker = MilestoneTracker(contract("a", retry_policy=retries))
    for count in range(1, 20):
        judged = tracker.judged(FAIL("a", "no"))
        assert (judged.policy, judged.blocked_count) == (None, count)
        tracker = judged.tracker


def test_passing_begins_the_count_anew():
    tracker = MilestoneTracker(contract("a", "b", retry_policy=RetryPolicy(2)))
    tracker = after(tracker, FAIL("a", "no"), PASS("a"))
    judged = tracker.judged(FAIL("b", "no"))
    assert (judged.blocked_count, judged.policy) == (1, None)


@pytest.mark.parametrize("result", [PASS("b"), FAIL("b", "no")])
def test_a_result_for_another_phase_is_refused(result):
    tracker = MilestoneTracker(contract("a", "b"))
    with pytest.raises(UsageError, match=r"'b'.*'a'"):
        tracker.judged(result)


def test_a_second_result_for_a_passed_phase_is_refused():
    tracker = after(MilestoneTracker(contract("a", "b")), PASS("a"))
    with pytest.raises(UsageError, match=r"'a'.*'b'"):
        tracker.judged(PASS("a"))


def test_nothing_is_judged_or_claimed_when_no_phase_is_left():
    for tracker in (MilestoneTracker(), after(MilestoneTracker(contract("a")), PASS("a"))):
        with pytest.raises(UsageError, match="no phase is left"):
            tracker.judged(PASS("a"))
        with pytest.raises(UsageError, match="no phase is left"):
            tracker.claimed("done")


# Being judged


def test_a_claim_is_what_a_host_sees_and_what_is_kept():
    check = ExternalCommand("make test")
    of = contract("a", verifier=check, required_evidence=("report",))
    tracker = MilestoneTracker(of)
    assert tracker.evaluation("t") is None
    claimed = tracker.claimed("done", b"\x01")
    assert claimed.evaluation("t") == MilestoneEvaluation("t", "a", ("a works",), check, ("report",), "done")
    assert claimed.progress == MilestoneProgress("a", 0, "done", b"\x01")
    assert tracker.progress == MilestoneProgress("a")


def test_an_empty_claim_is_judged_too():
    assert MilestoneTracker(contract("a")).claimed("").evaluation("t").text == ""


@pytest.mark.parametrize("result", [PASS("a"), FAIL("a", "no")])
def test_a_judgement_ends_the_claim(result):
    tracker = MilestoneTracker(contract("a", "b")).claimed("done", b"\x01").judged(result).tracker
    assert tracker.evaluation("t") is None
    assert (tracker.progress.text, tracker.progress.output) == (None, None)


# Restoring


def test_restore_without_progress_begins():
    assert MilestoneTracker.restore(contract("a"), None) == MilestoneTracker(contract("a"))
    assert MilestoneTracker.restore(None, None).is_complete


def test_restore_finds_the_phase_by_its_id():
    progress = MilestoneProgress("b", 1)
    tracker = MilestoneTracker.restore(contract("new", "a", "b", "c", retry_policy=RetryPolicy(2)), progress)
    assert (tracker.current.id, tracker.position) == ("b", 2)
    assert tracker.judged(FAIL("b", "no")).policy is RollbackPolicy.TERMINATE


@pytest.mark.parametrize("of", [None, contract("a")])
def test_restore_keeps_a_fulfilled_contract_fulfilled(of):
    assert MilestoneTracker.restore(of, MilestoneProgress(None)).is_complete


@pytest.mark.parametrize("of", [None, MilestoneContract(()), contract("a", "b")])
def test_restore_refuses_a_phase_that_the_contract_lacks(of):
    with pytest.raises(RestoreError, match="'gone'") as caught:
        MilestoneTracker.restore(of, MilestoneProgress("gone"))
    assert caught.value.missing == ["milestone phase 'gone'"]
    assert "contract" in caught.value.hint


IDS = ("a", "b", "c")
STEPS = st.lists(st.sampled_from(("pass", "fail", "claim")), max_size=12)


@given(STEPS, st.integers(0, 3))
def test_a_restored_tracker_goes_on_like_the_one_it_was_kept_of(steps, attempts):
    of = contract(*IDS, retry_policy=RetryPolicy(attempts), rollback_policy=RollbackPolicy.CONTINUE)
    live = restored = MilestoneTracker(of)
    for step in steps:
        restored = MilestoneTracker.restore(of, restored.progress)
        assert restored == live
        if live.is_complete:
            return
        if step == "claim":
            live, restored = live.claimed("done", b"x"), restored.claimed("done", b"x")
            continue
        result = PASS(live.current.id) if step == "pass" else FAIL(live.current.id, "no")
        judged, again = live.judged(result), restored.judged(result)
        assert again == judged
        live, restored = judged.tracker, again.tracker


# What the agent is told


def test_the_note_of_the_next_phase_names_it_and_its_criteria():
    phase = MilestonePhase("ship", ("tests pass", "docs done"), required_evidence=("link",))
    note = note_of_next(phase)
    assert note == "[MILESTONE] next phase: ship; criteria: tests pass; docs done; to be shown: link"
    assert note_of_next(MilestonePhase("ship")) == "[MILESTONE] next phase: ship"


def test_the_note_of_a_block_names_the_phase_and_the_reason():
    note = note_of_block(MilestonePhase("ship"), "tests are red")
    assert note == "[MILESTONE] phase ship was not passed: tests are red"
