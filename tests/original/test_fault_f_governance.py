"""Faults of the original's suspensions and governance, each shown not to be repeated."""

import anyio
import pytest
from original_kit import Memory, ask, kernel_of, lead, wait

from kernelckpt import (
    AgentIdentity,
    AgentRole,
    AgentRunSpec,
    CapabilityDescriptor,
    CapabilityKind,
    GovernancePolicy,
    Message,
    MilestoneCheckResult,
    MilestoneContract,
    MilestonePhase,
    PermissionAction,
    PermissionRule,
    RateLimit,
    ResourceQuota,
    RetryPolicy,
    SandboxProfile,
    ToolCall,
    ToolRateLimit,
    tool,
)
from kernelckpt.errors import GovernanceDenied, GovernanceError, RateLimitedError, RestoreError, UsageError
from kernelckpt.testing import ManualClock

FAMILY = {"lead": lead, "wait": wait}


async def asked(memory):
    """An agent that waits for a human's answer before it deletes something."""
    async with kernel_of(memory.storage, {"ask": ask}, deps=[]) as kernel:
        await kernel.submit("ask", task_id="root")
        await kernel.idle()
    return memory


async def test_f3_a_question_is_answered_after_a_restore_with_its_payload():
    memory, deleted = await asked(Memory()), []
    async with kernel_of(memory.storage, {"ask": ask}, deps=deleted) as kernel:
        (question,) = kernel.approvals()
        assert (question.key, question.payload) == ("sure", {"tool": "delete"})
        await kernel.approve("root", "sure")
        with anyio.fail_after(5):
            assert (await kernel.join("root")).text == "deleted"
    assert deleted == ["deleted"]


async def test_f4_an_empty_answer_approves_nothing_after_a_restore_either():
    memory, deleted = await asked(Memory()), []
    async with kernel_of(memory.storage, {"ask": ask}, deps=deleted) as kernel:
        for answer in (kernel.approve, kernel.resume):
            with pytest.raises(UsageError):
                await answer("root")
        await kernel.idle()
        assert len(kernel.approvals()) == 1
        await kernel.deny("root")
        assert (await kernel.join("root")).error == "was told not to"
    assert deleted == []


async def test_f5_a_parent_waits_for_all_its_children_across_restores():
    memory = Memory()
    async with kernel_of(memory.storage, FAMILY) as kernel:
        await kernel.submit("lead", task_id="root")
        await kernel.idle()
    async with kernel_of(memory.storage, FAMILY) as kernel:
        await kernel.resume("a")
        await kernel.idle()
        assert kernel.tasks.get("root").state.label() == "suspended"
    async with kernel_of(memory.storage, FAMILY) as kernel:
        await kernel.idle()
        assert kernel.tasks.get("root").wait.children == ("b",)
        await kernel.resume("b")
        assert (await kernel.join("root")).output == {"a": "a", "b": "b"}


async def test_f8_what_depends_on_children_is_done_after_a_restore():
    async def graph(turn):
        """Two nodes, then the one that depends on both."""
        if turn.number == 1:
            return turn.join(*[turn.spawn("wait", task_id=name) for name in ("left", "right")])
        if turn.number == 2:
            turn.set_state(sorted(turn.results))
            return turn.join(turn.spawn("wait", task_id="last"))
        return turn.complete(output=[*turn.state, *turn.results])

    memory, programs = Memory(), {"graph": graph, "wait": wait}
    for node in (None, "left", "right", "last"):
        async with kernel_of(memory.storage, programs) as kernel:
            await kernel.submit("graph", task_id="root")
            if node is not None:
                await kernel.resume(node)
            await kernel.idle()
            result = kernel.tasks.get("root").result
    assert result.output == ["left", "right", "last"]


async def test_f9_every_call_of_a_reply_is_answered_when_some_are_denied_across_restores():
    begun, calls = [anyio.Event(), anyio.Event(), anyio.Event()], []

    @tool(effect="ask")
    async def risky(number):
        calls.append(number)
        if not begun[number].is_set():
            begun[number].set()
            await anyio.sleep_forever()
        return f"did {number}"

    async def agent(turn):
        if turn.number == 1:
            requested = [ToolCall(str(number), "risky", {"number": number}) for number in range(3)]
            return turn.request(Message.assistant("", requested))
        answers = [part for message in turn.messages[1:] for part in message.content]
        return turn.complete(output=[[part.call_id, part.output, part.is_error] for part in answers])

    memory = Memory()
    async with kernel_of(memory.storage, {"agent": agent}, tools=[risky]) as kernel:
        await kernel.submit("agent", task_id="root")
        for event in begun:
            await event.wait()
        memory = memory.crashed()
        kernel.request_stop(0)
    keys = []
    for answer in ("deny", "approve", "deny"):
        async with kernel_of(memory.storage, {"agent": agent}, tools=[risky]) as kernel:
            question, *_ = kernel.approvals()
            keys.append(question.key)
            await getattr(kernel, answer)("root", question.key)
            if len(keys) == 3:
                output = (await kernel.join("root")).output
    assert [[call, failed] for call, _, failed in output] == [["0", True], ["1", False], ["2", True]]
    assert output[1][1] == "did 1"
    assert sorted(calls) == [0, 1, 1, 2]


def noting(calls, name):
    """A tool that notes that it was called."""

    @tool(effect="ask", name=name)
    async def noted():
        calls.append(name)
        return f"{name} done"

    return noted


def visiting(*names):
    """Wait at a door; then, in each further turn, try every tool by itself, and tell what is said of it."""

    async def program(turn):
        if turn.number % 2:
            return turn.wait_external("door")
        said = []
        for name in names:
            try:
                said.append(await turn.call(name))
            except GovernanceError as error:
                said.append(getattr(error, "stage", "") or type(error).__name__)
        return turn.complete(output=said)

    return program


async def begun(memory, program, policy, calls, **settings):
    """A governed run whose agent waits at the door."""
    async with kernel_of(memory.storage, {"p": program}, governance=policy, **settings) as kernel:
        await kernel.submit("p", task_id="root")
        while kernel.tasks.get("root").state.label() != "suspended":
            await anyio.sleep(0)
    return calls


async def test_f1_a_vetoed_tool_stays_vetoed_after_a_restore_that_says_nothing_of_governance():
    calls, memory = [], Memory()
    tools = [noting(calls, "rm"), noting(calls, "look")]
    program = visiting("rm", "look")
    policy = GovernancePolicy(vetoed_tools=("rm",))
    await begun(memory, program, policy, calls, tools=tools)
    async with kernel_of(memory.storage, {"p": program}, tools=tools) as kernel:
        await kernel.resume("root")
        assert (await kernel.join("root")).output == ["veto", "look done"]
    assert calls == ["look"]


async def test_f1_a_restore_without_the_closures_of_the_policy_is_refused():
    memory, program, calls = Memory(), visiting("rm"), []
    tools = [noting(calls, "rm")]
    closures = {"no": lambda call, _caller: "never" if call.tool == "rm" else None}
    await begun(memory, program, GovernancePolicy(vetoes=("no",)), calls, tools=tools, closures=closures)
    with pytest.raises(RestoreError, match="governance closure 'no'"):
        async with kernel_of(memory.storage, {"p": program}, tools=tools):
            raise AssertionError("it runs ungoverned")
    async with kernel_of(memory.storage, {"p": program}, tools=tools, closures=closures) as kernel:
        await kernel.resume("root")
        assert (await kernel.join("root")).output == ["veto"]
    assert calls == []


async def test_f2_sandbox_capability_list_default_limit_and_windows_all_come_back():
    calls, memory, clock = [], Memory(), ManualClock()
    tools = [noting(calls, name) for name in ("fetch", "look", "own", "other")]
    program = visiting("look", "fetch", "own", "other")
    policy = GovernancePolicy(
        default_rate_limit=RateLimit(1, 60_000),
        sandbox=SandboxProfile(allow_network=False),
        require_capability=True,
    )

    async def first(turn):
        if turn.number == 1:
            await turn.call("look")
        return await program(turn)

    given = [CapabilityDescriptor(name, CapabilityKind.TOOL, "") for name in ("look", "fetch", "own")]
    settings = {"tools": tools, "clock": clock}
    async with kernel_of(memory.storage, {"p": first}, governance=policy, **settings) as kernel:
        await kernel.submit("p", task_id="root", capabilities=given)
        await kernel.idle()
    async with kernel_of(memory.storage, {"p": first}, **settings) as kernel:
        await kernel.resume("root")
        output = (await kernel.join("root")).output
    assert output == ["RateLimitedError", "sandbox_policy", "own done", "capability_check"]
    assert calls == ["look", "own"]


GATING = GovernancePolicy(rules=(PermissionRule("rm", PermissionAction.ASK_USER),), default_rate_limit=None)


async def requests(turn):
    """Request two calls of which one is gated, then complete with the answers."""
    if turn.number == 1:
        return turn.request(
            Message.assistant("", [ToolCall("a", "rm"), ToolCall("b", "look"), ToolCall("c", "rm")])
        )
    answers = [part for message in turn.messages[1:] for part in message.content]
    return turn.complete(output=[[part.call_id, part.output, part.is_error] for part in answers])


@pytest.mark.parametrize("answer", ["approve", "deny"])
async def test_f3_f4_a_gated_call_is_answered_after_a_restore_and_never_made_by_an_empty_answer(answer):
    calls, memory = [], Memory()
    settings = {"tools": [noting(calls, "rm"), noting(calls, "look")]}
    await begun(memory, requests, GATING, calls, **settings)
    async with kernel_of(memory.storage, {"p": requests}, **settings) as kernel:
        for empty in (kernel.approve, kernel.resume):
            with pytest.raises(UsageError):
                await empty("root")
        await kernel.idle()
        assert calls == []
        keys = [item.key for item in kernel.approvals()]
        await getattr(kernel, answer)("root", *keys)
        output = (await kernel.join("root")).output
    denied = answer == "deny"
    assert [failed for _, _, failed in output] == [denied, False, denied]
    assert sorted(calls) == (["look"] if denied else ["look", "rm", "rm"])


async def test_f9_gated_calls_answered_one_by_one_across_restarts_are_all_answered_in_the_history():
    calls, memory = [], Memory()
    settings = {"tools": [noting(calls, "rm"), noting(calls, "look")]}
    await begun(memory, requests, GATING, calls, **settings)
    for answer in ("deny", "approve"):
        async with kernel_of(memory.storage, {"p": requests}, **settings) as kernel:
            assert calls == []
            question, *_ = kernel.approvals()
            await getattr(kernel, answer)("root", question.key)
            if answer == "approve":
                output = (await kernel.join("root")).output
    assert output == [["a", "denied", True], ["b", "look done", False], ["c", "rm done", False]]


async def test_f6_the_gate_of_a_phase_holds_after_a_restore_with_its_place_and_its_retries():
    async def agent(turn):
        return turn.complete(f"reply {turn.number}")

    phases = (MilestonePhase("p1"), MilestonePhase("p2", retry_policy=RetryPolicy(2)))
    identity = AgentIdentity.new("agent", "session")
    spec = AgentRunSpec(
        identity, AgentRole.CUSTOM, "shared", "the goal", milestones=MilestoneContract(phases)
    )
    memory, passed, failed = Memory(), MilestoneCheckResult.pass_, MilestoneCheckResult.fail
    judgements = [None, passed("p1"), failed("p2", "red"), failed("p2", "red again")]
    for judgement in judgements:
        async with kernel_of(memory.storage, {"p": agent}) as kernel:
            await kernel.submit("p", task_id="root", run_spec=spec)
            if judgement is not None:
                await kernel.judge("root", judgement)
            await kernel.idle()
            row, texts = kernel.tasks.get("root"), [item.text for item in kernel.evaluations()]
            if judgement is not judgements[-1]:
                assert row.state.label() == "blocked"
                assert texts == [f"reply {row.budget.turns}"]
    assert (row.state.reason.value, texts) == ("milestone_exceeded", [])


async def test_d5_quotas_of_children_and_memory_writes_come_back_with_what_was_used():
    clock, memory = ManualClock(), Memory()

    async def program(turn):
        if turn.number == 1:
            turn.write_memory("one", "note", 1)
            turn.spawn("wait", task_id="a")
            return turn.wait_external("door")
        said = []
        for attempt in (lambda: turn.write_memory("two", "note", 1), lambda: turn.spawn("wait", task_id="b")):
            try:
                attempt()
            except (GovernanceDenied, RateLimitedError) as error:
                said.append(type(error).__name__)
        return turn.complete(output=said)

    quota = ResourceQuota(max_concurrent_subagents=1, memory_writes_per_window=(1, 60_000))
    programs = {"p": program, "wait": wait}
    async with kernel_of(
        memory.storage, programs, governance=GovernancePolicy(quota=quota), clock=clock
    ) as kernel:
        await kernel.submit("p", task_id="root")
        await kernel.idle()
    async with kernel_of(memory.storage, programs, clock=clock) as kernel:
        await kernel.resume("root")
        assert (await kernel.join("root")).output == ["RateLimitedError", "GovernanceDenied"]


async def test_f2_a_window_that_was_used_up_stays_so_until_it_ends():
    clock, memory, calls = ManualClock(), Memory(), []
    tools, program = [noting(calls, "look")], visiting("look", "look")
    policy = GovernancePolicy(rate_limits=(ToolRateLimit("look", 1, 1000),))
    await begun(memory, program, policy, calls, tools=tools, clock=clock)
    async with kernel_of(memory.storage, {"p": program}, tools=tools, clock=clock) as kernel:
        await kernel.resume("root")
        assert (await kernel.join("root")).output == ["look done", "RateLimitedError"]
        await kernel.submit("p", task_id="other")
        await clock.advance(1.002)
        await kernel.resume("other")
        assert (await kernel.join("other")).output == ["look done", "RateLimitedError"]
