"""Faults found by review, each kept as a test: answers, timeouts, extensions, two owners of one state."""

import asyncio

import pytest

from kernelckpt import CheckpointHook, MemoryStorage, Scheduler, SchedulerBudget, tool
from kernelckpt.errors import UsageError


async def test_a_program_sees_its_own_timeout_and_the_call_stays_in_doubt():
    begun = asyncio.Event()

    @tool
    async def pay():
        begun.set()
        await asyncio.Event().wait()

    async def agent(turn):
        try:
            async with asyncio.timeout(0.01):
                await turn.call("pay")
        except TimeoutError:
            seen.append([effect.status.value for effect in kernel.snapshot().effects["a"].values()])
            return turn.complete("timed out")

    seen = []
    async with Scheduler({"agent": agent}, run_id="r", tools=[pay]) as kernel:
        await kernel.submit("agent", task_id="a")
        assert (await kernel.join("a")).text == "timed out"
    assert begun.is_set()
    assert seen == [["started"]]


async def test_a_child_that_is_extended_before_its_parent_reads_on_is_joined_again():
    gate = asyncio.Event()

    async def child(turn):
        turn.say("on")
        return turn.complete("done") if turn.number == 3 else None

    async def parent(turn):
        if turn.number == 1:
            limit = SchedulerBudget(max_turns=1)
            return turn.join(turn.spawn("child", task_id="c", budget=limit), turn.spawn("slow", task_id="s"))
        return turn.complete(",".join(sorted(result.text for result in turn.results.values())))

    async def slow(turn):
        await gate.wait()
        return turn.complete("slow")

    programs = {"child": child, "parent": parent, "slow": slow}
    async with Scheduler(programs, run_id="r") as kernel:
        await kernel.submit("parent", task_id="p")
        while "c" not in kernel.tasks:
            await asyncio.sleep(0)
        assert (await kernel.join("c")).termination == "max_turns"
        await kernel.extend("c", SchedulerBudget(max_turns=10))
        gate.set()
        assert (await kernel.join("p")).text == "done,slow"


async def test_one_scheduler_takes_one_hook_that_restores():
    async with MemoryStorage() as storage:
        hooks = [CheckpointHook(storage), CheckpointHook("memory:")]
        with pytest.raises(UsageError):
            async with Scheduler({}, run_id="r", hooks=hooks):
                pass
        assert list(await storage.list_runs()) == []
