"""What the original asserts of its state machine with milestones, restated; each also across restarts."""

import pytest
from original_kit import Memory, kernel_of

from kernelckpt import (
    AgentIdentity,
    AgentRole,
    AgentRunSpec,
    CapabilityDescriptor,
    CapabilityKind,
    MilestoneCheckResult,
    MilestoneContract,
    MilestonePhase,
    RetryPolicy,
    RollbackPolicy,
)
from kernelckpt.errors import UsageError

DEPLOY = CapabilityDescriptor("deploy", CapabilityKind.TOOL, "")
PASS, FAIL = MilestoneCheckResult.pass_, MilestoneCheckResult.fail


def spec_of(*phases):
    """A run with these phases."""
    spec = AgentRunSpec.new(AgentIdentity.new("agent", "session"), AgentRole.IMPLEMENT, "the goal")
    return (
        spec
        if not phases
        else type(spec)(
            spec.identity, spec.role, spec.isolation, spec.goal, milestones=MilestoneContract(phases)
        )
    )


async def agent(turn):
    """Say what was told and had, and take the phase for done."""
    held = [entry.id for entry in turn.capabilities.entries]
    for note in turn.notes:
        turn.say(note)
    return turn.complete(f"reply {turn.number}", output=held)


async def life(*phases, judgements, restarts):
    """Submit, judge in order, each in a kernel of its own if so asked; the last row, result and history."""
    memory, left = Memory(), list(judgements)
    first = True
    while first or left:
        async with kernel_of(memory.storage, {"agent": agent}) as kernel:
            await kernel.submit("agent", task_id="root", run_spec=spec_of(*phases))
            await kernel.idle()
            first = False
            while left:
                await kernel.judge("root", left.pop(0))
                await kernel.idle()
                if restarts:
                    break
            row = kernel.tasks.get("root")
            history = [message.text for message in kernel.context("root").history]
            open_ones = [item.phase_id for item in kernel.evaluations()]
    return row, history, open_ones


@pytest.fixture(params=[False, True], ids=["one process", "a process each"])
def restarts(request):
    """Whether the kernel is started anew after each judgement."""
    return request.param


async def test_milestone_contract_gates_a_text_reply(restarts):
    """The original leaves its root running, without a wait."""
    row, _, open_ones = await life(MilestonePhase("p1"), judgements=[], restarts=restarts)
    assert (row.state.label(), row.wait.label()) == ("blocked", "milestone")
    assert open_ones == ["p1"]


async def test_milestone_pass_advances_and_the_last_completes_with_the_reply(restarts):
    """The original ends without a final message."""
    phases = (MilestonePhase("p1"), MilestonePhase("p2", criteria=("green",)))
    row, history, open_ones = await life(*phases, judgements=[PASS("p1")], restarts=restarts)
    assert open_ones == ["p2"]
    assert history == ["reply 1", "[MILESTONE] next phase: p2; criteria: green"]
    row, _, open_ones = await life(*phases, judgements=[PASS("p1"), PASS("p2")], restarts=restarts)
    assert (row.result.termination.value, row.result.text, open_ones) == ("completed", "reply 2", [])


async def test_milestone_unlock_mounts_the_capabilities(restarts):
    phases = (MilestonePhase("p1", unlocks=(DEPLOY,)), MilestonePhase("p2"))
    row, _, _ = await life(*phases, judgements=[PASS("p1"), PASS("p2")], restarts=restarts)
    assert (row.caps, row.result.output) == (("deploy",), ["deploy"])


@pytest.mark.parametrize("policy", list(RollbackPolicy))
async def test_milestone_fail_beyond_its_retries(policy, restarts):
    phase = MilestonePhase("p1", retry_policy=RetryPolicy(2), rollback_policy=policy)
    fails = [FAIL("p1", "red"), FAIL("p1", "red")]
    row, history, open_ones = await life(phase, judgements=fails, restarts=restarts)
    if policy is RollbackPolicy.TERMINATE:
        assert row.state.reason.value == "milestone_exceeded"
        assert open_ones == []
    else:
        assert open_ones == ["p1"]
        assert ("reply 2" in history) == (policy is RollbackPolicy.CONTINUE)


async def test_milestone_fail_without_a_limit_goes_on(restarts):
    fails = [FAIL("p1", "red")] * 5
    row, history, open_ones = await life(MilestonePhase("p1"), judgements=fails, restarts=restarts)
    assert (row.budget.turns, open_ones) == (6, ["p1"])
    assert history.count("[MILESTONE] phase p1 was not passed: red") == 5


async def test_milestone_none_completes_at_once(restarts):
    row, _, _ = await life(judgements=[], restarts=restarts)
    assert row.result.termination.value == "completed"


async def test_a_judgement_of_another_phase_is_refused_which_the_original_takes_for_the_current_one():
    with pytest.raises(UsageError, match="the current one is 'p1'"):
        await life(MilestonePhase("p1"), MilestonePhase("p2"), judgements=[PASS("p2")], restarts=False)
