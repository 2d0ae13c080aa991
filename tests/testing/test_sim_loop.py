"""The simulated loop: virtual time, repeatable order, calls in executors as operations of the simulation."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import aiofiles.os
import anyio
import pytest

from kernelckpt.testing import SimClock, SimDeadlockError, SimLoop


def run(main, *, seed=0, **options):
    with SimLoop(seed, **options) as loop:
        return loop.run(main(loop))


def test_time_jumps_to_the_next_timer_and_stands_still_otherwise():
    async def main(loop):
        seen = []

        async def sleeper(seconds):
            await anyio.sleep(seconds)
            seen.append((seconds, loop.time()))

        async with anyio.create_task_group() as group:
            for seconds in (86_400, 0.5, 10):
                group.start_soon(sleeper, seconds)
        return seen

    assert run(main) == [(0.5, 0.5), (10, 10), (86_400, 86_400)]


def test_timeouts_are_of_simulated_time():
    async def main(loop):
        with anyio.move_on_after(3600) as scope:
            await asyncio.Event().wait()
        return scope.cancelled_caught, loop.time()

    assert run(main) == (True, 3600)


def test_callbacks_keep_their_order_unless_they_are_shuffled():
    async def main(loop):
        seen = []
        for number in range(20):
            loop.call_soon(seen.append, number)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return seen

    assert run(main) == list(range(20))
    shuffled = run(main, shuffled=True)
    assert sorted(shuffled) == list(range(20)) != shuffled
    assert shuffled == run(main, shuffled=True) != run(main, shuffled=True, seed=1)


async def many_cancelled(loop):
    """The order in which anyio cancels the tasks and scopes of a scope."""
    seen = []

    async def sleeper(number):
        try:
            with anyio.CancelScope():
                await anyio.sleep_forever()
        finally:
            seen.append(number)

    async with anyio.create_task_group() as group:
        for number in range(50):
            group.start_soon(sleeper, number)
        await anyio.sleep(1)
        group.cancel_scope.cancel()
    return seen


def test_what_goes_by_addresses_elsewhere_is_repeated():
    assert run(many_cancelled) == run(many_cancelled)


async def calls(loop):
    """In which order calls begin and end: of an executor with one worker, and of anyio's threads."""
    seen = []

    def work(name):
        seen.append(f"{name} begins")
        loop.pause(loop.chance.uniform(0, 1))
        seen.append(f"{name} ends")
        return name

    async def in_thread(name):
        assert await anyio.to_thread.run_sync(work, name) == name

    async def in_lane(executor, name):
        assert await aiofiles.os.wrap(work)(name, executor=executor) == name
        seen.append(f"{name} is told")

    with ThreadPoolExecutor(1) as executor:
        async with anyio.create_task_group() as group:
            for number in range(3):
                group.start_soon(in_lane, executor, f"lane {number}")
                group.start_soon(in_thread, f"thread {number}")
    return seen


def test_calls_in_executors_are_operations_of_the_simulation():
    seen = run(calls)
    assert seen == run(calls) != run(calls, seed=1)
    lane = [line for line in seen if line.startswith("lane") and "told" not in line]
    assert lane == [f"lane {number} {what}" for number in range(3) for what in ("begins", "ends")]
    told = [line for line in seen if "told" in line]
    assert told == [f"lane {number} is told" for number in range(3)]
    threads = [line for line in seen if line.startswith("thread")]
    assert {line.split()[2] for line in threads[:2]} == {"begins"}, "threads of anyio overlap"


def test_what_a_call_raises_is_raised():
    async def main(loop):
        with pytest.raises(ZeroDivisionError):
            await anyio.to_thread.run_sync(lambda: 1 // 0)

    run(main)


def test_a_cancelled_call_that_has_not_begun_never_does():
    async def main(loop):
        seen = []
        with ThreadPoolExecutor(1) as executor:
            first = loop.run_in_executor(executor, lambda: loop.pause(1))
            second = loop.run_in_executor(executor, seen.append, "second")
            third = loop.run_in_executor(executor, seen.append, "third")
            second.cancel()
            await asyncio.wait([first, second, third])
        return seen

    assert run(main) == ["third"]


def test_a_loop_on_which_nothing_can_happen_says_so():
    async def main(loop):
        await asyncio.Event().wait()

    with pytest.raises(SimDeadlockError), SimLoop() as loop:
        loop.run(main(loop))


def test_other_tasks_are_cancelled_and_awaited_in_the_end():
    async def main(loop):
        async def other():
            try:
                await anyio.sleep(100)
            finally:
                await anyio.sleep(1)
                ended.append(loop.time())

        task = asyncio.create_task(other())
        await asyncio.sleep(5)
        return task

    ended = []
    run(main)
    assert ended == [6]


def test_every_round_of_the_loop_can_be_watched():
    async def main(loop):
        loop.on_step = lambda: steps.append(loop.steps)
        for _ in range(3):
            await asyncio.sleep(0)
        loop.on_step = None

    steps = []
    run(main)
    assert steps == [1, 2, 3]


def test_a_clock_of_the_loop_can_be_set():
    async def main(loop):
        clock = SimClock(loop, 1_000)
        await clock.sleep(2)
        assert (clock.wall_ms(), clock.monotonic()) == (3_000, 2)
        clock.jump(-2_500)
        assert (clock.wall_ms(), clock.monotonic()) == (500, 2)

    run(main)
