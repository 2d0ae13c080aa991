"""Messages from outside: delivered once, in order, never lost, consumed by the turn that read them."""

import anyio
import pytest
from kernel_kit import Gate, Recorder, count, kernel_of, kinds, listen, once, settle, texts

from kernelckpt import Message
from kernelckpt.errors import (
    SchedulerStopped,
    TaskMismatchError,
    UnknownProgramError,
    UnknownTaskError,
    UsageError,
)


async def test_a_message_wakes_the_task_that_waits_for_it():
    async with kernel_of({"listen": listen}) as kernel:
        await kernel.submit("listen", task_id="l")
        await kernel.idle()
        assert kinds(kernel)["l"] == ("suspended", "external")
        await kernel.send("l", "one")
        await kernel.send("l", Message.user("two"))
        await kernel.idle()
        assert texts(kernel, "l") == ["one", "two"]
        await kernel.send("l", "stop")
        assert (await kernel.join("l")).text == "stopped"


async def test_a_message_sent_before_the_first_turn_is_read_by_it():
    async with kernel_of({"listen": listen}, max_concurrency=1) as kernel:
        await kernel.submit("listen", task_id="l")
        await kernel.send("l", "early")
        await kernel.idle()
        assert texts(kernel, "l") == ["early"]


async def test_what_arrives_during_a_turn_is_kept_for_the_next():
    begun, go_on = anyio.Event(), anyio.Event()
    seen = []

    async def program(turn):
        seen.append([message.text for message in turn.inbox])
        if turn.number == 1:
            begun.set()
            await go_on.wait()
            seen.append([message.text for message in turn.inbox])
        if len(seen) > 2:
            return turn.complete()
        return turn.wait_for_message()

    async with kernel_of({"p": program}) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.send("t", "before")
        await begun.wait()
        await kernel.send("t", "during")
        go_on.set()
        with anyio.fail_after(5):
            await kernel.join("t")
    assert seen == [["before"], ["before"], ["during"]]


async def test_what_a_turn_did_not_read_stays_in_the_inbox():
    async def program(turn):
        if turn.number == 3:
            return turn.complete(output=[message.text for message in turn.inbox])
        turn.say("busy")
        return None

    async with kernel_of({"p": program}) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.send("t", "hello")
        assert (await kernel.join("t")).output == ["hello"]


async def test_a_key_makes_sending_idempotent_even_after_the_message_was_consumed():
    async with kernel_of({"listen": listen}) as kernel:
        await kernel.submit("listen", task_id="l")
        for _ in range(3):
            await kernel.send("l", "hello", key="k")
            await kernel.idle()
        await kernel.send("l", "again", key="other")
        await kernel.idle()
        assert texts(kernel, "l") == ["hello", "again"]
        await kernel.send("l", "stop", key="stop")
        await kernel.join("l")
        await kernel.send("l", "stop", key="stop")  # known: no error, though the task has ended


async def test_messages_of_many_senders_come_in_the_order_of_their_sending():
    async with kernel_of({"listen": listen}) as kernel:
        await kernel.submit("listen", task_id="l")
        async with anyio.create_task_group() as group:
            for number in range(500):
                group.start_soon(kernel.send, "l", str(number))
        await kernel.idle()
        assert texts(kernel, "l") == [str(number) for number in range(500)]


async def test_send_is_acknowledged_when_it_is_durable():
    gate = Gate(held=False)
    async with kernel_of({"listen": listen}, hooks=[gate]) as kernel:
        await kernel.submit("listen", task_id="l")
        await kernel.idle()
        gate.hold()
        async with anyio.create_task_group() as group:
            sent = []

            async def send():
                await kernel.send("l", "hello")
                sent.append(True)

            group.start_soon(send)
            await settle()
            assert sent == []
            assert texts(kernel, "l") == ["hello"]  # inside, tasks go on at once
            gate.open()
        assert sent == [True]


async def test_the_message_handed_over_is_not_shared_with_its_sender():
    arguments = {"a": [1]}
    from kernelckpt import ToolCall

    async def program(turn):
        for message in turn.inbox:
            message.tool_calls[0].arguments["a"].append("by the reader")
            return turn.complete(output=turn.inbox[0].tool_calls[0].arguments)
        return turn.wait_for_message()

    async with kernel_of({"p": program}) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.idle()
        await kernel.send("t", Message.assistant("x", [ToolCall("1", "tool", arguments)]))
        arguments["a"].append("by the sender")
        assert (await kernel.join("t")).output == {"a": [1]}


async def test_bad_sends_are_refused_and_change_nothing():
    recorder = Recorder()
    async with kernel_of({"listen": listen, "once": once}, hooks=[recorder]) as kernel:
        await kernel.submit("listen", task_id="l")
        await kernel.submit("once", task_id="o")
        await kernel.idle()
        before = recorder.saved()
        for error, call in (
            (UnknownTaskError, lambda: kernel.send("nobody", "hello")),
            (UsageError, lambda: kernel.send("o", "hello")),
            (UsageError, lambda: kernel.send("l", 5)),
            (UsageError, lambda: kernel.send("l", "\ud800")),
            (UsageError, lambda: kernel.send("l", Message("wizard", "hello"))),
            (UsageError, lambda: kernel.send("l", "hello", key=5)),
        ):
            with pytest.raises(error) as caught:
                await call()
            assert caught.value.hint
        assert recorder.saved() == before
        assert recorder.saved().records == dict(recorder.saved().records)


async def test_submitting_again_changes_nothing_and_something_else_is_refused():
    recorder = Recorder()
    async with kernel_of({"listen": listen, "once": once}, hooks=[recorder]) as kernel:
        await kernel.submit("listen", task_id="l", goal="g", input={"a": 1, "b": [2]})
        await kernel.idle()
        before = recorder.saved()
        assert await kernel.submit("listen", task_id="l", input={"b": [2], "a": 1}) == "l"
        with pytest.raises(TaskMismatchError, match="another input"):
            await kernel.submit("listen", task_id="l", input={"a": 2, "b": [2]})
        with pytest.raises(TaskMismatchError, match="another input"):
            await kernel.submit("listen", task_id="l")
        with pytest.raises(TaskMismatchError, match="another program"):
            await kernel.submit("once", task_id="l", input={"a": 1, "b": [2]})
        with pytest.raises(UnknownProgramError, match="no program 'nothing'") as caught:
            await kernel.submit("nothing", task_id="l")
        assert caught.value.hint == "known programs: listen, once"
        assert recorder.saved() == before


@pytest.mark.parametrize(
    "arguments",
    [
        {"task_id": ""},
        {"task_id": 5},
        {"task_id": "\ud800"},
        {"task_id": "t", "goal": None},
        {"task_id": "t", "input": object()},
        {"task_id": "t", "input": {"a": (1,)}},
        {"task_id": "t", "role": "king"},
        {"task_id": "t", "isolation": 5},
        {"task_id": "t", "caps": "all"},
        {"task_id": "t", "caps": [5]},
        {"task_id": "t", "messages": "hello"},
        {"task_id": "t", "messages": ["hello"]},
        {"task_id": "t", "messages": Message.user("x")},
        {"task_id": "t", "budget": {"max_turns": 1}},
    ],
)
async def test_bad_submissions_are_refused_and_change_nothing(arguments):
    recorder = Recorder()
    async with kernel_of({"once": once}, hooks=[recorder]) as kernel:
        before = recorder.saved()
        with pytest.raises(UsageError) as caught:
            await kernel.submit("once", **arguments)
        assert caught.value.hint
        assert recorder.saved() == before
        assert len(kernel.tasks) == 0


async def test_a_submission_carries_everything_it_was_given():
    async def program(turn):
        return turn.complete(output=[turn.goal, turn.input, [m.text for m in turn.messages]])

    async with kernel_of({"p": program}) as kernel:
        task_id = "日本/語 \x00?"
        await kernel.submit(
            "p", task_id=task_id, goal="g", input=[1], caps=["read"], messages=[Message.user("first")]
        )
        assert (await kernel.join(task_id)).output == ["g", [1], ["first"]]
        row = kernel.tasks.get(task_id)
        assert (row.caps, row.goal, row.program, row.parent) == (("read",), "g", "p", None)


async def test_outside_the_context_manager_nothing_is_accepted():
    kernel = kernel_of({"count": count})
    for call in (
        lambda: kernel.submit("count", task_id="c"),
        lambda: kernel.send("c", "x"),
        lambda: kernel.cancel("c"),
        lambda: kernel.forget("c"),
        lambda: kernel.resume("c"),
        kernel.stop,
    ):
        with pytest.raises(SchedulerStopped, match="within `async with`"):
            await call()
    async with kernel:
        await kernel.submit("count", task_id="c")
        await kernel.join("c")
    with pytest.raises(SchedulerStopped):
        await kernel.submit("count", task_id="d")
    assert (await kernel.join("c")).ok  # what has ended can still be looked at
    with pytest.raises(UsageError, match="entered before"):
        await kernel.__aenter__()
