"""Governance before spawns, and the quotas of children and of memory writes."""

import anyio
import pytest
from governed_kit import (
    ALLOW,
    ASK,
    DENY,
    audit,
    called,
    noted,
    requesting,
    rules,
)
from kernel_kit import Recorder, kernel_of, kinds, settle

from kernelckpt import (
    GovernancePolicy,
    PermissionRule,
    ResourceQuota,
    RuntimeSignal,
    SignalSource,
    SignalType,
    Urgency,
)
from kernelckpt.errors import (
    GovernanceDenied,
)
from kernelckpt.testing import ManualClock

CRITICAL = RuntimeSignal(SignalSource.CUSTOM, SignalType.EVENT, Urgency.CRITICAL, "now")


async def child(turn):
    """Wait to be resumed, then complete."""
    return turn.wait_external("door") if turn.number == 1 else turn.complete("child done")


async def spawning(turn):
    """Spawn what the input names and join it; tell what went wrong."""
    if turn.number == 1:
        return turn.join(*[turn.spawn("child", task_id=name, goal="grow", input=7) for name in turn.input])
    return turn.complete(output=[list(turn.results), list(turn.notes)])


async def test_a_policy_that_denies_spawns_lets_no_child_exist():
    recorder = Recorder()
    settings = {"governance": rules(spawn=DENY), "hooks": [recorder]}
    async with kernel_of({"p": spawning, "child": child}, **settings) as kernel:
        await kernel.submit("p", task_id="t", input=["a"])
        output = (await kernel.join("t")).output
        assert "a" not in kernel.tasks
    assert output == [[], ["[ROLLBACK] spawn was refused: rule 'spawn' denies tool 'spawn'"]]
    assert audit(recorder, "t") == [("spawn", "deny", "permission")]


@pytest.mark.parametrize("answer", ["approve", "deny"])
async def test_a_gated_spawn_is_made_once_when_it_is_answered(answer):
    async with kernel_of({"p": spawning, "child": child}, governance=rules(spawn=ASK)) as kernel:
        await kernel.submit("p", task_id="t", input=["a"])
        await kernel.idle()
        assert "a" not in kernel.tasks
        (question,) = kernel.approvals()
        shown = question.payload["arguments"]
        assert (shown["program"], shown["task_id"], shown["goal"], shown["input"]) == (
            "child",
            "a",
            "grow",
            7,
        )
        await getattr(kernel, answer)("t", question.key)
        await kernel.idle()
        assert ("a" in kernel.tasks) == (answer == "approve")
        if answer == "approve":
            await kernel.resume("a")
        output = (await kernel.join("t")).output
    assert output[0] == (["a"] if answer == "approve" else [])
    assert bool(output[1]) == (answer == "deny")


async def test_a_program_that_catches_everything_spawns_nothing_before_a_human_says_so():
    async def program(turn):
        try:
            turn.spawn("child", task_id="a")
        except Exception:
            turn.say("caught")
        return turn.complete("done")

    async with kernel_of({"p": program, "child": child}, governance=rules(spawn=ASK)) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.idle()
        assert kinds(kernel) == {"t": ("suspended", "approval")}
        await kernel.approve("t", kernel.approvals()[0].key)
        await kernel.join("t")
        assert "a" in kernel.tasks


def quota(**limits):
    """A policy of a quota."""
    return GovernancePolicy(quota=ResourceQuota(**limits), default_rate_limit=None)


async def test_the_quota_counts_running_children_of_the_whole_kernel_and_those_staged():
    async def catching(turn):
        if turn.number == 1:
            made = []
            for name in turn.input:
                try:
                    made.append(turn.spawn("child", task_id=name))
                except GovernanceDenied as error:
                    turn.say(f"{error.stage}: {error.reason}")
            return turn.join(*made)
        return turn.complete(output=[message.text for message in turn.messages])

    programs = {"p": catching, "child": child}
    async with kernel_of(programs, governance=quota(max_concurrent_subagents=2)) as kernel:
        await kernel.submit("p", task_id="t", input=["a", "b", "c"])
        await kernel.idle()
        assert [row.id for row in kernel.tasks] == ["t", "a", "b"]
        await kernel.submit("p", task_id="u", input=["d"])
        await kernel.idle()
        assert "d" not in kernel.tasks
        for name in ("a", "b"):
            await kernel.resume(name)
        assert (await kernel.join("t")).output == ["quota: 2 children run, 2 may"]
        await kernel.submit("p", task_id="v", input=["d"])
        await kernel.idle()
        assert "d" in kernel.tasks


async def test_the_quota_holds_at_the_commit_though_both_turns_found_room_when_staging():
    both, staged = anyio.Event(), []

    async def program(turn):
        if turn.notes:
            return turn.complete(output=list(turn.notes))
        if turn.number == 1:
            turn.spawn("child", task_id=f"{turn.task.id}-child")
            staged.append(turn.task.id)
            if len(staged) == 2:
                both.set()
            await both.wait()
            return turn.join()
        return turn.complete()

    programs = {"p": program, "child": child}
    async with kernel_of(programs, governance=quota(max_concurrent_subagents=1)) as kernel:
        for name in ("t", "u"):
            await kernel.submit("p", task_id=name)
        await kernel.idle()
        children = [row.id for row in kernel.tasks if row.parent is not None]
        assert len(children) == 1
        (loser,) = {"t", "u"} - {kernel.tasks.get(children[0]).parent}
        assert "too many children" in (await kernel.join(loser)).output[0]


async def test_the_quota_knows_how_deep_a_child_would_be():
    async def program(turn):
        depth = turn.input
        if turn.number == 1:
            try:
                return turn.join(turn.spawn("p", task_id=f"d{depth + 1}", input=depth + 1))
            except GovernanceDenied as error:
                return turn.complete(error.reason)
        return turn.complete(next(iter(turn.results.values())).text)

    async with kernel_of({"p": program}, governance=quota(max_spawn_depth=2)) as kernel:
        await kernel.submit("p", task_id="d0", input=0)
        text = (await kernel.join("d0")).text
        assert [row.id for row in kernel.tasks] == ["d0", "d1", "d2"]
    assert text == "the child would be at depth 3, 2 is the deepest allowed"


async def test_memory_writes_beyond_the_quota_wait_for_their_turn():
    clock, recorder = ManualClock(), Recorder()

    async def program(turn):
        turn.write_memory(f"m{turn.number}", "note", 10)
        return turn.complete() if len(noted(recorder, "MemoryWritten")) == 1 else None

    async with kernel_of(
        {"p": program}, governance=quota(memory_writes_per_window=(1, 1000)), clock=clock, hooks=[recorder]
    ) as kernel:
        await kernel.submit("p", task_id="t")
        await settle()
        assert len(noted(recorder, "MemoryWritten")) == 1
        await clock.advance(1.002)
        await kernel.join("t")
    assert [event.memory_id for event in noted(recorder, "MemoryWritten")] == ["m1", "m3"]


async def test_rules_by_pattern_and_by_default():
    calls = []
    policy = GovernancePolicy(
        DENY, rules=(PermissionRule("read*", ALLOW), PermissionRule("*", ASK)), default_rate_limit=None
    )
    tools = [called(calls, "read_it"), called(calls, "other")]
    async with kernel_of({"p": requesting("read_it", "other")}, tools=tools, governance=policy) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.idle()
        assert [item.payload["effect"] for item in kernel.approvals()] == ["other"]
