"""Faults of the original's snapshot of contexts, each shown not to be repeated: from every commit on."""

import pytest
from original_kit import RUN, Memory, Recording, kernel_of

from kernelckpt import (
    CapabilityDescriptor,
    CapabilityKind,
    ContextConfig,
    Message,
    PlanStep,
    PlanUpdate,
    SchedulerBudget,
    ToolCall,
    load,
    tool,
)
from kernelckpt.errors import RestoreError
from kernelckpt.kernel.context.handle_table import HandleTable
from kernelckpt.kernel.context.tally import ToolResultSeen
from kernelckpt.kernel.context.tokens import count
from kernelckpt.model.handle import SpooledOut
from kernelckpt.testing import ManualClock

BUDGET = SchedulerBudget(max_tokens=10_000, max_turns=100)


@tool(effect="idempotent")
async def read(size: int) -> str:
    """A text of so many letters."""
    return "ä" * size


def at_once(do):
    """A program that does something in its first turn and then waits for ever."""

    async def program(turn):
        if turn.number == 1:
            return do(turn)
        return turn.wait_external("ever")

    return {"p": program}


async def after_each_crash(do, look, **settings):
    """What is seen of the task in the first life, and after a crash at each of its checkpoints."""
    storage, options = Recording(), {"tools": [read], "budget": BUDGET, **settings}
    async with kernel_of(storage, at_once(do), clock=ManualClock(), **options) as kernel:
        await kernel.submit("p", task_id="root", goal="remember")
        await kernel.idle()
        assert not kernel.tasks.get("root").state.is_terminal()
        first = look(kernel)
    lives = [first]
    assert len(storage.copies) >= 2
    for copy in storage.copies:
        async with kernel_of(copy.storage, at_once(do), clock=ManualClock(), **options) as kernel:
            await kernel.submit("p", task_id="root", goal="remember")
            await kernel.idle()
            lives.append(look(kernel))
    return lives


def of_context(*names):
    """How to look at some attributes of a context."""
    return lambda kernel: tuple(getattr(kernel.context("root"), name) for name in names)


def of_plan(*names):
    """How to look at some fields of a plan."""
    return lambda kernel: tuple(getattr(kernel.context("root").plan, name) for name in names)


def ask(turn):
    return turn.request(Message.assistant("", [ToolCall("c", "read", {"size": 800})]))


async def test_c1_token_counts_are_those_that_were_given():
    def do(turn):
        turn.append(Message("tool", "short", token_count=900))
        turn.append(Message("system", "rules", token_count=500), partition="system")

    lives = await after_each_crash(do, of_context("tokens", "pressure"))
    assert lives == [lives[0]] * len(lives)
    assert lives[0][0] == 1_400 + count("[TASK STATE] goal: remember")


async def test_c2_the_whole_plan_is_kept():
    update = PlanUpdate(
        criteria=("done", "well"), plan=("a", "b"), current_step=1, scratchpad="pad", blocked_on=("c",)
    )
    look = of_plan("criteria", "plan", "current_step", "scratchpad", "blocked_on")
    for seen in await after_each_crash(lambda turn: turn.update_plan(update), look):
        assert seen == (("done", "well"), (PlanStep("a"), PlanStep("b")), 1, "pad", ("c",))


@pytest.mark.parametrize("preserved", [(), ("c",)])
async def test_c3_what_must_not_be_compressed_stays_whole_after_a_restore(preserved):
    async def program(turn):
        if turn.number == 1:
            turn.update_plan(PlanUpdate(preserved_refs=preserved))
            return ask(turn)
        if turn.number == 2:
            return turn.wait_external("restart")
        turn.compact("micro_compact", force=True)
        return turn.complete(output=len(turn.messages))

    memory, options = Memory(), {"tools": [read], "budget": BUDGET}
    async with kernel_of(memory.storage, {"p": program}, **options) as kernel:
        await kernel.submit("p", task_id="root")
        await kernel.idle()
    async with kernel_of(memory.storage, {"p": program}, **options) as kernel:
        await kernel.resume("root")
        await kernel.join("root")
        output = kernel.context("root").history[1].content[0].output
    assert (output == "ä" * 800) == bool(preserved)


async def test_c4_the_trace_of_what_was_archived_is_kept():
    def do(turn):
        for number in range(9):
            turn.say(f"said {number}")
        turn.compact(force=True)
        turn.renew()

    def look(kernel):
        context = kernel.context("root")
        return context.plan.compression_log, context.last_handoff, context.sprint

    lives = await after_each_crash(do, look)
    assert lives == [lives[0]] * len(lives)
    log, handoff, sprint = lives[0]
    assert "said 0" in log[0].summary
    assert (handoff.goal, handoff.sprint, sprint) == ("remember", 0, 1)


async def test_c5_open_steps_are_what_the_plan_says():
    steps = [PlanStep("a", done=True), PlanStep("b")]
    for seen in await after_each_crash(lambda turn: turn.plan(steps), of_plan("open_steps")):
        assert seen == (("b",),)


async def test_c6_goal_and_progress_are_texts_however_empty():
    def look(kernel):
        plan = kernel.context("root").plan
        return plan.goal, plan.progress

    assert set(await after_each_crash(lambda turn: turn.update_plan(PlanUpdate(goal="")), look)) == {("", "")}


async def test_c7_thresholds_are_those_the_task_began_with():
    config = ContextConfig(
        snip_threshold=0.1, carryover_ratio=0.3, spool_threshold_bytes=77, verbose_control_notes=True
    )
    memory = Memory()
    async with kernel_of(memory.storage, at_once(ask), tools=[read], context=config) as kernel:
        await kernel.submit("p", task_id="root")
        await kernel.idle()
    async with kernel_of(memory.storage, at_once(ask), tools=[read]) as kernel:
        assert kernel.context("root").config == config


async def test_c8_capabilities_and_what_they_are_limited_to_are_kept():
    given = CapabilityDescriptor("read", CapabilityKind.TOOL, "reads", is_pinned=True)

    def do(turn):
        turn.mount(given)

    def look(kernel):
        snapshot = kernel.snapshot()
        return snapshot.capabilities["root"], kernel.tasks.get("root").caps

    lives = await after_each_crash(do, look)
    assert lives == [lives[0]] * len(lives)
    assert [entry.id for entry in lives[0][0].entries] == ["read"]


async def test_c8_a_kernel_without_the_tool_of_a_call_under_way_is_not_started():
    @tool(effect="idempotent")
    async def hang(size: int) -> str:
        raise ValueError(size)

    storage = Recording()
    async with kernel_of(storage, at_once(ask), tools=[read]) as kernel:
        await kernel.submit("p", task_id="root")
        await kernel.idle()
    refused = 0
    for copy in storage.copies:
        effects = (await load(copy.storage, RUN)).effects.get("root", {})
        if any(effect.runs and not effect.decided for effect in effects.values()):
            with pytest.raises(RestoreError, match="read"):
                async with kernel_of(copy.storage, at_once(ask), tools=[hang]):
                    pass
            refused += 1
    assert refused


async def test_c9_times_of_activity_are_kept_so_that_a_restore_is_no_pause():
    clock, memory = ManualClock(), Memory()
    options = {"tools": [read], "budget": BUDGET, "auto_compact": True}

    async def program(turn):
        if turn.number == 1:
            return ask(turn)
        return turn.wait_for_message() if not turn.inbox else turn.say("heard")

    outputs, begun = [], clock.wall_ms()
    for minutes in (0, 59, 61, 119):
        now = ManualClock(begun + minutes * 60_000)
        async with kernel_of(memory.storage, {"p": program}, clock=now, **options) as kernel:
            await kernel.submit("p", task_id="root")
            await kernel.idle()
            if minutes:
                await kernel.send("root", Message.user("hello"))
                await kernel.idle()
            outputs.append(len(kernel.context("root").history[1].content[0].output) == 800)
            meter = kernel.snapshot().meters["root"]
    assert outputs == [True, True, False, False]
    assert meter.last_activity_ms == begun
    assert meter.last_compact_ms == begun + 61 * 60_000


async def test_c10_what_the_provider_counted_is_kept():
    lives = await after_each_crash(lambda turn: turn.observed(9_000), of_context("pressure"))
    assert lives == [(0.9,)] * len(lives)


async def test_c11_no_message_is_appended_twice():
    def do(turn):
        turn.say("one")
        return turn.request(Message.assistant("two"))

    def look(kernel):
        return [message.text for message in kernel.context("root").history]

    lives = await after_each_crash(do, look)
    assert lives == [["one", "two"]] * len(lives)


async def test_f7_handles_and_what_they_refer_to_come_back():
    config = ContextConfig(spool_threshold_bytes=100, spool_preview_bytes=10)

    def do(turn):
        calls = [ToolCall(f"c{index}", "read", {"size": size}) for index, size in enumerate((400, 20, 30))]
        return turn.request(Message.assistant("", calls))

    def look(kernel):
        context = kernel.context("root")
        spools = {item.call_id: item.output for item in kernel.snapshot().spools["root"].values()}
        return context.handles, spools, context.effective_pressure

    lives = await after_each_crash(do, look, context=config)
    assert lives == [lives[0]] * len(lives)
    handles, spools, effective = lives[0]
    assert spools == {"c0": "ä" * 400}
    assert next(iter(handles)).residency == SpooledOut("c0")
    seen = [ToolResultSeen(handle.source, handle.tokens) for handle in handles]
    assert handles == HandleTable.rebuild(seen, set(spools), effective)
