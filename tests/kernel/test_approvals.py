"""Questions to a human: asked, listed, answered, timed out, never approved by accident."""

import anyio
import pytest
from kernel_kit import Gate, Recorder, kernel_of, kinds, settle

from kernelckpt import RuntimeSignal, SignalSource, SignalType, Urgency
from kernelckpt.errors import UnknownTaskError, UsageError
from kernelckpt.testing import ManualClock


async def ask(turn):
    """Ask once, then tell the answer."""
    answer = turn.approvals.get("deploy")
    if answer is None:
        return turn.ask_approval("deploy", "Deploy?", payload={"to": ["prod"]}, timeout=turn.input)
    return turn.complete(output=[answer.approved, answer.by, answer.reason])


async def test_a_question_is_listed_and_its_answer_read_in_the_next_turn():
    async with kernel_of({"ask": ask}) as kernel:
        await kernel.submit("ask", task_id="a")
        await kernel.idle()
        assert kinds(kernel)["a"] == ("suspended", "approval")
        (item,) = kernel.approvals()
        assert (item.task_id, item.key, item.prompt, item.payload) == (
            "a",
            "deploy",
            "Deploy?",
            {"to": ["prod"]},
        )
        item.payload["to"].append("mutated")
        assert kernel.approvals()[0].payload == {"to": ["prod"]}
        await kernel.approve("a", "deploy", by="ann")
        assert kernel.approvals() == []
        assert (await kernel.join("a")).output == [True, "ann", ""]


async def test_a_denial_carries_its_reason():
    async with kernel_of({"ask": ask}) as kernel:
        await kernel.submit("ask", task_id="a")
        await kernel.idle()
        await kernel.deny("a", "deploy", reason="too late")
        assert (await kernel.join("a")).output == [False, None, "too late"]


async def test_deny_without_a_key_denies_all_and_approve_without_one_nothing():
    async with kernel_of({"ask": ask}) as kernel:
        await kernel.submit("ask", task_id="a")
        await kernel.idle()
        with pytest.raises(UsageError, match="approves nothing"):
            await kernel.approve("a")
        assert len(kernel.approvals()) == 1
        await kernel.deny("a")
        assert (await kernel.join("a")).output[0] is False


async def test_answers_that_are_off_are_refused_and_change_nothing():
    recorder = Recorder()
    async with kernel_of({"ask": ask}, hooks=[recorder]) as kernel:
        await kernel.submit("ask", task_id="a")
        await kernel.idle()
        before = recorder.saved()
        for call in (
            lambda: kernel.approve("a", "other"),
            lambda: kernel.approve("a", "deploy", "other"),
            lambda: kernel.approve("a", 5),
            lambda: kernel.approve("a", "deploy", by=5),
            lambda: kernel.approve("a", ""),
            lambda: kernel.deny("a", "other"),
            lambda: kernel.deny("a", "deploy", reason=None),
            lambda: kernel.deny("a", "deploy", reason="\ud800"),
        ):
            with pytest.raises(UsageError):
                await call()
        for call in (lambda: kernel.approve("nobody", "deploy"), lambda: kernel.deny("nobody")):
            with pytest.raises(UnknownTaskError):
                await call()
        assert recorder.saved() == before
        with pytest.raises(UsageError) as caught:
            await kernel.approve("a", "other")
        assert caught.value.hint == "pending: deploy"


async def test_an_answer_can_be_given_again_but_not_changed():
    async def program(turn):
        if not turn.approvals:
            return turn.ask_approval("k", "?")
        return turn.wait_external("door")

    async with kernel_of({"p": program}) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.idle()
        await kernel.approve("t", "k", "k")
        await kernel.approve("t", "k")
        with pytest.raises(UsageError, match="was approved already"):
            await kernel.deny("t", "k")
        await kernel.idle()
        assert kernel.tasks.get("t").budget.turns == 2


async def test_a_question_answered_before_is_not_asked_again():
    seen = []

    async def program(turn):
        seen.append(turn.number)
        if turn.number < 4:
            return turn.ask_approval("k", "?")
        return turn.complete()

    async with kernel_of({"p": program}) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.idle()
        await kernel.approve("t", "k")
        with anyio.fail_after(5):
            await kernel.join("t")
    assert seen == [1, 2, 3, 4]


async def test_silence_counts_as_denied_after_the_timeout():
    clock = ManualClock()
    async with kernel_of({"ask": ask}, clock=clock) as kernel:
        await kernel.submit("ask", task_id="a", input=60.0)
        await clock.advance(59.9)
        (item,) = kernel.approvals()
        assert item.expires_at_ms == item.asked_at_ms + 60_000
        await clock.advance(0.2)
        assert (await kernel.join("a")).output == [False, None, "nobody answered in time"]


async def test_an_answer_in_time_disarms_the_timeout():
    clock = ManualClock()

    async def program(turn):
        if turn.number == 1:
            return turn.ask_approval("k", "?", timeout=10)
        return turn.wait_external("door")

    async with kernel_of({"p": program}, clock=clock) as kernel:
        await kernel.submit("p", task_id="t")
        await clock.advance(5)
        await kernel.approve("t", "k")
        await clock.advance(100)
        assert kernel.tasks.get("t").budget.turns == 2
        assert kinds(kernel)["t"] == ("suspended", "external")


async def test_a_question_is_shown_and_an_answer_acknowledged_only_when_durable():
    gate = Gate(held=False)
    async with kernel_of({"ask": ask}, hooks=[gate]) as kernel:
        gate.hold()
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: kernel.submit("ask", task_id="a"))
            await settle()
            assert kinds(kernel)["a"] == ("suspended", "approval")
            assert kernel.approvals() == []
            gate.open()
        await settle()
        assert [item.key for item in kernel.approvals()] == ["deploy"]
        gate.hold()
        answered = []

        async def approve():
            await kernel.approve("a", "deploy")
            answered.append(True)

        async with anyio.create_task_group() as group:
            group.start_soon(approve)
            await settle()
            assert answered == []
            gate.open()
        assert answered == [True]


async def test_questions_of_a_cancelled_task_are_gone():
    async with kernel_of({"ask": ask}) as kernel:
        await kernel.submit("ask", task_id="a")
        await kernel.idle()
        await kernel.cancel("a")
        assert kernel.approvals() == []
        with pytest.raises(UsageError, match="task 'a' has ended: it asks nothing"):
            await kernel.approve("a", "deploy")


async def test_many_tasks_ask_and_each_gets_its_own_answer():
    async with kernel_of({"ask": ask}) as kernel:
        for number in range(50):
            await kernel.submit("ask", task_id=f"a{number}")
        await kernel.idle()
        assert len(kernel.approvals()) == 50
        for number in range(50):
            if number % 2:
                await kernel.approve(f"a{number}", "deploy")
            else:
                await kernel.deny(f"a{number}", "deploy")
        results = await kernel.join()
        assert [results[f"a{number}"].output[0] for number in range(50)] == [n % 2 == 1 for n in range(50)]


async def test_a_question_outlives_an_interrupt_unanswered_and_expires_when_it_would_have():
    """The usual program asks again, and must not take silence for a denial."""
    clock = ManualClock()
    async with kernel_of({"ask": ask}, clock=clock) as kernel:
        await kernel.submit("ask", task_id="a", input=60)
        await settle()
        (asked,) = kernel.approvals()
        await clock.advance(40)
        await kernel.signal(RuntimeSignal(SignalSource.CUSTOM, SignalType.ALERT, Urgency.HIGH, "now"))
        await settle()
        assert kernel.tasks.get("a").budget.turns == 2
        assert kernel.approvals() == [asked]
        await clock.advance(20)
        assert (await kernel.join("a")).output == [False, None, "nobody answered in time"]
