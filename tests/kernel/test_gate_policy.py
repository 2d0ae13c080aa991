"""What a policy sees of calls: arguments by name, who calls; and when it is refused itself."""

from itertools import pairwise

import anyio
import pytest
from governed_kit import (
    ASK,
    called,
    requesting,
    rules,
)
from kernel_kit import Gate, kernel_of, kinds, settle

from kernelckpt import (
    GovernancePolicy,
    Message,
    OneOf,
    Required,
    SandboxProfile,
    SchedulerBudget,
    ToolCall,
    tool,
)
from kernelckpt.errors import (
    GovernanceError,
    InvalidValueError,
    UsageError,
)
from kernelckpt.testing import ManualClock


async def test_constraints_and_the_sandbox_see_arguments_by_name_however_they_are_given():
    calls = []

    @tool(effect="ask")
    async def write(path, text=""):
        calls.append(path)

    @tool(effect="ask")
    async def write_all(**files):
        calls.append(files)

    async def program(turn):
        refused = 0
        for call in (
            lambda: turn.effect(write, "/etc/passwd"),
            lambda: turn.effect(write, path="/etc/passwd"),
            lambda: turn.effect(write_all, path="/etc/passwd"),
            lambda: turn.call("write_all", path="/data/../etc"),
            lambda: turn.effect(write, "/data/file"),
            lambda: turn.effect(write, "/data/file", "secret"),
        ):
            try:
                await call()
            except GovernanceError:
                refused += 1
        return turn.complete(output=refused)

    policy = GovernancePolicy(
        sandbox=SandboxProfile(allow_fs_write=("/data",)),
        constraints=(OneOf("write", "text", ("", "plain")), Required("write", "path")),
    )
    async with kernel_of({"p": program}, tools=[write, write_all], governance=policy) as kernel:
        await kernel.submit("p", task_id="t")
        assert (await kernel.join("t")).output == 5
    assert calls == ["/data/file"]


async def test_a_veto_closure_sees_who_calls_and_cannot_change_what_is_called():
    seen, calls = [], []

    def look(call, caller):
        seen.append((call.tool, caller.task_id, caller.identity.session_id))
        call.arguments["n"] = 99

    policy = GovernancePolicy(vetoes=("look",))
    settings = {"tools": [called(calls, "rm")], "governance": policy, "closures": {"look": look}}
    async with kernel_of({"p": requesting("rm")}, **settings) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.join("t")
    assert seen == [("rm", "t", "run")]
    assert calls == [("rm", {"n": 0})]


async def test_a_veto_closure_that_raises_denies():
    def broken(_call, _caller):
        raise RuntimeError("out of order")

    calls = []
    settings = {
        "tools": [called(calls, "rm")],
        "governance": GovernancePolicy(vetoes=("broken",)),
        "closures": {"broken": broken},
    }
    async with kernel_of({"p": requesting("rm")}, **settings) as kernel:
        await kernel.submit("p", task_id="t")
        output = (await kernel.join("t")).output
    assert "out of order" in output["notes"][0]
    assert calls == []


def test_a_scheduler_refuses_a_policy_whose_closures_it_lacks_and_one_that_is_off():
    with pytest.raises(UsageError, match="'one', 'two'"):
        kernel_of(governance=GovernancePolicy(vetoes=("one", "two")))
    with pytest.raises(InvalidValueError, match=r"governance\.rules\[0\]"):
        kernel_of(governance=rules(**{"a*b": ASK}))


async def test_a_gated_question_is_shown_only_when_it_is_durable():
    gate, calls = Gate(held=False), []
    settings = {"tools": [called(calls, "rm")], "governance": rules(rm=ASK), "hooks": [gate]}
    async with kernel_of({"p": requesting("rm")}, **settings) as kernel:
        gate.hold()
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: kernel.submit("p", task_id="t"))
            await settle()
            assert kinds(kernel)["t"] == ("suspended", "approval")
            assert kernel.approvals() == []
            gate.open()
        await settle()
        assert len(kernel.approvals()) == 1


async def test_an_agent_that_is_refused_again_and_again_is_slowed_down_and_a_committed_turn_ends_that():
    clock, begun = ManualClock(), []

    async def stubborn(turn):
        begun.append((turn.attempt, clock.wall_ms()))
        if turn.number == 7:
            turn.say("something else")
            return None
        return turn.request(Message.assistant("", [ToolCall("c", "launch", {})]))

    policy = GovernancePolicy(vetoed_tools=("launch",))
    async with kernel_of({"p": stubborn}, governance=policy, clock=clock) as kernel:
        await kernel.submit("p", task_id="t", budget=SchedulerBudget(max_turns=9))
        for _ in range(40):
            await clock.advance(0.1)
            await settle()
        assert (await kernel.join("t")).termination == "max_turns"
    assert [attempt for attempt, _ in begun] == [1, 2, 3, 4, 5, 6, 7, 1, 2]
    waits = [later - at for (_, at), (_, later) in pairwise(begun)]
    assert waits == [0, 0, 0, 100, 200, 400, 0, 0]
