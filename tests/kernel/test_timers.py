"""Time: sleeping tasks wake in order, on the wall clock; work is charged, waiting on time is exact."""

import anyio
from kernel_kit import Gate, count, kernel_of, settle

from kernelckpt import SchedulerBudget
from kernelckpt.testing import ManualClock


async def nap(turn):
    """Sleep as long as the input says, then complete."""
    if turn.number == 1:
        return turn.sleep(turn.input)
    return turn.complete(output=turn.deps.wall_ms())


async def test_a_sleeping_task_wakes_when_its_time_has_come_and_not_before():
    clock = ManualClock()
    begin = clock.wall_ms()
    async with kernel_of({"nap": nap}, clock=clock, deps=clock) as kernel:
        await kernel.submit("nap", task_id="n", input=90.0)
        await clock.advance(89.999)
        assert not kernel.tasks.get("n").state.is_terminal()
        assert kernel.tasks.get("n").deferred_until == begin + 90_000
        await clock.advance(0.001)
        assert (await kernel.join("n")).output == begin + 90_000
        assert kernel.tasks.get("n").deferred_until is None


async def test_sleepers_wake_in_the_order_of_their_times():
    clock = ManualClock()
    begin = clock.wall_ms()
    async with kernel_of({"nap": nap}, clock=clock, deps=clock) as kernel:
        for seconds in (30, 10, 20, 10, 4000, 0):
            await kernel.submit("nap", task_id=f"n{len(kernel.tasks)}", input=seconds)
        await clock.advance(5000)
        results = await kernel.join()
    woken = [(results[f"n{number}"].output - begin) / 1000 for number in range(6)]
    assert woken == [30, 10, 20, 10, 4000, 0]


async def test_a_shorter_sleep_begun_later_is_not_late():
    clock = ManualClock()
    async with kernel_of({"nap": nap}, clock=clock, deps=clock) as kernel:
        await kernel.submit("nap", task_id="long", input=1000)
        await clock.advance(1)
        await kernel.submit("nap", task_id="short", input=2)
        await clock.advance(2)
        assert kernel.tasks.get("short").state.is_terminal()
        assert not kernel.tasks.get("long").state.is_terminal()


async def test_a_wall_clock_set_forward_is_noticed_within_a_minute():
    clock = ManualClock()
    async with kernel_of({"nap": nap}, clock=clock, deps=clock) as kernel:
        await kernel.submit("nap", task_id="n", input=10_000)
        await settle()
        clock.jump(20_000_000)
        await clock.advance(60)
        assert kernel.tasks.get("n").state.is_terminal()


async def test_a_wall_clock_set_back_wakes_nobody_early():
    clock = ManualClock()
    async with kernel_of({"nap": nap}, clock=clock, deps=clock) as kernel:
        await kernel.submit("nap", task_id="n", input=30)
        await settle()
        clock.jump(-100_000)
        await clock.advance(129)
        assert not kernel.tasks.get("n").state.is_terminal()
        await clock.advance(2)
        assert kernel.tasks.get("n").state.is_terminal()


async def test_idle_waits_for_sleepers_and_not_for_the_outside():
    clock = ManualClock()
    async with kernel_of({"nap": nap}, clock=clock, deps=clock) as kernel:
        await kernel.submit("nap", task_id="n", input=10)
        idle = []
        async with anyio.create_task_group() as group:

            async def wait():
                await kernel.idle()
                idle.append(clock.monotonic())

            for _ in range(3):
                group.start_soon(wait)
            await clock.advance(9)
            assert idle == []
            await clock.advance(1)
        assert idle == [10.0] * 3


async def test_idle_returns_when_the_last_sleeper_is_cancelled():
    clock = ManualClock()
    async with kernel_of({"nap": nap}, clock=clock, deps=clock) as kernel:
        await kernel.submit("nap", task_id="n", input=10_000)
        await settle()
        with anyio.fail_after(5):
            async with anyio.create_task_group() as group:
                group.start_soon(kernel.idle)
                group.start_soon(kernel.idle)
                await settle()
                await kernel.cancel("n")


async def test_a_timer_that_comes_due_while_the_kernel_stops_does_not_spin():
    clock = ManualClock()
    begun = anyio.Event()

    async def busy(turn):
        begun.set()
        await anyio.sleep_forever()

    async with kernel_of({"nap": nap, "busy": busy}, clock=clock, deps=clock) as kernel:
        await kernel.submit("nap", task_id="n", input=5)
        await kernel.submit("busy", task_id="b")
        await begun.wait()
        kernel.request_stop(10)
        await clock.advance(6)
        assert not kernel.tasks.get("n").state.is_terminal()
        await clock.advance(5)
        await kernel.stop()
    assert kernel.tasks.get("n").deferred_until is not None  # it is due at the next start


async def test_ten_thousand_sleepers():
    clock = ManualClock()
    async with kernel_of({"nap": nap}, clock=clock, deps=clock) as kernel:
        for number in range(10_000):
            await kernel.submit("nap", task_id=f"n{number}", input=10 + number % 7)
        while any(row.deferred_until is None for row in kernel.tasks):
            await settle(500)
        await clock.advance(30)
        results = await kernel.join()
        assert len(results) == 10_000
        assert all(result.ok for result in results.values())


async def test_a_wall_budget_counts_working_time_from_the_first_turn():
    clock = ManualClock()

    async def slow(turn):
        turn.say("slow")
        await clock.sleep(4)

    async with kernel_of({"slow": slow}, clock=clock) as kernel:
        await clock.advance(100)
        await kernel.submit("slow", task_id="s", budget=SchedulerBudget(max_wall_ms=10_000))
        await clock.advance(100)
        result = await kernel.join("s")
        assert (result.termination, result.turns_used) == ("timeout", 3)
        assert result.error == "the budget's wall_time was reached"


async def test_time_that_hooks_hold_a_turn_back_passes_like_any_other():
    clock, gate = ManualClock(), Gate(held=False, ready_held=True)
    async with kernel_of({"count": count}, clock=clock, hooks=[gate]) as kernel:
        await kernel.submit("count", task_id="c")
        await clock.advance(50)
        assert kernel.tasks.get("c").budget.turns == 0
        gate.open()
        assert (await kernel.join("c")).ok
