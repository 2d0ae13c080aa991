"""The manual clock: time moves when it is moved, and wakes sleepers in the order of their times."""

import anyio
import pytest

from kernelckpt.testing import ManualClock


async def test_time_stands_still_until_it_is_advanced():
    clock = ManualClock(1_000)
    assert (clock.wall_ms(), clock.monotonic()) == (1_000, 0.0)
    await clock.advance(0.25)
    assert (clock.wall_ms(), clock.monotonic()) == (1_250, 0.25)
    clock.jump(-500)
    assert (clock.wall_ms(), clock.monotonic()) == (750, 0.25)


async def test_sleepers_wake_in_the_order_of_their_times_and_find_the_clock_at_them():
    clock, woken = ManualClock(0), []

    async def sleeper(seconds):
        await clock.sleep(seconds)
        woken.append((seconds, clock.wall_ms()))

    async with anyio.create_task_group() as group:
        for seconds in (3, 1, 2, 1):
            group.start_soon(sleeper, seconds)
        await clock.advance(2.5)
        assert woken == [(1, 1000), (1, 1000), (2, 2000)]
        assert clock.sleepers == 1
        assert clock.wall_ms() == 2500
        await clock.advance(0.5)
    assert woken[-1] == (3, 3000)


async def test_a_sleeper_that_sleeps_again_is_woken_within_the_same_span():
    clock, ticks = ManualClock(0), []

    async def ticker():
        while True:
            await clock.sleep(0.1)
            ticks.append(clock.monotonic())

    async with anyio.create_task_group() as group:
        group.start_soon(ticker)
        await clock.advance(0.3)
        assert ticks == [0.1, 0.2, 0.3]
        group.cancel_scope.cancel()


async def test_a_cancelled_sleeper_is_forgotten():
    clock = ManualClock()
    with anyio.move_on_after(0):
        await clock.sleep(10)
    assert clock.sleepers == 0
    await clock.advance(20)


async def test_no_time_takes_no_time_and_time_does_not_go_back():
    clock = ManualClock()
    await clock.sleep(0)
    await clock.sleep(-1)
    with pytest.raises(ValueError, match="-1 seconds"):
        await clock.advance(-1)
