"""Faults of the original's rollback and of its life after a restore, each shown not to be repeated."""

import anyio
import pytest
from original_kit import RUN, Memory, Recording, kernel_of, listen, once, signal_of, wait

from kernelckpt import (
    CompressionAction,
    GovernancePolicy,
    Message,
    PermissionAction,
    PermissionRule,
    ProviderFailure,
    TimedOut,
    ToolCall,
    ToolError,
    ToolResultPart,
    Urgency,
    load,
    tool,
)
from kernelckpt.errors import UsageError

SAID = [Message.user(f"message {number}") for number in range(6)]


@tool(effect="idempotent")
async def look():
    return "seen " * 50


@tool(effect="idempotent")
async def pay():
    raise ToolError("no money", kind="fatal")


@tool(effect="idempotent")
async def forbidden():
    return "made all the same"


def answered(messages):
    """The ids of the calls of a history, and of those that have results."""
    asked = [call.id for message in messages for call in message.tool_calls]
    parts = [part for message in messages if not isinstance(message.content, str) for part in message.content]
    return asked, [part.call_id for part in parts if isinstance(part, ToolResultPart)]


async def outside(turn):
    return turn.wait_for_message()


async def fatal(turn):
    return turn.request(Message.assistant("I pay", [ToolCall("c", "look"), ToolCall("d", "pay")]))


async def denied(turn):
    return turn.request(Message.assistant("I dare", [ToolCall("c", "forbidden")]))


async def taken_back(turn):
    turn.say("lost")
    return turn.rollback(ProviderFailure("cut off"))


def then_complete(first):
    """A program that waits for its start, does one thing, and completes when it has been rolled back."""

    async def program(turn):
        if turn.notes:
            return turn.complete(output=list(turn.notes))
        return turn.wait_external("start") if turn.number == 1 else await first(turn)

    return {"agent": program}


@pytest.mark.parametrize("way", [outside, fatal, denied, taken_back])
async def test_g1_a_rollback_right_after_a_restore_equals_one_without_it_and_erases_nothing(way):
    policy = GovernancePolicy(
        rules=(PermissionRule("forbidden", PermissionAction.DENY),), default_rate_limit=None
    )
    settings = {"tools": [look, pay, forbidden], "governance": policy}

    async def roll_back(kernel):
        if kernel.tasks.get("root").wait is not None and kernel.tasks.get("root").wait.note == "start":
            await kernel.resume("root")
        if way is outside:
            await kernel.idle()
            if not kernel.tasks.get("root").state.is_terminal():
                await kernel.rollback("root", TimedOut())
        result = await kernel.join("root")
        return result, list(kernel.context("root").history), kernel.context("root").tokens

    memory, storage = Memory(), Recording()
    async with kernel_of(memory.storage, then_complete(way), **settings) as kernel:
        await kernel.submit("agent", task_id="root", messages=SAID)
        await kernel.idle()
        restored = memory.crashed()
        live = await roll_back(kernel)
    async with kernel_of(restored.storage, then_complete(way), **settings) as kernel:
        assert await roll_back(kernel) == live
    assert live[1] == SAID
    assert live[0].output[0].startswith("[ROLLBACK] ")
    async with kernel_of(storage, then_complete(way), **settings) as kernel:
        await kernel.submit("agent", task_id="root", messages=SAID)
        await kernel.idle()
        await roll_back(kernel)
    for copy in storage.copies[2:]:
        async with kernel_of(copy.storage, then_complete(way), **settings) as kernel:
            assert await roll_back(kernel) == live


async def test_g2_a_rollback_leaves_token_counts_and_handles_as_they_were():
    memory, measured = Memory(), []

    async def agent(turn):
        context = turn.context
        handles = [(handle.source, handle.residency) for handle in context.handles]
        measured.append((context.tokens, context.pressure, handles))
        if turn.number == 1:
            return turn.request(Message.assistant("I look", [ToolCall("a", "look")]))
        if turn.number == 2:
            return turn.request(Message.assistant("I pay", [ToolCall("b", "look"), ToolCall("c", "pay")]))
        return turn.wait_for_message()

    async with kernel_of(memory.storage, {"agent": agent}, tools=[look, pay]) as kernel:
        await kernel.submit("agent", task_id="root", messages=SAID)
        await kernel.idle()
        tokens = kernel.context("root").tokens
    before, after = measured[1:]
    assert [handle for handle, _ in before[2]] == ["a"]
    assert after == before
    async with kernel_of(memory.storage, {"agent": agent}, tools=[look, pay]) as kernel:
        assert kernel.context("root").tokens == tokens


async def test_g3_a_rollback_after_a_compression_undoes_the_request_and_no_more():
    async def agent(turn):
        if turn.notes:
            return turn.complete(output=[message.text for message in turn.messages])
        turn.compact(CompressionAction.AUTO_COMPACT, force=True)
        return turn.request(Message.assistant("I pay", [ToolCall("a", "look"), ToolCall("b", "pay")]))

    async def drive(kernel):
        long = [Message.user(f"message {number} " + "word " * 2000) for number in range(40)]
        await kernel.submit("agent", task_id="root", messages=long)
        result = await kernel.join("root")
        return result.output, kernel.context("root").plan.compression_log

    storage = Recording()
    async with kernel_of(storage, {"agent": agent}, tools=[look, pay]) as kernel:
        history, log = await drive(kernel)
    assert 0 < len(history) < 40
    assert "I pay" not in history
    assert log
    for copy in storage.copies:
        async with kernel_of(copy.storage, {"agent": agent}, tools=[look, pay]) as kernel:
            assert await drive(kernel) == (history, log)
            assert answered(kernel.context("root").history) == ([], [])


async def test_g4_a_finished_task_takes_no_events_live_or_restored():
    memory = Memory()
    for _ in range(2):
        async with kernel_of(memory.storage, {"once": once}) as kernel:
            await kernel.submit("once", task_id="root")
            before = await kernel.join("root")
            row = kernel.tasks.get("root")
            for refused in (
                kernel.send("root", "hello"),
                kernel.resume("root"),
                kernel.approve("root", "key"),
                kernel.signal(signal_of("now", Urgency.CRITICAL), "root"),
            ):
                with pytest.raises(UsageError):
                    await refused
            await kernel.idle()
            assert kernel.tasks.get("root") == row
            assert await kernel.join("root") == before


async def test_g7_a_restore_says_what_it_found_made_anew_and_cleared():
    memory, programs = Memory(), {"listen": listen, "wait": wait}
    async with kernel_of(memory.storage, programs) as kernel:
        await kernel.submit("listen", task_id="l")
        await kernel.submit("wait", task_id="w")
        await kernel.send("l", "hello")
        await kernel.idle()
        assert kernel.restored is None
    async with kernel_of(memory.storage, programs) as kernel:
        report = kernel.restored
    assert (report.run_id, report.tasks, report.live, report.turn) == ("run", 2, 2, 3)
    assert report.restored["task"] == 2
    assert report.restored["history"] == 1
    assert report.recreated
    assert report.cleared == ("signal deduplication",)
    assert (report.interrupted, report.woken, report.in_doubt, report.notes) == ((), (), (), ())


@pytest.mark.parametrize("crashes", [False, True])
async def test_g5_a_critical_signal_during_a_question_loses_neither(crashes):
    memory, done = Memory(), []

    async def ask(turn):
        if "sure" not in turn.approvals or turn.approvals["sure"].pending:
            return turn.ask_approval("sure", "Shall it be deleted?", {"tool": "delete"})
        return turn.complete(await turn.effect(turn.deps.append, "deleted") or "deleted")

    async with kernel_of(memory.storage, {"ask": ask}, deps=done) as kernel:
        await kernel.submit("ask", task_id="root")
        await kernel.idle()
        await kernel.signal(signal_of("hurry", Urgency.CRITICAL))
        await kernel.idle()
        crashed = memory.crashed()
        if not crashes:
            (question,) = kernel.approvals()
            await kernel.approve("root", question.key)
            assert (await kernel.join("root")).text == "deleted"
    if crashes:
        async with kernel_of(crashed.storage, {"ask": ask}, deps=done) as kernel:
            assert kernel.context("root").signals == ("[INTERRUPT] hurry",)
            (question,) = kernel.approvals()
            assert question.payload == {"tool": "delete"}
            await kernel.approve("root", question.key)
            assert (await kernel.join("root")).text == "deleted"
    assert done == ["deleted"]


async def test_g6_a_snapshot_between_a_call_and_its_result_says_so():
    async def agent(turn):
        if turn.messages:
            return turn.complete()
        return turn.request(Message.assistant("I look", [ToolCall("a", "look"), ToolCall("b", "look")]))

    storage, between = Recording(), 0
    async with kernel_of(storage, {"agent": agent}, tools=[look]) as kernel:
        await kernel.submit("agent", task_id="root")
        await kernel.join("root")
    for copy in storage.copies:
        snapshot = await load(copy.storage, RUN)
        asked, results = answered(snapshot.context.history_messages if snapshot.contexts else ())
        assert asked == results
        if snapshot.requests:
            between += 1
            reply = snapshot.requests["root"].reply
            open_calls = [effect.call_id for effect in snapshot.effects["root"].values()]
            assert (asked, [call.id for call in reply.tool_calls]) == ([], ["a", "b"])
            assert open_calls == ["a", "b"]
    assert between > 1


async def test_c12_a_tool_call_that_is_finished_is_never_made_again_though_its_result_was_shortened():
    made = []

    @tool(effect="ask")
    async def fetch():
        made.append("fetch")
        return "page " * 5000

    async def agent(turn):
        if turn.number == 1:
            return turn.request(Message.assistant("I fetch", [ToolCall("a", "fetch")]))
        if turn.number == 2:
            turn.compact(CompressionAction.MICRO_COMPACT, force=True)
            return None
        return turn.wait_for_message()

    storage = Recording()
    async with kernel_of(storage, {"agent": agent}, tools=[fetch]) as kernel:
        await kernel.submit("agent", task_id="root", messages=SAID)
        await kernel.idle()
        assert len(kernel.context("root").history[-1].text) < len("page " * 5000)
    finished = [copy for copy in storage.copies if not await is_open(copy)]
    assert len(finished) > 2
    for copy in finished:
        made.clear()
        async with kernel_of(copy.storage, {"agent": agent}, tools=[fetch]) as kernel:
            await kernel.idle()
        assert made == []


async def is_open(memory):
    """Whether the calls of the run are not all finished."""
    snapshot = await load(memory.storage, RUN)
    effects = [effect for calls in snapshot.effects.values() for effect in calls.values()]
    return snapshot.turn == 0 or any(not effect.decided for effect in effects)


async def test_g7_a_restore_names_what_was_cut_off():
    begun = anyio.Event()

    @tool
    async def charge():
        begun.set()
        await anyio.sleep_forever()

    async def buy(turn):
        return turn.complete(await turn.call("charge"))

    async def busy(turn):
        begun_too.set()
        await anyio.sleep_forever()

    memory, begun_too = Memory(), anyio.Event()
    programs = {"buy": buy, "busy": busy, "once": once}
    async with kernel_of(memory.storage, programs, tools=[charge]) as kernel:
        for name in programs:
            await kernel.submit(name, task_id=name)
        await begun.wait()
        await begun_too.wait()
        await kernel.join("once")
        crashed = memory.crashed()
        kernel.request_stop(0)
    async with kernel_of(crashed.storage, programs, tools=[charge]) as kernel:
        report = kernel.restored
        kernel.request_stop(0)
    assert (set(report.interrupted), report.in_doubt) == ({"buy", "busy"}, ("buy: charge",))
    assert (report.tasks, report.live) == (3, 2)
