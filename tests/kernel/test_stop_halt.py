"""Leaving: graceful stops, halts without another output, hooks in order, bodies that fail or are cut."""

import asyncio
from contextlib import suppress
from types import SimpleNamespace

import anyio
import pytest
from kernel_kit import Failing, Gate, Recorder, count, kernel_of, kinds, listen, once, settle, texts

from kernelckpt import Hook
from kernelckpt.errors import FencedError, SchedulerStopped, UsageError
from kernelckpt.testing import ManualClock


async def busy(turn):
    turn.say("never")
    await anyio.sleep_forever()


async def test_a_stop_lets_running_turns_finish_within_the_grace():
    begun, go_on = anyio.Event(), anyio.Event()

    async def slow(turn):
        begun.set()
        await go_on.wait()
        turn.say(f"turn {turn.number}")

    async with kernel_of({"slow": slow}) as kernel:
        await kernel.submit("slow", task_id="s")
        await begun.wait()
        async with anyio.create_task_group() as group:
            group.start_soon(kernel.stop)
            await settle()
            with pytest.raises(SchedulerStopped):
                await kernel.submit("slow", task_id="late")
            go_on.set()
    assert texts(kernel, "s") == ["turn 1"]  # that turn, and no other
    assert kinds(kernel)["s"] == ("ready", None)


async def test_turns_are_cancelled_when_the_grace_is_over():
    clock = ManualClock()
    async with kernel_of({"busy": busy}, clock=clock) as kernel:
        await kernel.submit("busy", task_id="b")
        await settle()
        async with anyio.create_task_group() as group:
            stopped = []

            async def stop():
                await kernel.stop(grace=5)
                stopped.append(clock.monotonic())

            group.start_soon(stop)
            await clock.advance(4.9)
            assert stopped == []
            await clock.advance(0.2)
        assert stopped == [pytest.approx(5.0, abs=0.2)]
    assert kinds(kernel)["b"] == ("ready", None)
    assert texts(kernel, "b") == []


async def test_leaving_gives_ten_seconds():
    clock = ManualClock()
    left = []

    async def live():
        async with kernel_of({"busy": busy}, clock=clock) as kernel:
            await kernel.submit("busy", task_id="b")
            await settle()
        left.append(clock.monotonic())

    async with anyio.create_task_group() as group:
        group.start_soon(live)
        await settle()
        await clock.advance(9.9)
        assert left == []
        await clock.advance(0.2)
    assert left


@pytest.mark.parametrize("grace", [-1, float("nan"), float("inf"), "10", None])
async def test_a_bad_grace_is_refused(grace):
    async with kernel_of() as kernel:
        with pytest.raises(UsageError, match="grace"):
            await kernel.stop(grace)


async def test_stopping_twice_and_from_several_places():
    async with kernel_of({"count": count}) as kernel:
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(kernel.stop)
        kernel.request_stop()
        await kernel.stop()


async def test_a_stop_asked_for_while_hooks_start_begins_after_that():
    class Early(Hook):
        async def on_start(self, kernel):
            kernel.request_stop()
            await settle()

    last = Recorder()
    async with kernel_of({"once": once}, hooks=[Early(), last]) as kernel:
        with pytest.raises(SchedulerStopped):
            await kernel.submit("once", task_id="o")
    assert last.order == ["start", "stop"]


async def test_a_halt_while_hooks_start_is_raised_on_leaving():
    class Fenced(Hook):
        async def on_start(self, kernel):
            kernel.halt(ValueError("fenced"))
            await settle()

    last = Recorder()
    with pytest.raises(ValueError, match="fenced"):
        async with kernel_of({"once": once}, hooks=[Fenced(), last]) as kernel:
            with pytest.raises(SchedulerStopped, match="halted"):
                await kernel.submit("once", task_id="o")
    assert last.order == ["start", "stop"]


async def test_hooks_start_in_order_and_stop_in_reverse_after_the_last_turn():
    order = []

    class Named(Hook):
        def __init__(self, name):
            self.name = name

        async def on_start(self, kernel):
            order.append(f"start {self.name}")

        async def on_stop(self, kernel):
            order.append(f"stop {self.name}")

    async def last(turn):
        await settle()
        order.append("turn")
        return turn.complete()

    async with kernel_of({"last": last}, hooks=[Named("a"), Named("b")]) as kernel:
        await kernel.submit("last", task_id="l")
        await settle(3)
    assert order == ["start a", "start b", "turn", "stop b", "stop a"]


async def test_when_a_hook_cannot_start_those_that_did_are_stopped():
    recorder, after = Recorder(), Recorder()

    class Broken(Hook):
        async def on_start(self, kernel):
            kernel.start_soon(anyio.sleep_forever)
            raise OSError("no disk")

    before = asyncio.all_tasks()
    with pytest.raises(OSError, match="no disk"):
        async with kernel_of(hooks=[recorder, Broken(), after]):
            pytest.fail("entered")
    assert recorder.order == ["start", "stop"]
    assert after.order == []
    assert asyncio.all_tasks() == before


async def test_all_hooks_stop_even_if_one_fails_to():
    recorder = Recorder()
    with pytest.raises(RuntimeError, match="the disk is gone"):
        async with kernel_of(hooks=[recorder, Failing("on_stop")]):
            pass
    assert recorder.order == ["start", "stop"]


async def test_a_hook_need_not_have_every_point():
    seen = []
    hook = SimpleNamespace(on_commit=lambda kernel, commit: seen.append(commit.number))
    async with kernel_of({"once": once}, hooks=[hook]) as kernel:
        await kernel.submit("once", task_id="o")
        await kernel.join("o")
    assert seen == sorted(seen)
    assert seen[0] == 1


@pytest.mark.parametrize("point", ["ready", "durable", "on_commit"])
async def test_a_hook_that_raises_halts_the_kernel(point):
    failing = Failing()
    joined = []

    async def join(kernel, *task_id):
        with pytest.raises(SchedulerStopped):
            await kernel.join(*task_id)
        joined.append(task_id)

    with pytest.raises(RuntimeError, match="the disk is gone"):
        async with kernel_of({"listen": listen, "count": count}, hooks=[failing]) as kernel:
            await kernel.submit("listen", task_id="l")
            await kernel.idle()
            async with anyio.create_task_group() as group:
                group.start_soon(join, kernel, "l")
                group.start_soon(join, kernel)
                await settle()
                failing.points.add(point)
                with suppress(SchedulerStopped):
                    await kernel.send("l", "hello")
                await settle()
                assert sorted(joined) == [(), ("l",)]
            with pytest.raises(SchedulerStopped, match="halted"):
                await kernel.submit("count", task_id="c")
            with pytest.raises(SchedulerStopped):
                await kernel.idle()


async def test_what_was_not_durable_when_the_kernel_halted_is_not_acknowledged():
    failing = Failing("durable")
    with pytest.raises(RuntimeError, match="the disk is gone"):
        async with kernel_of({"once": once}, hooks=[failing]) as kernel:
            await kernel.submit("once", task_id="o")
            pytest.fail("acknowledged")


async def test_a_halt_is_told_and_logged_once_however_many_wait_for_it(caplog):
    class Lost(Gate):
        async def durable(self, commit):
            await super().durable(commit)
            raise RuntimeError("the disk is gone")

    async def refused(kernel, task_id):
        with pytest.raises(SchedulerStopped):
            await kernel.submit("once", task_id=task_id)

    hook = Lost()
    with pytest.raises(RuntimeError, match="the disk is gone"):
        async with kernel_of({"once": once}, hooks=[hook]) as kernel, anyio.create_task_group() as group:
            events = kernel.events()
            for task_id in ("a", "b", "c"):
                group.start_soon(refused, kernel, task_id)
            await settle()
            hook.open()
    told = [event.data["error"] async for event in events if event.kind == "halted"]
    assert told == ["RuntimeError: the disk is gone"]
    assert caplog.messages == [f"run 'run': halted (error: {told[0]})"]


class UnspeakableError(Exception):
    def __str__(self):
        raise ValueError("no text today")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (TimeoutError(), "TimeoutError: "),
        (UnspeakableError(), "UnspeakableError: its text cannot be had: ValueError"),
        (FencedError("overtaken", hint="leave"), "overtaken (leave)"),
    ],
)
async def test_whatever_a_hook_raises_the_kernel_halts_and_says_of_what_kind_it_was(error, told, caplog):
    failing = Failing("ready", error=error)
    with pytest.raises(type(error)):
        async with kernel_of({"once": once}, hooks=[failing]) as kernel:
            await kernel.submit("once", task_id="o")
            await kernel.join("o")
    assert caplog.messages == [f"run 'run': halted (error: {told})"]


async def test_a_commit_that_a_hook_missed_is_not_acknowledged():
    failing = Failing()
    with pytest.raises(RuntimeError, match="the disk is gone"):
        async with kernel_of({"once": once}, hooks=[failing]) as kernel:
            failing.points.add("on_commit")
            await kernel.submit("once", task_id="o")
            pytest.fail("acknowledged")


async def test_a_halt_cancels_turns_at_once():
    recorder = Recorder()
    with pytest.raises(ValueError, match="fenced"):
        async with kernel_of({"busy": busy}, hooks=[recorder]) as kernel:
            await kernel.submit("busy", task_id="b")
            await settle()
            kernel.halt(ValueError("fenced"))
            with pytest.raises(SchedulerStopped) as caught:
                await kernel.join("b")
            assert isinstance(caught.value.__cause__, ValueError)
            raise caught.value
    assert kinds(kernel)["b"] == ("ready", None)
    assert recorder.order == ["start", "stop"]


async def test_the_bodys_own_error_comes_first_and_says_that_the_kernel_was_halted():
    with pytest.raises(KeyError) as caught:
        async with kernel_of() as kernel:
            kernel.halt(ValueError("fenced"))
            raise KeyError("mine")
    assert caught.value.__notes__ == ["the kernel was halted: ValueError: fenced"]


async def test_an_error_of_a_hooks_coroutine_halts_the_kernel():
    class Background(Hook):
        async def on_start(self, kernel):
            kernel.start_soon(self.work, 5)

        async def work(self, number):
            await settle()
            raise ValueError(f"number {number}")

    with pytest.raises(ValueError, match="number 5"):
        async with kernel_of({"busy": busy}, hooks=[Background()]) as kernel:
            await kernel.submit("busy", task_id="b")
            await kernel.join("b")


async def test_an_exception_in_the_body_stops_gracefully_and_passes_through():
    recorder = Recorder()
    with pytest.raises(ValueError, match="mine"):
        async with kernel_of({"count": count}, hooks=[recorder]) as kernel:
            await kernel.submit("count", task_id="c")
            raise ValueError("mine")
    assert recorder.order == ["start", "stop"]


async def test_a_cancelled_body_stops_gracefully():
    recorder = Recorder()
    begun = anyio.Event()

    async def live():
        async with kernel_of({"busy": busy}, hooks=[recorder]) as kernel:
            await kernel.submit("busy", task_id="b")
            kernel.request_stop(0)
            begun.set()
            await kernel.join("b")

    before = asyncio.all_tasks()
    task = asyncio.ensure_future(live())
    await begun.wait()
    task.cancel()
    with pytest.raises((asyncio.CancelledError, SchedulerStopped)):
        await task
    assert recorder.order == ["start", "stop"]
    assert asyncio.all_tasks() == before


async def test_a_body_cancelled_again_while_it_stops_gives_up_the_grace_and_leaves_nothing_behind():
    clock, recorder = ManualClock(), Recorder()
    begun = anyio.Event()

    async def live():
        async with kernel_of({"busy": busy}, hooks=[recorder], clock=clock) as kernel:
            await kernel.submit("busy", task_id="b")
            begun.set()
            await anyio.sleep_forever()

    before = asyncio.all_tasks()
    task = asyncio.ensure_future(live())
    await begun.wait()
    await settle()
    task.cancel()
    await settle()
    assert not task.done()  # the turn has its grace
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert recorder.order == ["start", "stop"]
    assert asyncio.all_tasks() == before


async def test_every_asyncio_task_cancelled_at_once_as_when_the_loop_ends():
    recorder = Recorder()
    begun = []

    async def work(turn):
        begun.append(turn.task.id)
        turn.say("never")
        await asyncio.sleep(1000)

    async def live():
        async with kernel_of({"work": work, "count": count}, hooks=[recorder]) as kernel:
            for number in range(3):
                await kernel.submit("work", task_id=f"w{number}")
            await settle()
            await kernel.submit("count", task_id="just started")
            await anyio.sleep_forever()

    before = asyncio.all_tasks()
    main = asyncio.ensure_future(live())
    while len(begun) < 3:
        await asyncio.sleep(0)
    others = asyncio.all_tasks() - before
    for task in others:
        task.cancel()
    with anyio.fail_after(5):
        await asyncio.gather(*others, return_exceptions=True)
    assert main.cancelled()
    assert recorder.order == ["start", "stop"]
    saved = recorder.saved()
    assert b"CancelledError" not in b"".join(saved.records.values())
    assert not any(task.startswith("w") for _, task, _ in saved.streams)
    async with kernel_of({"work": count, "count": count}, hooks=[Recorder(saved)]) as kernel:
        assert all(result.ok for result in (await kernel.join()).values())


async def test_a_turn_that_waits_for_the_hooks_does_not_hold_up_a_stop():
    gate = Gate(held=False, ready_held=True)
    with anyio.fail_after(5):
        async with kernel_of({"count": count}, hooks=[gate]) as kernel:
            await kernel.submit("count", task_id="c")
            await settle()
    assert kernel.tasks.get("c").attempt == 0


async def test_a_turn_that_waits_for_the_hooks_does_not_hold_up_a_halt():
    gate = Gate(held=False, ready_held=True)
    with anyio.fail_after(5), pytest.raises(ValueError, match="fenced"):
        async with kernel_of({"count": count}, hooks=[gate]) as kernel:
            await kernel.submit("count", task_id="c")
            await settle()
            kernel.halt(ValueError("fenced"))


async def test_a_program_that_fails_while_it_is_cancelled_by_a_stop_is_run_again():
    begun = anyio.Event()

    async def clumsy(turn):
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            raise ValueError("in the clean-up")

    async with kernel_of({"clumsy": clumsy}) as kernel:
        await kernel.submit("clumsy", task_id="c")
        await begun.wait()
        await kernel.stop(grace=0)
    assert kinds(kernel)["c"] == ("ready", None)


async def test_nothing_is_committed_after_the_hooks_have_stopped():
    recorder = Recorder()
    stopped_at = []

    class Last(Hook):
        async def on_stop(self, kernel):
            stopped_at.append(kernel.commit_number)

    async with kernel_of({"count": count}, hooks=[Last(), recorder], keep_done=0) as kernel:
        for number in range(100):
            await kernel.submit("count", task_id=f"c{number}")
    assert stopped_at == [kernel.commit_number]


async def test_callbacks_come_after_everything_and_a_body_that_waits_is_cancelled():
    recorder, called = Recorder(), []

    with pytest.raises(SchedulerStopped, match="before its body was done"):
        async with kernel_of(hooks=[recorder]) as kernel:
            kernel.call_at_end(lambda: called.append(list(recorder.order)))
            kernel.request_stop()
            await anyio.sleep_forever()
    async with kernel_of(hooks=[recorder]) as kernel:
        kernel.call_at_end(lambda: called.append(list(recorder.order)))
        kernel.request_stop()
    assert called == [["start", "stop"], ["start", "stop"] * 2]
    assert not asyncio.current_task().cancelling()


async def test_a_kernel_inside_a_timeout():
    async def live():
        async with kernel_of({"busy": busy}) as kernel:
            await kernel.submit("busy", task_id="b")
            kernel.request_stop(0)
            await anyio.sleep_forever()

    with anyio.move_on_after(0.05) as scope:
        await live()
    assert scope.cancelled_caught
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await live()


async def test_an_error_of_the_kernel_itself_halts_it():
    class Odd(Hook):
        async def ready(self):
            raise BaseExceptionGroup("odd", [ValueError("inside")])

    with pytest.raises(ExceptionGroup, match="odd"):
        async with kernel_of({"count": count}, hooks=[Odd()]) as kernel:
            await kernel.submit("count", task_id="c")
            await kernel.join("c")


async def test_a_scheduler_made_outside_a_loop_can_be_entered():
    kernel = await asyncio.to_thread(kernel_of, {"once": once})
    async with kernel:
        await kernel.submit("once", task_id="o")
        assert (await kernel.join("o")).ok
