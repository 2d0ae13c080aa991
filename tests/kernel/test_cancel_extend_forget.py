"""Ending tasks from outside, and dropping what has ended."""

import anyio
import pytest
from kernel_kit import Gate, Recorder, count, kernel_of, kinds, listen, once, settle, texts

from kernelckpt.errors import InvalidValueError, UnknownTaskError, UsageError


async def wait(turn):
    return turn.wait_external("door")


async def tree(turn):
    """Spawn two children for each level that is left, and wait."""
    for number in range(2 if turn.input else 0):
        turn.spawn("tree", input=turn.input - 1, task_id=f"{turn.task.id}{number}")
    return turn.join() if turn.input else turn.wait_external("door")


async def test_cancel_ends_a_subtree_children_first_in_one_commit():
    recorder = Recorder()
    async with kernel_of({"tree": tree}, hooks=[recorder]) as kernel:
        await kernel.submit("tree", task_id="t", input=2)
        await kernel.idle()
        events = kernel.events()
        before = len(recorder.commits)
        await kernel.cancel("t0", "enough")
        assert len(recorder.commits) == before + 1
        assert {row.id for row in kernel.tasks if row.state.is_terminal()} == {"t0", "t00", "t01"}
        assert kernel.tasks.get("t").wait.children == ("t1",)
        result = await kernel.join("t00")
        assert (result.termination, result.error) == ("user_abort", "enough")
        await kernel.cancel("t")
        await kernel.idle()
    ended = [event.task_id async for event in events if event.kind == "ended"]
    assert ended.index("t00") < ended.index("t0")
    assert ended.index("t1") < ended.index("t") == len(ended) - 1


async def test_cancel_wakes_the_parent_that_joins():
    async def boss(turn):
        if turn.number == 1:
            return turn.join(turn.spawn("wait", task_id="c"))
        return turn.complete(turn.results["c"].error)

    async with kernel_of({"boss": boss, "wait": wait}) as kernel:
        await kernel.submit("boss", task_id="b")
        await kernel.idle()
        await kernel.cancel("c", "not needed")
        assert (await kernel.join("b")).text == "not needed"


async def test_a_running_turn_is_cancelled_and_leaves_no_trace():
    begun, cleaned = anyio.Event(), anyio.Event()

    async def busy(turn):
        turn.say("never")
        turn.spend(tokens=5)
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            cleaned.set()

    async with kernel_of({"busy": busy}) as kernel:
        await kernel.submit("busy", task_id="b")
        await begun.wait()
        await kernel.cancel("b")
        assert (await kernel.join("b")).total_tokens_used == 5
        await cleaned.wait()
        assert texts(kernel, "b") == []


async def test_a_program_that_catches_its_cancellation_ends_all_the_same():
    begun = anyio.Event()

    async def stubborn(turn):
        begun.set()
        for _ in range(5):
            try:
                await anyio.sleep_forever()
            except BaseException:
                turn.spend(tokens=1)
        turn.say("never")
        return turn.complete("never")

    async with kernel_of({"stubborn": stubborn, "once": once}, max_concurrency=1) as kernel:
        await kernel.submit("stubborn", task_id="s")
        await begun.wait()
        await kernel.cancel("s")
        assert (await kernel.join("s")).termination == "user_abort"
        await kernel.submit("once", task_id="o")
        assert (await kernel.join("o")).ok  # its place was given back
        assert texts(kernel, "s") == []
        assert kernel.tasks.get("s").budget.total_tokens == 5


async def test_cancelling_twice_or_what_has_ended_changes_nothing():
    recorder = Recorder()
    async with kernel_of({"once": once}, hooks=[recorder]) as kernel:
        await kernel.submit("once", task_id="o")
        await kernel.join("o")
        before = recorder.saved()
        await kernel.cancel("o", "late")
        assert recorder.saved() == before
        assert (await kernel.join("o")).ok
        with pytest.raises(UnknownTaskError):
            await kernel.cancel("nobody")
        for bad in (None, 5, "\ud800"):
            with pytest.raises(InvalidValueError, match="reason"):
                await kernel.cancel("o", bad)


async def test_a_task_may_cancel_itself():
    async def program(turn):
        await turn.deps[0].cancel(turn.task.id, "by myself")
        await settle()
        return turn.complete("never")

    deps = []
    async with kernel_of({"p": program, "once": once}, deps=deps) as kernel:
        deps.append(kernel)
        await kernel.submit("p", task_id="t")
        with anyio.fail_after(5):
            assert (await kernel.join("t")).error == "by myself"
        await kernel.submit("once", task_id="o")
        assert (await kernel.join("o")).ok


async def test_a_task_cancelled_while_it_waits_for_its_place_never_runs():
    begun, go_on = anyio.Event(), anyio.Event()
    ran = []

    async def busy(turn):
        begun.set()
        await go_on.wait()
        return turn.complete()

    async def mark(turn):
        ran.append(turn.task.id)
        return turn.complete()

    async with kernel_of({"busy": busy, "mark": mark}, max_concurrency=1) as kernel:
        await kernel.submit("busy", task_id="b")
        await begun.wait()
        await kernel.submit("mark", task_id="m1")
        await kernel.submit("mark", task_id="m2")
        await kernel.cancel("m1")
        go_on.set()
        await kernel.join("m2")
        await kernel.idle()
    assert ran == ["m2"]


async def test_forget_drops_a_finished_subtree_and_nothing_else():
    recorder = Recorder()
    async with kernel_of({"tree": tree, "count": count}, hooks=[recorder]) as kernel:
        await kernel.submit("tree", task_id="t", input=2)
        await kernel.submit("count", task_id="c", input={"x": 1}, goal="g")
        await kernel.idle()
        with pytest.raises(UsageError, match="is not finished") as caught:
            await kernel.forget("t")
        assert caught.value.hint == "cancel it first"
        await kernel.cancel("t")
        await kernel.idle()
        await kernel.forget("t0")
        assert sorted(row.id for row in kernel.tasks) == ["c", "t", "t1", "t10", "t11"]
        await kernel.forget("t")
        assert [row.id for row in kernel.tasks] == ["c"]
        with pytest.raises(UnknownTaskError):
            await kernel.forget("t")
        await kernel.forget("c")
    assert set(recorder.saved().records) == {("kernel", "", 0)}
    assert {key[0] for key in recorder.saved().streams} == {"event"}


async def test_a_forgotten_id_can_be_used_again_and_starts_afresh():
    async with kernel_of({"listen": listen, "once": once}) as kernel:
        await kernel.submit("listen", task_id="t", goal="old", input=1)
        await kernel.send("t", "old", key="k")
        await kernel.idle()
        await kernel.cancel("t")
        await kernel.forget("t")
        await kernel.submit("listen", task_id="t", goal="new", input=2)
        await kernel.send("t", "new", key="k")
        await kernel.idle()
        assert texts(kernel, "t") == ["new"]
        assert kernel.tasks.get("t").goal == "new"
        assert kernel.tasks.get("t").budget.turns == 1


async def test_an_id_used_again_while_the_old_turn_is_still_leaving():
    leave, begun = anyio.Event(), anyio.Event()
    world = []

    async def pay(amount):
        world.append(amount)
        return amount

    async def stubborn(turn):
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await leave.wait()
                turn.spend(tokens=1)
                await turn.effect(pay, 1)

    async with kernel_of({"stubborn": stubborn, "once": once}) as kernel:
        await kernel.submit("stubborn", task_id="t")
        await begun.wait()
        await kernel.cancel("t")
        await kernel.forget("t")
        await kernel.submit("once", task_id="t")
        await settle()
        assert not kernel.tasks.get("t").state.is_terminal()  # the old turn has not left yet
        leave.set()
        assert (await kernel.join("t")).total_tokens_used == 0
        assert kernel.snapshot().total_tokens == 1
        assert world == []


async def test_cancel_forget_extend_are_acknowledged_when_durable():
    gate = Gate(held=False)
    async with kernel_of({"wait": wait}, hooks=[gate]) as kernel:
        await kernel.submit("wait", task_id="w")
        await kernel.idle()
        for call in (lambda: kernel.cancel("w"), lambda: kernel.forget("w")):
            gate.hold()
            done = []

            async def run(call=call, done=done):
                await call()
                done.append(True)

            async with anyio.create_task_group() as group:
                group.start_soon(run)
                await settle()
                assert done == []
                gate.open()
            assert done == [True]
        assert kinds(kernel) == {}
