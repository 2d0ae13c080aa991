"""What a straight-line function waits for: sleeps, messages, humans, alone and side by side."""

import asyncio

import anyio
import pytest
from kernel_kit import Recorder, kernel_of, kinds, settle

from kernelckpt import RuntimeSignal, SignalSource, SignalType, Urgency, straight_line
from kernelckpt.testing import ManualClock

ROUNDS = 300


async def test_sleeps_side_by_side_end_each_at_its_time():
    clock, ends = ManualClock(), []

    async def note(name):
        ends.append((name, clock.monotonic()))

    async def branch(run, name, seconds):
        for number in range(2):
            await run.sleep(seconds)
            await run.step(f"{name}{number}", note, f"{name}{number}")

    @straight_line
    async def program(run):
        await asyncio.gather(branch(run, "a", 10), branch(run, "b", 4))

    async with kernel_of({"p": program}, clock=clock) as kernel:
        await kernel.submit("p", task_id="t")
        for _ in range(25):
            await settle(ROUNDS)
            await clock.advance(1)
        assert (await kernel.join("t")).error == ""
    assert ends == [("b0", 4.0), ("b1", 8.0), ("a0", 10.0), ("a1", 20.0)]


async def test_branches_with_sleeps_alike_are_given_each_its_own():
    clock, calls = ManualClock(), []

    async def note(name):
        calls.append(name)

    async def late(run):
        await run.sleep(10)
        await run.sleep(1)
        await run.step("late", note, "late")

    async def early(run):
        await run.sleep(1)
        await run.step("early", note, "early")

    @straight_line
    async def program(run):
        await asyncio.gather(late(run), early(run))

    async with kernel_of({"p": program}, clock=clock) as kernel:
        await kernel.submit("p", task_id="t")
        for _ in range(15):
            await settle(ROUNDS)
            await clock.advance(1)
        assert (await kernel.join("t")).error == ""
    assert calls == ["early", "late"]


async def test_a_sleep_that_is_over_stays_over_when_the_clock_is_set_back():
    recorder = Recorder()

    @straight_line
    async def program(run):
        await run.sleep(60)
        await run.receive()
        return "awake"

    clock = ManualClock()
    async with kernel_of({"p": program}, hooks=[recorder], clock=clock) as kernel:
        await kernel.submit("p", task_id="t")
        await settle(ROUNDS)
        assert kinds(kernel) == {"t": ("ready", None)}
        await clock.advance(60)
        await settle(ROUNDS)
        assert kernel.tasks.get("t").wait.note == "message"
    earlier = ManualClock(wall_ms=1_600_000_000_000)
    async with kernel_of({"p": program}, hooks=[Recorder(recorder.saved())], clock=earlier) as kernel:
        await kernel.send("t", "up")
        with anyio.fail_after(5):
            assert (await kernel.join("t")).text == "awake"


async def test_messages_are_received_in_order_and_each_once():
    @straight_line
    async def program(run):
        first = (await run.receive()).text
        both = await asyncio.gather(run.receive(), run.receive())
        return " ".join([first, *(message.text for message in both)])

    async with kernel_of({"p": program}) as kernel:
        await kernel.submit("p", task_id="t")
        for text in ("one", "two", "three"):
            await kernel.send("t", text)
            await kernel.idle()
        assert (await kernel.join("t")).text == "one two three"


@pytest.mark.parametrize("answer", ["approved", "denied", "late"])
async def test_an_answer_is_given_to_the_function_and_asked_again_it_is_the_same(answer):
    clock, given = ManualClock(), []

    @straight_line
    async def program(run):
        for _ in range(2):
            item = await run.ask_approval("pay", "Pay?", {"amount": 5}, timeout=60)
            given.append((item.approved, item.by, item.reason, item.payload))
        await run.receive()

    async with kernel_of({"p": program}, clock=clock) as kernel:
        await kernel.submit("p", task_id="t")
        await settle(ROUNDS)
        (question,) = kernel.approvals()
        assert (question.key, question.prompt, question.payload) == ("pay", "Pay?", {"amount": 5})
        if answer == "approved":
            await kernel.approve("t", "pay", by="ada")
        elif answer == "denied":
            await kernel.deny("t", "pay", reason="too much")
        else:
            await clock.advance(60)
        await settle(ROUNDS)
        await kernel.send("t", "go on")
        await kernel.join("t")
    approved, by, reason, payload = given[0]
    assert (approved, by, payload) == (
        answer == "approved",
        "ada" if answer == "approved" else None,
        {"amount": 5},
    )
    assert bool(reason) is not approved
    assert given == [given[0]] * 4


async def test_waits_of_different_kinds_are_refused():
    @straight_line
    async def program(run):
        await asyncio.gather(run.receive(), run.sleep(1))

    async with kernel_of({"p": program}) as kernel:
        await kernel.submit("p", task_id="t")
        with anyio.fail_after(5):
            assert "different things at the same time" in (await kernel.join("t")).error


async def test_a_wait_ends_the_turn_only_when_the_steps_beside_it_are_done():
    calls, at_work, let_go = [], anyio.Event(), anyio.Event()

    async def slow():
        calls.append("slow")
        at_work.set()
        await let_go.wait()

    async def quick():
        calls.append("quick")

    async def steps(run):
        await run.step("slow", slow)
        await run.step("quick", quick)

    @straight_line
    async def program(run):
        message, _ = await asyncio.gather(run.receive(), steps(run))
        return message.text

    async with kernel_of({"p": program}) as kernel:
        await kernel.submit("p", task_id="t")
        await at_work.wait()
        await settle(ROUNDS)
        assert kinds(kernel) == {"t": ("running", None)}
        let_go.set()
        await kernel.idle()
        assert calls == ["slow", "quick"]
        await kernel.send("t", "hello")
        assert (await kernel.join("t")).text == "hello"
    assert calls == ["slow", "quick"]


async def test_a_function_that_returns_waits_for_the_steps_it_has_begun():
    calls, let_go = [], anyio.Event()

    async def slow():
        await let_go.wait()
        calls.append("slow")

    @straight_line
    async def program(run):
        task = asyncio.ensure_future(run.step("slow", slow))
        await asyncio.sleep(0)
        return str(task.done())

    async with kernel_of({"p": program}) as kernel:
        await kernel.submit("p", task_id="t")
        await settle(ROUNDS)
        assert kinds(kernel) == {"t": ("running", None)}
        let_go.set()
        assert (await kernel.join("t")).text == "False"
    assert calls == ["slow"]


async def test_an_urgent_signal_does_not_end_a_wait_of_the_function():
    clock, starts = ManualClock(), []

    @straight_line
    async def program(run):
        starts.append(clock.monotonic())
        await run.sleep(60)
        return "slept"

    signal = RuntimeSignal(SignalSource.CUSTOM, SignalType.ALERT, Urgency.CRITICAL, "wake up")
    async with kernel_of({"p": program}, clock=clock) as kernel:
        await kernel.submit("p", task_id="t")
        await settle(ROUNDS)
        await clock.advance(10)
        await kernel.signal(signal, "t")
        await settle(ROUNDS)
        assert kinds(kernel) == {"t": ("ready", None)}
        await clock.advance(50)
        assert (await kernel.join("t")).text == "slept"
    assert starts == [0, 10, 60]


async def test_a_cancellation_that_the_function_lets_escape_fails_its_task_alone():
    @straight_line
    async def program(run):
        raise asyncio.CancelledError("mine")

    @straight_line
    async def other(run):
        await run.receive()
        return "well"

    async with kernel_of({"p": program, "other": other}) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.submit("other", task_id="o")
        assert "CancelledError" in (await kernel.join("t")).error
        await kernel.send("o", "how are you?")
        assert (await kernel.join("o")).text == "well"


async def test_what_runs_beside_a_wait_is_let_come_to_its_next_step():
    calls = []

    async def note(number):
        calls.append(number)

    async def steps(run):
        for number in range(3):
            for _ in range(20):
                await asyncio.sleep(0)  # it has something to think about
            await run.step("note", note, number)

    @straight_line
    async def program(run):
        await asyncio.gather(run.receive(), steps(run))

    async with kernel_of({"p": program}) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.idle()
        assert calls == [0, 1, 2]


async def test_a_new_step_waits_until_the_branches_beside_it_have_asked_for_theirs():
    calls = []

    async def note(what):
        calls.append(what)

    async def many(run):
        for number in range(150):
            await run.step("note", note, number)
            await asyncio.sleep(0)

    async def one(run):
        await run.receive()
        await run.step("note", note, "one")

    @straight_line
    async def program(run):
        await asyncio.gather(one(run), many(run))

    async with kernel_of({"p": program}) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.idle()
        await kernel.send("t", "go on")
        assert (await kernel.join("t")).error == ""
    assert calls == [*range(150), "one"]


async def test_a_step_shows_its_drafts_when_it_is_made_and_not_when_it_is_remembered():
    shown = []

    @straight_line
    async def program(run):
        async def stream():
            run.emit("within")

        run.emit("outside")
        await run.step("stream", stream)
        await run.receive()

    async def listen(kernel):
        async for event in kernel.events("t"):
            if event.kind == "draft":
                shown.append(event.data["delta"])

    async with kernel_of({"p": program}) as kernel:
        listening = asyncio.ensure_future(listen(kernel))
        await settle()
        await kernel.submit("p", task_id="t")
        await kernel.idle()
        await kernel.send("t", "go on")
        await kernel.join("t")
    await listening
    assert shown == ["outside", "within", "outside"]
