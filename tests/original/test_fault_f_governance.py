"""Faults of the original's suspensions and governance, each shown not to be repeated."""

import anyio
import pytest
from original_kit import Memory, ask, kernel_of, lead, wait

from kernelckpt import Message, ToolCall, tool
from kernelckpt.errors import UsageError

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
