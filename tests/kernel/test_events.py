"""What a kernel tells those who listen: everything, in order, once it is durable."""

import gc

import anyio
from kernel_kit import Gate, Recorder, count, kernel_of, listen, once, settle

from kernelckpt import TimedOut


async def gathered(events):
    return [(event.kind, event.task_id, event.turn) async for event in events]


async def test_the_life_of_a_task_in_events():
    async def program(turn):
        if turn.number == 1:
            turn.emit({"text": "draft"})
            return turn.ask_approval("k", "?")
        return turn.complete("done")

    async with kernel_of({"p": program}) as kernel:
        events = kernel.events()
        await kernel.submit("p", task_id="t")
        await kernel.idle()
        await kernel.approve("t", "k")
        await kernel.join("t")
    told = [event async for event in events]
    assert [(event.kind, event.turn) for event in told] == [
        ("started", 0),
        ("draft", 1),
        ("committed", 1),
        ("waiting", 1),
        ("ended", 2),
        ("committed", 2),
        ("stopping", 0),
    ]
    by_kind = {event.kind: event.data for event in told}
    assert by_kind["draft"] == {"delta": {"text": "draft"}}
    assert by_kind["waiting"] == {"wait": "approval", "note": ""}
    assert by_kind["ended"] == {"reason": "completed", "error": ""}
    assert by_kind["started"] == {"program": "p"}


async def test_events_are_those_from_the_call_on():
    async with kernel_of({"once": once}) as kernel:
        await kernel.submit("once", task_id="a")
        await kernel.join("a")
        events = kernel.events()
        await kernel.submit("once", task_id="b")
        await kernel.join("b")
    assert {task_id for _, task_id, _ in await gathered(events)} == {"b", ""}


async def test_events_of_one_task():
    async with kernel_of({"count": count}) as kernel:
        events = kernel.events("b")
        for name in "abc":
            await kernel.submit("count", task_id=name)
        await kernel.join()
    assert {task_id for _, task_id, _ in await gathered(events)} == {"b"}


async def test_a_failed_turn_is_told_as_discarded():
    async def wrong(turn):
        turn.emit("draft")
        raise ValueError("no")

    async with kernel_of({"wrong": wrong}) as kernel:
        events = kernel.events("w")
        await kernel.submit("wrong", task_id="w")
        await kernel.join("w")
    assert [kind for kind, _, _ in await gathered(events)] == ["started", "draft", "discarded", "ended"]


async def test_several_listeners_each_get_everything():
    async with kernel_of({"count": count}) as kernel:
        listeners = [kernel.events() for _ in range(5)]
        await kernel.submit("count", task_id="c")
        await kernel.join("c")
    told = [await gathered(events) for events in listeners]
    assert all(events == told[0] for events in told)
    assert len(told[0]) == 8


async def test_a_listener_that_waits_is_woken_and_ends_with_the_kernel():
    told = []

    async def follow(events):
        async for event in events:
            told.append(event.kind)

    async with anyio.create_task_group() as group, kernel_of({"listen": listen}) as kernel:
        group.start_soon(follow, kernel.events())
        await settle()
        await kernel.submit("listen", task_id="l")
        await settle()
        assert told == ["started", "committed", "waiting"]
    assert told[-1] == "stopping"


async def test_listening_to_a_kernel_that_has_stopped_ends_at_once():
    async with kernel_of() as kernel:
        pass
    with anyio.fail_after(5):
        assert await gathered(kernel.events()) == []


async def test_a_slow_listener_loses_the_oldest_and_is_told_how_many():
    async def noisy(turn):
        for number in range(12_000):
            turn.emit(number)
        return turn.complete()

    async with kernel_of({"noisy": noisy}) as kernel:
        events = kernel.events("n")
        await kernel.submit("noisy", task_id="n")
        await kernel.join("n")
    told = [event async for event in events]
    assert told[0].kind == "lagged"
    assert told[0].data["lost"] == 12_000 + 3 - 10_000
    assert len(told) == 10_001
    assert told[-1].kind == "committed"


async def test_what_a_commit_made_so_is_told_once_it_is_durable():
    gate, told = Gate(held=False), []

    async def follow(events):
        async for event in events:
            told.append(event.kind)

    async with anyio.create_task_group() as group, kernel_of({"listen": listen}, hooks=[gate]) as kernel:
        group.start_soon(follow, kernel.events())
        gate.hold()
        group.start_soon(lambda: kernel.submit("listen", task_id="l"))
        await settle()
        assert kernel.tasks.get("l").budget.turns == 1
        assert told == []
        gate.open()
        await settle()
        assert told == ["started", "committed", "waiting"]


async def test_a_listener_that_nobody_iterates_costs_nothing():
    async with kernel_of({"count": count}, hooks=[Recorder()]) as kernel:
        for _ in range(10):
            kernel.events()
        gc.collect()
        assert not kernel._core.events.heard
        await kernel.submit("count", task_id="c")
        await kernel.join("c")


async def test_a_listener_may_leave_at_any_time():
    async with kernel_of({"count": count}) as kernel:
        events = kernel.events()
        await kernel.submit("count", task_id="c")
        async for event in events:
            if event.kind == "committed":
                break
        await kernel.join("c")
        with anyio.move_on_after(0):
            async for _ in kernel.events():
                pass


async def test_a_turn_that_takes_itself_back_is_told_as_discarded():
    async def program(turn):
        if turn.number == 1:
            turn.emit("draft")
            return turn.rollback(TimedOut())
        return turn.complete()

    async with kernel_of({"p": program}) as kernel:
        events = kernel.events("t")
        await kernel.submit("p", task_id="t")
        await kernel.join("t")
    kinds = [kind for kind, _, _ in await gathered(events)]
    assert kinds == ["started", "draft", "discarded", "rolled_back", "ended", "committed"]
