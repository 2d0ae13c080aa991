"""What the original asserts of its state machine under governance, restated; differences are named."""

import pytest
from original_kit import Memory, kernel_of

from kernelckpt import (
    GovernancePolicy,
    Message,
    PermissionAction,
    PermissionRule,
    ResourceQuota,
    ToolCall,
    tool,
)
from kernelckpt.errors import GovernanceDenied, RateLimitedError
from kernelckpt.testing import ManualClock

GATED = GovernancePolicy(
    rules=(PermissionRule("deploy", PermissionAction.ASK_USER),), default_rate_limit=None
)


def tools_of(calls):
    """Two tools that note what they were called with."""

    @tool(effect="ask")
    async def deploy(target):
        calls.append(("deploy", target))
        return "deployed"

    @tool(effect="ask")
    async def look(target):
        calls.append(("look", target))
        return "seen"

    return [deploy, look]


async def agent(turn):
    """Call both tools, then complete with the results and the kernel's notes."""
    if turn.number == 1:
        calls = [ToolCall(f"call_{name}", name, {"target": "prod"}) for name in ("deploy", "look")]
        return turn.request(Message.assistant("I shall", calls))
    parts = [part for message in turn.messages[1:] for part in message.content]
    results = [[part.call_id, part.output, part.is_error] for part in parts]
    return turn.complete(output=[results, list(turn.notes)])


async def gated(kernel):
    """An agent that waits for a human."""
    await kernel.submit("agent", task_id="root")
    await kernel.idle()
    return kernel.tasks.get("root")


async def test_ask_user_enters_suspended_and_gates_the_call():
    calls = []
    async with kernel_of(
        Memory().storage, {"agent": agent}, tools=tools_of(calls), governance=GATED
    ) as kernel:
        row = await gated(kernel)
        assert (row.state.label(), row.wait.label()) == ("suspended", "approval")
        (question,) = kernel.approvals()
        assert question.payload["call_id"] == "call_deploy"
    assert calls == []


async def test_lifecycle_suspended_on_ask_user_with_approval_wait_and_ready_again_after_it():
    async with kernel_of(Memory().storage, {"agent": agent}, tools=tools_of([]), governance=GATED) as kernel:
        row = await gated(kernel)
        assert row.wait.label() == "approval"
        await kernel.approve("root", kernel.approvals()[0].key)
        row = kernel.tasks.get("root")
        assert row.state.label() != "suspended"
        await kernel.join("root")
        assert kernel.tasks.get("root").wait is None


async def test_resume_approved_executes_the_calls():
    calls = []
    async with kernel_of(
        Memory().storage, {"agent": agent}, tools=tools_of(calls), governance=GATED
    ) as kernel:
        await gated(kernel)
        await kernel.approve("root", kernel.approvals()[0].key)
        results, notes = (await kernel.join("root")).output
    assert sorted(calls) == [("deploy", "prod"), ("look", "prod")]
    assert results == [["call_deploy", "deployed", False], ["call_look", "seen", False]]
    assert notes == []


async def test_resume_all_denied_goes_on_with_an_error_for_each():
    """The original rolls the turn back then, and with it the results of the calls that were made."""
    calls = []
    async with kernel_of(
        Memory().storage, {"agent": agent}, tools=tools_of(calls), governance=GATED
    ) as kernel:
        await gated(kernel)
        await kernel.deny("root", reason="not today")
        results, notes = (await kernel.join("root")).output
    assert calls == [("look", "prod")]
    assert results == [["call_deploy", "not today", True], ["call_look", "seen", False]]
    assert notes == []


async def child(turn):
    """Wait to be resumed."""
    return turn.wait_external("door") if turn.number == 1 else turn.complete("done")


async def spawner(turn):
    """Spawn as many children as the input says; the output tells of the first that was refused."""
    if turn.number > 1:
        return turn.complete()
    made = []
    for number in range(turn.input):
        try:
            made.append(turn.spawn("child", task_id=f"c{number}"))
        except GovernanceDenied as error:
            turn.set_state([error.stage, error.reason])
    return turn.join(*made) if made else turn.complete(output=turn.state)


@pytest.mark.parametrize(
    ("quota", "spawned"),
    [
        (ResourceQuota(), 3),
        (ResourceQuota(max_concurrent_subagents=2), 2),
        (ResourceQuota(max_spawn_depth=0), 0),
        (ResourceQuota(max_spawn_depth=1), 3),
    ],
)
async def test_spawn_quota(quota, spawned):
    programs = {"spawner": spawner, "child": child}
    memory = Memory()
    async with kernel_of(memory.storage, programs, governance=GovernancePolicy(quota=quota)) as kernel:
        await kernel.submit("spawner", task_id="root", input=3)
        await kernel.idle()
        assert len(kernel.tasks) == 1 + spawned
        if not spawned:
            assert (await kernel.join("root")).output[0] == "quota"


async def test_memory_write_quota_lets_so_many_through_and_says_when_to_come_again():
    clock, seen = ManualClock(), []

    async def program(turn):
        for number in range(3):
            try:
                turn.write_memory(f"m{number}", "note", 8)
                seen.append("written")
            except RateLimitedError as error:
                seen.append(error.retry_after_ms)
        return turn.complete("done")

    policy = GovernancePolicy(quota=ResourceQuota(memory_writes_per_window=(2, 1000)))
    async with kernel_of(Memory().storage, {"p": program}, governance=policy, clock=clock) as kernel:
        await kernel.submit("p", task_id="root")
        await kernel.join("root")
    assert seen == ["written", "written", 1000]


async def test_a_kernel_without_a_policy_lets_everything_through():
    calls = []
    async with kernel_of(Memory().storage, {"agent": agent}, tools=tools_of(calls)) as kernel:
        await kernel.submit("agent", task_id="root")
        await kernel.join("root")
    assert len(calls) == 2
