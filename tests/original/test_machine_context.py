"""The original's tests of contexts in its state machine, restated: a living kernel, left and resumed."""

import pytest
from original_kit import Memory, kernel_of

from kernelckpt import ContextConfig, Message, SchedulerBudget, ToolCall, tool
from kernelckpt.model.handle import Collapsed, Resident, SpooledOut
from kernelckpt.model.os_event import LargeResultSpooled

NARROW = SchedulerBudget(max_tokens=1_000)


@tool(effect="idempotent")
async def read(size: int) -> str:
    """A text of so many bytes."""
    return "x" * size


def reader(*sizes):
    """Ask for texts of these sizes at once, then wait for messages and do what they say."""

    async def program(turn):
        if turn.number == 1:
            calls = [ToolCall(f"c{index}", "read", {"size": size}) for index, size in enumerate(sizes)]
            return turn.request(Message.assistant("reading", calls))
        for message in turn.inbox:
            if message.text == "compact":
                turn.compact(force=True)
            elif message.text == "renew":
                turn.renew()
            elif message.text.isdecimal():
                turn.observed(int(message.text))
            else:
                turn.say(message.text)
        return turn.wait_for_message()

    return {"reader": program}


async def lived(programs, *messages, **settings):
    """A kernel that an agent has lived in, left and started again; and the memory of it."""
    memory = Memory()
    options = {"tools": [read], "budget": NARROW, **settings}
    async with kernel_of(memory.storage, programs, **options) as kernel:
        await kernel.submit("reader", task_id="root", goal="read")
        await kernel.idle()
        for text in messages:
            await kernel.send("root", Message.user(text))
            await kernel.idle()
    return kernel, kernel_of(memory.storage, programs, **options)


def residencies(kernel):
    return [handle.residency for handle in kernel.context("root").handles]


async def test_large_tool_result_is_spooled():
    before, after = await lived(reader(61_440), budget=SchedulerBudget())
    (event,) = [item for item in before.event_log.events if isinstance(item, LargeResultSpooled)]
    assert event.original_size == 61_440
    async with after as kernel:
        result = kernel.context("root").history[1].content[0]
        assert len(result.output.encode()) < 8_192
        assert kernel.snapshot().spools["root"]
        assert residencies(kernel) == [SpooledOut("c0")]


async def test_small_tool_result_is_not_spooled():
    before, after = await lived(reader(100))
    assert not [item for item in before.event_log.events if isinstance(item, LargeResultSpooled)]
    async with after as kernel:
        assert kernel.context("root").history[1].content[0].output == "x" * 100
        assert residencies(kernel) == [Resident()]


async def test_user_directive_survives_renewal():
    seen = []

    async def program(turn):
        if turn.number == 1:
            turn.directive("never delete")
            return None
        if turn.number == 2:
            turn.renew()
            return turn.wait_external("restart")
        seen.append(turn.render().turns[0].text)
        return turn.complete("done")

    memory = Memory()
    async with kernel_of(memory.storage, {"p": program}) as kernel:
        await kernel.submit("p", task_id="root", goal="tidy up")
        await kernel.idle()
    async with kernel_of(memory.storage, {"p": program}) as kernel:
        assert kernel.context("root").sprint == 1
        assert kernel.context("root").plan.directives == ("never delete",)
        await kernel.resume("root")
        await kernel.join("root")
    assert "never delete" in seen[0]


async def test_preload_history_is_not_said_again():
    _, after = await lived(reader(10), "hello")
    async with after as kernel:
        before = list(kernel.context("root").history)
        await kernel.idle()
        assert list(kernel.context("root").history) == before
        await kernel.send("root", Message.user("more"))
        await kernel.idle()
        assert [message.text for message in kernel.context("root").history[len(before) :]] == ["more"]


async def test_tool_result_is_indexed_resident_by_call_id_and_plain_text_adds_none():
    _, after = await lived(reader(10, 20), "hello")
    async with after as kernel:
        handles = kernel.context("root").handles
        assert [(item.id, item.source, item.tokens) for item in handles] == [(0, "c0", 2), (1, "c1", 5)]
        assert set(residencies(kernel)) == {Resident()}


async def test_high_pressure_collapses_older_results_and_reverses():
    _, after = await lived(reader(*[40] * 10), "950")
    async with after as kernel:
        assert residencies(kernel) == [Collapsed()] * 6 + [Resident()] * 4
        await kernel.send("root", Message.user("100"))
        await kernel.idle()
        assert residencies(kernel) == [Resident()] * 10


async def test_spooled_survives_the_pressure_and_its_reverse():
    config = ContextConfig(spool_threshold_bytes=100, spool_preview_bytes=10)
    _, after = await lived(reader(200, *[40] * 5), "950", context=config)
    async with after as kernel:
        assert residencies(kernel) == [SpooledOut("c0"), Collapsed(), *[Resident()] * 4]
        await kernel.send("root", Message.user("100"))
        await kernel.idle()
        assert residencies(kernel) == [SpooledOut("c0"), *[Resident()] * 5]


@pytest.mark.parametrize("how", ["compact", "renew"])
async def test_handles_go_with_the_results_they_stand_for(how):
    config = ContextConfig(spool_threshold_bytes=100, spool_preview_bytes=10)
    words = ["word " * 40] * 5
    before, after = await lived(reader(200, 40), *words, how, context=config)
    assert residencies(before) == []
    async with after as kernel:
        assert residencies(kernel) == []
        assert "root" not in kernel.snapshot().spools
