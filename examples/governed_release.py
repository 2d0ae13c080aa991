"""An agent under a policy and a contract: what it may call, what needs a human, which phases it must pass.

    python examples/governed_release.py            goes on as far as it can without a human
    python examples/governed_release.py approve    answers and judges as well, until the release is done

The policy and the place in the contract are kept: a process that forgets to say them again goes on under
them all the same. Delete the folder `state` to begin anew.
"""

import asyncio
import sys

from kernelckpt import (
    AgentIdentity,
    AgentIsolation,
    AgentRole,
    AgentRunSpec,
    Caller,
    CapabilityDescriptor,
    CapabilityKind,
    CheckpointHook,
    GovernancePolicy,
    GovernedCall,
    HumanApproval,
    Message,
    MilestoneCheckResult,
    MilestoneContract,
    MilestonePhase,
    Next,
    PermissionAction,
    PermissionRule,
    Scheduler,
    ToolCall,
    Turn,
    tool,
)


@tool(effect="idempotent")
def run_tests(suite: str) -> str:
    """Run a suite; here: say so."""
    return f"{suite}: passed"


@tool(effect="ask")
def deploy(target: str) -> str:
    """Deploy; here: say so."""
    return f"deployed to {target}"


def no_weekends(call: GovernedCall, _caller: Caller) -> str | None:
    """A veto in code: the policy names it, the scheduler's registry holds it."""
    return "nothing is deployed at weekends" if call.arguments.get("target") == "weekend" else None


RUN_TESTS, DEPLOY = (CapabilityDescriptor(name, CapabilityKind.TOOL, "") for name in ("run_tests", "deploy"))
POLICY = GovernancePolicy(
    rules=(PermissionRule("deploy", PermissionAction.ASK_USER),),
    vetoes=("no_weekends",),
    require_capability=True,
)
CONTRACT = MilestoneContract(
    (
        MilestonePhase("tested", criteria=("the suite passes",), unlocks=(DEPLOY,)),
        MilestonePhase("released", verifier=HumanApproval()),
    )
)
SPEC = AgentRunSpec(
    AgentIdentity.new("releaser", "example"),
    AgentRole.IMPLEMENT,
    AgentIsolation.SHARED,
    "release it",
    milestones=CONTRACT,
)


async def releaser(turn: Turn) -> Next:
    """A model would decide here what to call; this one first tries what is vetoed."""
    for note in turn.notes:
        print(f"told: {note}")
    done = [message.text for message in turn.messages]
    phase = turn.milestone
    if phase is not None and phase.id == "tested" and "all: passed" not in done:
        return turn.request(Message.assistant("I test.", [ToolCall("t", "run_tests", {"suite": "all"})]))
    if phase is not None and phase.id == "released" and "deployed to staging" not in done:
        target = "staging" if turn.number > 3 else "weekend"
        return turn.request(Message.assistant("I deploy.", [ToolCall("d", "deploy", {"target": target})]))
    return turn.complete(done[-1])


async def main(answer: str) -> None:
    """Go on until somebody must answer or judge; do that if this run is to."""
    async with Scheduler(
        {"releaser": releaser},
        tools=[run_tests, deploy],
        run_id="release",
        hooks=[CheckpointHook("file:./state")],
        governance=POLICY,
        closures={"no_weekends": no_weekends},
    ) as kernel:
        await kernel.submit("releaser", task_id="r1", run_spec=SPEC, capabilities=[RUN_TESTS])
        await kernel.idle()
        while kernel.tasks.live() and answer == "approve":
            for question in kernel.approvals():
                print(f"asked: {question.prompt}")
                await kernel.approve("r1", question.key, by="the release manager")
            for phase in kernel.evaluations():
                print(f"judged: {phase.phase_id} is passed, for the agent says {phase.text!r}")
                await kernel.judge("r1", MilestoneCheckResult.pass_(phase.phase_id))
            await kernel.idle()
        print(f"r1 is {next(iter(kernel.tasks)).state.label()}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else ""))
