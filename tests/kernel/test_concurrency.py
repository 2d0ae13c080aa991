"""Who runs when: first come first served, at most so many at a time, nobody starves, nothing leaks."""

import asyncio
import gc
import sys
import weakref

import anyio
import pytest
from kernel_kit import Recorder, count, kernel_of, kinds, listen, once, settle

from kernelckpt import Scheduler, SchedulerBudget
from kernelckpt.errors import UsageError


async def test_no_more_turns_at_a_time_than_allowed():
    at_work, most = 0, []

    async def program(turn):
        nonlocal at_work
        at_work += 1
        most.append(at_work)
        await settle(3)
        at_work -= 1
        turn.say("x")
        if turn.number == 3:
            return turn.complete()
        return None

    for limit in (1, 2, 7):
        most.clear()
        async with kernel_of({"p": program}, max_concurrency=limit) as kernel:
            for number in range(20):
                await kernel.submit("p", task_id=f"t{number}")
            await kernel.join()
        assert max(most) == limit


async def test_without_a_limit_all_run_at_a_time():
    arrived, all_there = [], anyio.Event()

    async def program(turn):
        arrived.append(turn.task.id)
        if len(arrived) == 300:
            all_there.set()
        await all_there.wait()
        return turn.complete()

    async with kernel_of({"p": program}) as kernel:
        for number in range(300):
            await kernel.submit("p", task_id=f"t{number}")
        with anyio.fail_after(10):
            await kernel.join()


async def test_places_are_given_first_come_first_served():
    order = []

    async def program(turn):
        order.append((turn.task.id, turn.number))
        turn.say("x")
        if turn.number == 3:
            return turn.complete()
        return None

    async with kernel_of({"p": program}, max_concurrency=1) as kernel:
        for name in "abc":
            await kernel.submit("p", task_id=name)
        await kernel.join()
    assert order == [(name, number) for number in (1, 2, 3) for name in "abc"]


async def test_a_task_that_never_waits_does_not_starve_the_others():
    async def greedy(turn):
        turn.say("x")

    budget = SchedulerBudget(max_turns=1000)
    async with kernel_of({"greedy": greedy, "count": count, "listen": listen}, max_concurrency=2) as kernel:
        for number in range(3):
            await kernel.submit("greedy", task_id=f"g{number}", budget=budget)
        await kernel.submit("count", task_id="c")
        await kernel.submit("listen", task_id="l")
        await kernel.join("c")
        await kernel.send("l", "stop")
        await kernel.join("l")
        assert max(kernel.tasks.get(f"g{number}").budget.turns for number in range(3)) < 50


async def test_a_waiting_task_takes_no_place():
    async def wait(turn):
        return turn.wait_external("door")

    async with kernel_of({"wait": wait, "count": count}, max_concurrency=1) as kernel:
        for number in range(5):
            await kernel.submit("wait", task_id=f"w{number}")
        await kernel.submit("count", task_id="c")
        assert (await kernel.join("c")).ok
        assert set(kinds(kernel).values()) == {("done", None), ("suspended", "external")}


async def test_a_parent_and_its_children_fit_into_one_place():
    async def parent(turn):
        if turn.number == 1:
            return turn.join(*[turn.spawn("count") for _ in range(3)])
        return turn.complete()

    async with kernel_of({"parent": parent, "count": count}, max_concurrency=1) as kernel:
        await kernel.submit("parent", task_id="p")
        with anyio.fail_after(10):
            assert (await kernel.join("p")).ok


@pytest.mark.parametrize(
    "settings",
    [
        {"max_concurrency": 0},
        {"max_concurrency": -1},
        {"max_concurrency": 1.5},
        {"max_concurrency": True},
        {"max_concurrency": "2"},
        {"keep_done": -1},
        {"keep_done": "all"},
        {"run_id": ""},
        {"run_id": None},
        {"run_id": "\ud800"},
        {"programs": [count]},
        {"programs": {5: count}},
        {"programs": {"": count}},
        {"programs": {"p": settle.__call__}},
        {"programs": {"p": lambda turn: None}},
        {"programs": {"p": None}},
        {"hooks": [object()]},
        {"hooks": [Recorder]},
        {"hooks": Recorder()},
        {"hooks": "file:./state"},
    ],
)
def test_bad_settings_are_refused(settings):
    settings = {"programs": {}, "run_id": "run", **settings}
    with pytest.raises(UsageError) as caught:
        Scheduler(settings.pop("programs"), **settings)
    assert caught.value.hint


async def test_no_asyncio_task_is_left_behind():
    before = asyncio.all_tasks()

    async def busy(turn):
        await anyio.sleep_forever()

    async def nap(turn):
        return turn.sleep(1000)

    for body in ("leave", "stop", "raise", "cancel"):
        with anyio.CancelScope() as scope:
            try:
                async with kernel_of({"busy": busy, "nap": nap, "count": count}) as kernel:
                    for name in ("busy", "nap", "count"):
                        await kernel.submit(name, task_id=name)
                    await settle()
                    kernel.request_stop(0)
                    if body == "stop":
                        await kernel.stop(0)
                    if body == "raise":
                        raise ValueError(body)
                    if body == "cancel":
                        scope.cancel()
                        await anyio.sleep_forever()
            except ValueError:
                assert body == "raise"
        assert asyncio.all_tasks() == before


async def test_a_kernel_that_has_ended_is_garbage():
    async def live():
        async with kernel_of({"count": count}) as kernel:
            await kernel.submit("count", task_id="c")
            await kernel.join("c")
            return weakref.ref(kernel)

    reference = await asyncio.ensure_future(live())
    await settle()
    gc.collect()
    assert reference() is None


async def calls_per_turn(rows):
    """How many function calls a turn costs in a table of so many rows, counted, not timed."""
    calls = 0

    def counting(frame, event, argument):
        nonlocal calls
        if event == "call":
            calls += 1

    async def wait(turn):
        return turn.wait_external("door")

    async with kernel_of({"wait": wait, "listen": listen, "count": count}, hooks=[]) as kernel:
        for number in range(rows):
            await kernel.submit("wait", task_id=f"w{number}")
        await kernel.submit("listen", task_id="l")
        await kernel.idle()
        sys.setprofile(counting)
        try:
            for number in range(50):
                await kernel.send("l", str(number))
                await kernel.idle()
                await kernel.submit("count", task_id=f"c{number}")
                await kernel.join(f"c{number}")
                await kernel.resume(f"w{number}")
                await kernel.idle()
                await kernel.cancel(f"w{number}")
        finally:
            sys.setprofile(None)
    return calls / 50


@pytest.mark.may_block
@pytest.mark.timeout(300)
async def test_what_a_turn_costs_does_not_grow_with_the_table():
    small = await calls_per_turn(1_000)
    large = await calls_per_turn(50_000)
    assert large == pytest.approx(small, rel=0.05)


async def test_a_hundred_tasks_that_talk_to_each_other():
    async def player(turn):
        for message in turn.inbox:
            hops = int(message.text)
            if hops == 0:
                return turn.complete("last")
            neighbour = f"p{(int(turn.task.id[1:]) + 1) % 100}"
            await turn.deps[0].send(neighbour, str(hops - 1))
        return turn.wait_for_message()

    deps = []
    async with kernel_of({"player": player, "once": once}, deps=deps, max_concurrency=8) as kernel:
        deps.append(kernel)
        for number in range(100):
            await kernel.submit("player", task_id=f"p{number}")
        await kernel.send("p0", "1000")
        with anyio.fail_after(20):
            assert (await kernel.join("p0")).text == "last"
