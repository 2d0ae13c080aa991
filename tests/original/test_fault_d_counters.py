"""Faults of the original's counters and clocks, each shown not to be repeated."""

import anyio
from original_kit import RUN, Memory, Recording, kernel_of, listen

from kernelckpt import Message, SchedulerBudget, TerminationReason, ToolCall, load, tool
from kernelckpt.testing import ManualClock


async def test_d1_limits_hold_after_a_restore():
    async def spin(turn):
        turn.spend(tokens=10)
        turn.say(f"turn {turn.number}, {len(turn.inbox)} messages")
        return turn.wait_for_message() if turn.number == 1 else None

    memory, limits = Memory(), SchedulerBudget(max_turns=3, max_total_tokens=50, max_wall_ms=3_600_000)
    async with kernel_of(memory.storage, {"spin": spin}) as kernel:
        await kernel.submit("spin", task_id="root", budget=limits)
        await kernel.idle()
    generous = SchedulerBudget(max_turns=1000)
    async with kernel_of(memory.storage, {"spin": spin}, budget=generous) as kernel:
        assert kernel.tasks.get("root").budget.limits == limits
        await kernel.send("root", "go on")
        with anyio.fail_after(5):
            result = await kernel.join("root")
    assert (result.termination, result.turns_used) == (TerminationReason.MAX_TURNS, 3)


async def test_d2_a_wall_budget_is_not_refilled_by_restarts_and_downtime_is_free():
    async def work(turn):
        await turn.deps.sleep(4)
        turn.say(f"{len(turn.inbox)} messages")
        return turn.wait_for_message()

    memory, clock = Memory(), ManualClock()
    budget, turns = SchedulerBudget(max_wall_ms=10_000), []
    for life in range(4):
        async with kernel_of(memory.storage, {"work": work}, clock=clock, deps=clock) as kernel:
            await kernel.submit("work", task_id="root", budget=budget)
            if life:
                await kernel.send("root", "again")
            await clock.advance(4)
            turns.append(kernel.tasks.get("root").budget.turns)
            last = kernel.tasks.get("root").state
        clock = ManualClock(clock.wall_ms() + 86_400_000)
    assert turns == [1, 2, 3, 3]
    assert last.reason is TerminationReason.TIMEOUT


async def test_d3_a_budget_that_is_used_up_ends_the_task_at_whatever_instant_the_crash_came():
    async def spend(turn):
        turn.spend(tokens=100)
        turn.say("too much")

    storage = Recording()
    async with kernel_of(storage, {"spend": spend}) as kernel:
        await kernel.submit("spend", task_id="root", budget=SchedulerBudget(max_total_tokens=100))
        await kernel.join("root")
    after_the_turn = [copy for copy in storage.copies if (await load(copy.storage, RUN)).turn == 1]
    assert len(after_the_turn) >= 1
    for copy in after_the_turn:
        async with kernel_of(copy.storage, {"spend": spend}) as kernel:
            result = await kernel.join("root")
            assert (result.termination, result.total_tokens_used) == (TerminationReason.TOKEN_BUDGET, 100)
            assert [message.text for message in kernel.context("root").history] == ["too much"]


async def test_d4_calls_in_flight_and_the_results_they_have_survive_with_the_names_of_their_tools():
    made, begun = [], anyio.Event()

    @tool(effect="ask")
    async def quick():
        made.append("quick")
        return "quick is done"

    @tool(effect="ask")
    async def slow():
        begun.set()
        await anyio.sleep_forever()

    async def agent(turn):
        if turn.number == 1:
            return turn.request(Message.assistant("", [ToolCall("1", "quick"), ToolCall("2", "slow")]))
        return turn.complete(output=[message.text for message in turn.messages[1:]])

    memory, tools = Memory(), [quick, slow]
    async with kernel_of(memory.storage, {"agent": agent}, tools=tools) as kernel:
        await kernel.submit("agent", task_id="root")
        await begun.wait()
        while not [effect for effect in kernel.snapshot().effects["root"].values() if effect.decided]:
            await anyio.lowlevel.checkpoint()
        await kernel.send("root", "everything before this is durable")
        crashed = memory.crashed()
        kernel.request_stop(0)
    async with kernel_of(crashed.storage, {"agent": agent}, tools=tools) as kernel:
        assert kernel.restored.in_doubt == ("root: slow",)
        (question,) = kernel.approvals()
        await kernel.deny("root", question.key)
        first, second = (await kernel.join("root")).output
    assert first == "quick is done"
    assert "slow" in second or "denied" in second
    assert made == ["quick"]


async def test_d6_limits_have_one_owner():
    memory, limits = Memory(), SchedulerBudget(max_turns=7, max_wall_ms=9)
    async with kernel_of(memory.storage, {"listen": listen}) as kernel:
        await kernel.submit("listen", task_id="root")
        await kernel.idle()
        await kernel.extend("root", limits)
        (row,) = kernel.snapshot().tasks
        assert (row.max_turns, row.max_wall_ms) == (7, 9)
    async with kernel_of(memory.storage, {"listen": listen}) as kernel:
        assert kernel.tasks.get("root").budget.limits == limits
