"""Drafts: shown as they come, in order, and taken back by an event whenever their turn is lost."""

import asyncio

import anyio
import pytest
from kernel_kit import Recorder, kernel_of, settle

from kernelckpt import (
    GovernancePolicy,
    Message,
    PermissionAction,
    PermissionRule,
    RuntimeSignal,
    SignalSource,
    SignalType,
    TimedOut,
    ToolCall,
    Urgency,
)

FORBIDDEN = GovernancePolicy(rules=(PermissionRule("forbidden", PermissionAction.DENY),))
ASKED = GovernancePolicy(rules=(PermissionRule("asked", PermissionAction.ASK_USER),))


def told(events):
    """Drafts and what became of their turns."""
    return [
        (event.kind, event.turn, event.data.get("delta"))
        for event in events
        if event.kind in {"draft", "discarded", "committed"}
    ]


async def until_forever(turn):
    """Show a draft and wait in the first attempt; the second one gets through."""
    turn.emit(f"draft {turn.attempt}")
    if turn.attempt == 1:
        await anyio.sleep_forever()
    return turn.complete()


LOST = [("draft", 1, "draft 1"), ("discarded", 1, None)]
AGAIN = [("draft", 1, "draft 2"), ("committed", 1, None)]


async def test_drafts_come_while_the_turn_is_under_way_in_their_order():
    seen, go_on = [], anyio.Event()

    async def program(turn):
        for word in ("to", "be"):
            turn.emit(word)
        await go_on.wait()
        turn.emit("continued")
        return turn.complete("to be continued")

    async def follow(events):
        async for event in events:
            if event.kind == "draft":
                seen.append(event.data["delta"])

    async with anyio.create_task_group() as group, kernel_of({"p": program}) as kernel:
        group.start_soon(follow, kernel.events("t"))
        await kernel.submit("p", task_id="t")
        await settle()
        assert seen == ["to", "be"]
        go_on.set()
        await kernel.join("t")
    assert seen == ["to", "be", "continued"]


async def test_a_turn_that_is_interrupted_takes_back_its_drafts_and_shows_them_anew():
    async with kernel_of({"p": until_forever}) as kernel:
        events = kernel.events("t")
        await kernel.submit("p", task_id="t")
        await settle()
        signal = RuntimeSignal(SignalSource.CUSTOM, SignalType.EVENT, Urgency.CRITICAL, "s")
        await kernel.signal(signal, task_id="t")
        await kernel.join("t")
    assert told([event async for event in events]) == LOST + AGAIN


@pytest.mark.parametrize("lose", ["cancel", "stop"])
async def test_a_turn_that_is_broken_off_takes_back_its_drafts(lose):
    async with kernel_of({"p": until_forever}) as kernel:
        events = kernel.events("t")
        await kernel.submit("p", task_id="t")
        await settle()
        await (kernel.cancel("t") if lose == "cancel" else kernel.stop(grace=0))
    assert told([event async for event in events]) == LOST


async def test_a_turn_whose_kernel_is_halted_takes_back_its_drafts():
    seen = []

    async def follow(events):
        seen.extend([event async for event in events])

    async def halted():
        async with kernel_of({"p": until_forever}) as kernel:
            group.start_soon(follow, kernel.events("t"))
            await kernel.submit("p", task_id="t")
            await settle()
            kernel.halt(RuntimeError("the disk is gone"))

    async with anyio.create_task_group() as group:
        with pytest.raises(RuntimeError, match="the disk is gone"):
            await halted()
    assert told(seen) == LOST


async def raises(turn):
    turn.emit("draft 1")
    raise ValueError("no")


async def takes_back(turn):
    turn.emit(f"draft {turn.number}")
    return turn.rollback(TimedOut()) if turn.number == 1 else turn.complete()


async def is_refused(turn):
    turn.emit(f"draft {turn.number}")
    call = ToolCall("c", "forbidden", {})
    return turn.request(Message.assistant("", [call])) if turn.number == 1 else turn.complete()


async def ends_twice(turn):
    turn.emit("draft 1")
    turn.complete()
    return 5


@pytest.mark.parametrize("program", [raises, takes_back, is_refused, ends_twice])
async def test_a_turn_that_comes_to_nothing_takes_back_its_drafts(program):
    async with kernel_of({"p": program}, governance=FORBIDDEN) as kernel:
        events = kernel.events("t")
        await kernel.submit("p", task_id="t")
        await kernel.join("t")
    drafts = told([event async for event in events])
    assert drafts[:2] == LOST
    assert [kind for kind, turn, _ in drafts if turn == 1] == ["draft", "discarded"]


async def test_a_turn_that_waits_for_a_human_takes_back_its_drafts_and_shows_them_anew():
    async def asked() -> None:
        pass

    async def program(turn):
        turn.emit(f"draft {turn.attempt}")
        await turn.effect(asked)
        return turn.complete()

    async with kernel_of({"p": program}, governance=ASKED) as kernel:
        events = kernel.events("t")
        await kernel.submit("p", task_id="t")
        await kernel.idle()
        (question,) = kernel.approvals()
        await kernel.approve("t", question.key)
        await kernel.join("t")
    assert told([event async for event in events]) == LOST + AGAIN


async def test_a_turn_that_died_with_its_process_is_taken_back_by_the_next_start():
    recorder = Recorder()
    async with kernel_of({"p": until_forever}, hooks=[recorder]) as kernel:
        await kernel.submit("p", task_id="t")
        await settle()
        died = recorder.saved()
        await kernel.cancel("t")
    kernel = kernel_of({"p": until_forever}, hooks=[Recorder(died)])
    events = kernel.events("t")
    async with kernel:
        await kernel.join("t")
    assert told([event async for event in events]) == [("discarded", 1, None), *AGAIN]


async def test_what_outlives_its_turn_shows_nothing_any_more():
    turns, late = [], []

    async def program(turn):
        async def shout():
            while True:
                turn.emit("late" if late else "draft 1")
                await asyncio.sleep(0)

        if turn.attempt == 1:
            turns.append(asyncio.ensure_future(shout()))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        late.append(turn.attempt)
        if turn.attempt == 1:
            raise ValueError("no")
        return turn.complete()

    async with kernel_of({"p": program}) as kernel:
        events = kernel.events("t")
        await kernel.submit("p", task_id="t")
        await kernel.join("t")
        await settle()
        turns[0].cancel()
    drafts = told([event async for event in events])
    assert drafts[0] == ("draft", 1, "draft 1")
    assert drafts[-1] == ("discarded", 1, None)
    assert ("draft", 1, "late") not in drafts
