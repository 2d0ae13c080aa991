"""Signals: routed by urgency, delivered or queued, never lost between waits, nor hoarded by a bystander."""

import anyio
import pytest
from kernel_kit import Gate, Recorder, count, kernel_of, kinds, once, settle

from kernelckpt import Disposition, Hook, RuntimeSignal, SignalSource, SignalType, Urgency
from kernelckpt.errors import InvalidValueError, UnknownTaskError, UsageError

URGENCIES = list(Urgency)


def a_signal(summary="s", urgency=Urgency.NORMAL, **fields):
    return RuntimeSignal(SignalSource.CUSTOM, SignalType.EVENT, urgency, summary, **fields)


async def watch(turn):
    """Note every signal, and wait for more until told to stop."""
    seen = [*(turn.state or []), *(signal.summary for signal in turn.signals)]
    turn.set_state(seen)
    if seen and seen[-1] == "stop":
        return turn.complete(output=seen)
    return turn.wait_for_signal()


async def wait(turn):
    return turn.wait_external("door")


async def deaf(turn):
    """Take turns without ever looking at signals."""
    turn.say("deaf")
    return turn.wait_for_message()


@pytest.mark.parametrize("urgency", URGENCIES)
@pytest.mark.parametrize("addressed", [True, False])
async def test_a_signal_wakes_the_task_that_waits_for_one_whatever_its_urgency(urgency, addressed):
    async with kernel_of({"watch": watch}) as kernel:
        await kernel.submit("watch", task_id="w")
        await kernel.idle()
        assert kinds(kernel)["w"] == ("suspended", "signal")
        await kernel.signal(a_signal("stop", urgency), "w" if addressed else None)
        with anyio.fail_after(5):
            assert (await kernel.join("w")).output == ["stop"]


@pytest.mark.parametrize("urgency", URGENCIES)
@pytest.mark.parametrize("addressed", [True, False])
async def test_a_signal_that_comes_during_a_turn_ends_the_wait_that_follows(urgency, addressed):
    begun, go_on = anyio.Event(), anyio.Event()

    async def slow(turn):
        if turn.number == 1:
            begun.set()
            await go_on.wait()
        return await watch(turn)

    async with kernel_of({"slow": slow}) as kernel:
        await kernel.submit("slow", task_id="w")
        await begun.wait()
        await kernel.signal(a_signal("stop", urgency), "w" if addressed else None)
        go_on.set()
        with anyio.fail_after(5):
            assert (await kernel.join("w")).output == ["stop"]


async def test_dispositions_follow_urgency_and_business():
    async with kernel_of({"watch": watch, "wait": wait}) as kernel:
        for urgency in URGENCIES:
            await kernel.submit("wait", task_id=urgency.value)
        await kernel.idle()
        assert [await kernel.signal(a_signal(urgency=urgency), urgency.value) for urgency in URGENCIES] == [
            Disposition.OBSERVE,
            Disposition.QUEUE,
            Disposition.INTERRUPT,
            Disposition.INTERRUPT_NOW,
        ]


async def test_signals_queued_for_a_task_come_by_urgency_then_by_age():
    go_on = anyio.Event()

    async def slow(turn):
        if turn.number == 1:
            await go_on.wait()
            return turn.sleep(0)
        return turn.complete(output=[signal.summary for signal in turn.signals])

    async with kernel_of({"slow": slow}) as kernel:
        await kernel.submit("slow", task_id="t")
        await settle()
        for name, timestamp in (("b", 2), ("c", 3), ("a", 1)):
            await kernel.signal(a_signal(name, timestamp_ms=timestamp))
        go_on.set()
        assert (await kernel.join("t")).output == ["a", "b", "c"]


async def test_what_is_seen_once_is_ignored_the_next_time():
    async with kernel_of({"watch": watch}) as kernel:
        await kernel.submit("watch", task_id="w")
        await kernel.idle()
        await kernel.signal(a_signal("one", dedupe_key="k"))
        await kernel.idle()
        assert await kernel.signal(a_signal("two", dedupe_key="k")) is Disposition.IGNORE
        await kernel.signal(a_signal("stop"))
        assert (await kernel.join("w")).output == ["one", "stop"]


@pytest.mark.parametrize("urgency", URGENCIES)
async def test_a_signal_that_nobody_can_take_waits_for_a_task_to_come(urgency):
    async with kernel_of({"watch": watch}) as kernel:
        await kernel.signal(a_signal("stop", urgency))
        await kernel.submit("watch", task_id="w")
        with anyio.fail_after(5):
            assert (await kernel.join("w")).output == ["stop"]


@pytest.mark.parametrize("urgency", URGENCIES)
async def test_a_full_queue_drops_the_newcomer_which_may_be_sent_again(urgency):
    async with kernel_of({"watch": watch}) as kernel:
        for number in range(64):
            assert await kernel.signal(a_signal(str(number))) is not Disposition.DROPPED
        for _ in range(2):
            dropped = await kernel.signal(a_signal("late", urgency, dedupe_key="late"))
            assert dropped is Disposition.DROPPED
        await kernel.submit("watch", task_id="w")
        await kernel.idle()
        assert len(kernel.snapshot().states) == 1
        assert await kernel.signal(a_signal("late", urgency, dedupe_key="late")) is not Disposition.DROPPED
        await kernel.signal(a_signal("stop"))
        assert len((await kernel.join("w")).output) == 66


async def test_a_bystander_does_not_take_what_another_task_will_wait_for():
    go_on = anyio.Event()

    async def later(turn):
        if turn.number == 1:
            await go_on.wait()
        return await watch(turn)

    async with kernel_of({"later": later, "deaf": deaf}) as kernel:
        await kernel.submit("later", task_id="w")
        await kernel.submit("deaf", task_id="d")
        await settle()
        await kernel.signal(a_signal("stop"))
        await kernel.send("d", "take a turn")
        await settle()
        go_on.set()
        with anyio.fail_after(5):
            assert (await kernel.join("w")).output == ["stop"]


async def test_a_child_that_waits_gets_what_is_for_nobody_in_particular():
    async def boss(turn):
        if turn.number == 1:
            return turn.join(turn.spawn("watch", task_id="w"))
        return turn.complete(output=turn.results["w"].output)

    async with kernel_of({"boss": boss, "watch": watch}) as kernel:
        await kernel.submit("boss", task_id="b")
        await kernel.idle()
        await kernel.signal(a_signal("stop"))
        assert (await kernel.join("b")).output == ["stop"]


async def test_a_signal_addressed_to_a_task_goes_to_no_other():
    async with kernel_of({"watch": watch}) as kernel:
        for name in "ab":
            await kernel.submit("watch", task_id=name)
        await kernel.idle()
        await kernel.signal(a_signal("stop"), "b")
        await kernel.join("b")
        assert kinds(kernel)["a"] == ("suspended", "signal")


async def test_signals_to_tasks_that_end_do_not_fill_the_queue():
    go_on = anyio.Event()

    async def slow(turn):
        await go_on.wait()
        return turn.complete()

    recorder = Recorder()
    async with kernel_of({"slow": slow, "once": once}, hooks=[recorder]) as kernel:
        await kernel.submit("slow", task_id="s")
        await settle()
        for number in range(64):
            await kernel.signal(a_signal(str(number)), "s")
        go_on.set()
        await kernel.join("s")
        assert not [key for key in recorder.saved().records if key[0] == "signal"]
        assert await kernel.signal(a_signal("next")) is Disposition.QUEUE
        with pytest.raises(UsageError, match="has ended"):
            await kernel.signal(a_signal(), "s")
        with pytest.raises(UnknownTaskError):
            await kernel.signal(a_signal(), "nobody")


async def test_bad_signals_are_refused_and_change_nothing():
    recorder = Recorder()
    async with kernel_of({"watch": watch}, hooks=[recorder]) as kernel:
        await kernel.submit("watch", task_id="w")
        await kernel.idle()
        before = recorder.saved()
        for bad in (
            "signal",
            None,
            a_signal(payload=object()),
            a_signal(payload=(1,)),
            a_signal(5),
            a_signal("\ud800"),
            a_signal(urgency="extreme"),
            a_signal(timestamp_ms=-1),
            a_signal(dedupe_key=5),
        ):
            with pytest.raises(InvalidValueError, match="signal") as caught:
                await kernel.signal(bad)
            assert caught.value.hint
        assert recorder.saved() == before


async def test_a_signals_payload_is_shared_with_nobody():
    payload = {"a": [1]}

    async def program(turn):
        for signal in turn.signals:
            signal.payload["a"].append("by the reader")
            return turn.complete(output=turn.signals[0].payload)
        return turn.wait_for_signal()

    async with kernel_of({"p": program}) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.idle()
        await kernel.signal(a_signal(payload=payload))
        payload["a"].append("by the sender")
        assert (await kernel.join("t")).output == {"a": [1]}


async def test_hooks_hear_of_signals_and_the_answer_waits_for_durability():
    heard = []

    class Ear(Hook):
        async def on_signal(self, kernel, signal):
            heard.append(signal.summary)

    gate = Gate(held=False)
    async with kernel_of({"watch": watch}, hooks=[gate, Ear()]) as kernel:
        await kernel.submit("watch", task_id="w")
        await kernel.idle()
        gate.hold()
        answers = []

        async def send():
            answers.append(await kernel.signal(a_signal("stop")))

        async with anyio.create_task_group() as group:
            group.start_soon(send)
            await settle()
            assert answers == []
            gate.open()
        assert (answers, heard) == ([Disposition.QUEUE], ["stop"])


async def test_a_signal_that_arrives_during_a_turn_is_not_consumed_by_it():
    begun, go_on = anyio.Event(), anyio.Event()

    async def program(turn):
        seen = [signal.summary for signal in turn.signals]
        if turn.number == 1:
            begun.set()
            await go_on.wait()
            assert [signal.summary for signal in turn.signals] == seen
            turn.say("x")
            return None
        return turn.complete(output=seen)

    async with kernel_of({"p": program, "count": count}) as kernel:
        await kernel.submit("p", task_id="t")
        await begun.wait()
        await kernel.signal(a_signal("during", Urgency.HIGH))
        go_on.set()
        assert (await kernel.join("t")).output == ["during"]
