"""What a review of turns, calls and contexts found: each fault as the case that showed it."""

import asyncio
from types import SimpleNamespace

import anyio
import pytest
from kernel_kit import Gate, Recorder, kernel_of, kinds, once, settle

from kernelckpt import (
    CapabilityDescriptor,
    CapabilityKind,
    CapabilityLease,
    Effect,
    Message,
    RuntimeSignal,
    SchedulerBudget,
    SignalSource,
    SignalType,
    TimedOut,
    Urgency,
)
from kernelckpt.codec.record import encode_record
from kernelckpt.errors import RestoreError, UsageError
from kernelckpt.model.kernel import KernelTotals
from kernelckpt.model.os_event import Compressed
from kernelckpt.model.task_state import TaskState
from kernelckpt.model.tcb import Tcb
from kernelckpt.model.wait import WaitReason
from kernelckpt.testing import ManualClock


def urgent(summary):
    return RuntimeSignal(SignalSource.CUSTOM, SignalType.EVENT, Urgency.HIGH, summary)


async def test_a_lease_runs_out_in_the_commit_that_takes_it_from_the_row():
    """A crash between compaction and turn left the id in the row for ever."""

    async def program(turn):
        if turn.number > 1:
            return turn.wait_external("nothing")
        lease = CapabilityLease(1)
        turn.mount(CapabilityDescriptor("lent", CapabilityKind.TOOL, "lent for a turn", lease=lease))
        for _ in range(20):
            turn.append(Message.user("x" * 800))
        return None

    settings = {"auto_compact": True, "budget": SchedulerBudget(max_tokens=1_000)}
    recorder = Recorder()
    async with kernel_of({"p": program}, hooks=[recorder], **settings) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.idle()
        assert any(isinstance(event, Compressed) for event in kernel.event_log.events)
    for saved in recorder.history:
        async with kernel_of({"p": program}, hooks=[Recorder(saved)], **settings) as kernel:
            await kernel.idle()
            assert all(row.caps == () for row in kernel.tasks)


async def test_a_line_that_comes_within_a_turn_is_rendered_once_and_in_the_turn_that_consumes_it():
    began, going_on, shown = anyio.Event(), anyio.Event(), []

    async def program(turn):
        if turn.number == 1:
            began.set()
            await going_on.wait()
        shown.append([message.text for message in turn.render().turns if "fire" in message.text])
        turn.say("seen")
        return turn.complete() if turn.number == 3 else None

    async with kernel_of({"p": program}) as kernel:
        await kernel.submit("p", task_id="t")
        await began.wait()
        await kernel.signal(urgent("fire"), "t")
        going_on.set()
        await kernel.join("t")
    assert shown == [[], ["[INTERRUPT] fire"], []]


@pytest.mark.parametrize("is_open", [True, False])
async def test_tool_calls_without_their_request_refuse_the_start(is_open):
    """They halted the kernel in the middle of its work."""
    row = Tcb("t", program="p", state=TaskState.BLOCKED, wait=WaitReason.tool())
    records = {("kernel", "", 0): encode_record(KernelTotals()), ("task", "t", 0): encode_record(row)}
    if is_open:
        call = Effect("pay", b"d" * 16, call_id="c1", arguments=b"\x80")
        records["effect", "t", 1] = encode_record(call)
    saved = SimpleNamespace(records=records, streams={})
    with pytest.raises(RestoreError, match="the reply whose tool calls task 't' waits for"):
        async with kernel_of({"p": once}, hooks=[Recorder(saved)]):
            pytest.fail("started")


async def test_a_question_whose_time_is_over_cannot_be_approved_though_its_task_does_other_things():
    clock = ManualClock()

    async def program(turn):
        if turn.number == 2:
            return turn.wait_for_message()
        if "deploy" in turn.approvals:
            return turn.complete(turn.approvals["deploy"].status.value)
        assert turn.inbox or turn.number != 3
        return turn.ask_approval("deploy", "deploy?", timeout=60)

    async with kernel_of({"p": program}, clock=clock) as kernel:
        await kernel.submit("p", task_id="t")
        await settle()
        await kernel.signal(urgent("something else"), "t")
        await settle()
        assert kinds(kernel) == {"t": ("suspended", "external")}
        await clock.advance(60)
        await settle()
        with pytest.raises(UsageError, match="the time to answer 'deploy' of task 't' is over"):
            await kernel.approve("t", "deploy")
        await kernel.send("t", "go on")
        result = await kernel.join("t")
    assert result.final_message.text == "denied"


async def test_an_answer_takes_no_outcome_back_that_came_while_the_question_was_open():
    """A call that its program did not await ends after the rollback asked about it."""
    began, going_on, calls, left = anyio.Event(), anyio.Event(), [], []

    async def pay():
        calls.append(1)
        began.set()
        await going_on.wait()
        return len(calls)

    async def program(turn):
        if not left:
            left.append(asyncio.create_task(turn.effect(pay)))
            await anyio.sleep_forever()
        return turn.complete(output=await turn.effect(pay))

    async with kernel_of({"p": program}) as kernel:
        await kernel.submit("p", task_id="t")
        await began.wait()
        await kernel.rollback("t", TimedOut())
        await settle()
        (question,) = kernel.approvals()
        going_on.set()
        assert await left[0] == 1
        await kernel.approve("t", question.key)
        result = await kernel.join("t")
    assert (result.output, calls) == (1, [1])


async def test_no_call_begins_for_a_task_that_was_cancelled_as_its_intent_became_durable():
    calls = []

    async def pay():
        calls.append(1)

    async def program(turn):
        await turn.effect(pay)
        return turn.complete()

    gate = Gate(held=False)
    async with kernel_of({"p": program}, hooks=[gate]) as kernel:
        await kernel.submit("p", task_id="t")
        gate.hold()
        await settle()
        gate.open()
        await kernel.cancel("t")
        await settle()
        assert (kinds(kernel), calls) == ({"t": ("done", None)}, [])
