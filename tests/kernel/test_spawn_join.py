"""Children: spawned with the commit of their parent's turn, joined, ended, forgotten; thousands of them."""

import anyio
import pytest
from kernel_kit import Gate, Recorder, count, kernel_of, kinds, once, settle

from kernelckpt import AgentIsolation, AgentRole, Message, SchedulerBudget
from kernelckpt.errors import SchedulerStopped, UnknownTaskError, UsageError


async def child(turn):
    """Complete with the doubled input."""
    turn.spend(tokens=turn.input)
    return turn.complete(f"child {turn.input}", output=turn.input * 2)


async def parent(turn):
    """Spawn as many children as the input says, join them, add up what they give."""
    if turn.number == 1:
        return turn.join(*[turn.spawn("child", input=number) for number in range(turn.input)])
    return turn.complete(output=sum(result.output for result in turn.results.values()))


async def wait(turn):
    return turn.wait_external("door")


async def test_a_parent_joins_its_children_and_reads_their_results():
    async with kernel_of({"parent": parent, "child": child}) as kernel:
        await kernel.submit("parent", task_id="p", input=3)
        assert (await kernel.join("p")).output == 6
        assert [row.id for row in kernel.tasks.children_of("p")] == ["p/child-1", "p/child-2", "p/child-3"]
        assert (await kernel.join("p/child-3")).text == "child 2"
        row = kernel.tasks.get("p/child-3")
        assert row.proc.result.agent_id == "p/child-3"
        assert row.proc.result.result.total_tokens_used == 2
        assert row.parent == "p"


async def test_a_child_carries_everything_it_was_given():
    async def look(turn):
        return turn.complete(output=[turn.goal, turn.input, [m.text for m in turn.messages]])

    async def boss(turn):
        if turn.number == 1:
            name = turn.spawn(
                "look",
                goal="see",
                input={"n": 1},
                role="explore",
                isolation="read_only",
                budget=SchedulerBudget(max_turns=3),
                caps=["read"],
                messages=[Message.user("hello")],
                task_id="named",
            )
            assert name == "named"
            return turn.join(name)
        return turn.complete(output=turn.results["named"].output)

    async with kernel_of({"look": look, "boss": boss}) as kernel:
        await kernel.submit("boss", task_id="b")
        assert (await kernel.join("b")).output == ["see", {"n": 1}, ["hello"]]
        row = kernel.tasks.get("named")
        assert (row.proc.role, row.proc.isolation) == (AgentRole.EXPLORE, AgentIsolation.READ_ONLY)
        assert (row.budget.limits.max_turns, row.caps, row.changed_turn > 0) == (3, ("read",), True)


async def test_a_child_does_not_exist_before_the_commit():
    seen = []

    async def boss(turn):
        name = turn.spawn("once")
        await settle()
        seen.append(name in turn.deps[0].tasks)
        return turn.complete()

    deps = []
    async with kernel_of({"boss": boss, "once": once}, deps=deps) as kernel:
        deps.append(kernel)
        await kernel.submit("boss", task_id="b")
        await kernel.join("b")
        assert seen == [False]
        assert (await kernel.join("b/once-1")).ok


async def test_ids_of_children_are_the_same_when_the_turn_is_run_again():
    ids = []

    async def boss(turn):
        ids.append([turn.spawn("once"), turn.spawn("once", task_id="x"), turn.spawn("once")])
        if len(ids) == 1:
            await turn.deps.wait()
        return turn.complete() if turn.number == 2 else None

    recorder = Recorder()
    async with kernel_of({"boss": boss, "once": once}, hooks=[recorder], deps=anyio.Event()) as kernel:
        await kernel.submit("boss", task_id="b")
        await settle()
        await kernel.stop(grace=0)
    async with kernel_of({"boss": boss, "once": once}, hooks=[Recorder(recorder.saved())]) as kernel:
        await kernel.idle()
        assert ids[:2] == [["b/once-1", "x", "b/once-3"]] * 2
        assert "exists already" in (await kernel.join("b")).error


async def test_join_without_names_means_all_live_children():
    async def boss(turn):
        if turn.number == 1:
            turn.spawn("once", task_id="early")
            return turn.sleep(0)
        if turn.number == 2:
            turn.spawn("wait", task_id="late")
            turn.spawn("once", task_id="quick")
            return turn.join()
        return turn.complete(output=sorted(turn.results))

    async with kernel_of({"boss": boss, "once": once, "wait": wait}) as kernel:
        await kernel.submit("boss", task_id="b")
        await kernel.idle()
        assert set(kernel.tasks.get("b").wait.children) == {"late"}
        await kernel.cancel("late")
        assert (await kernel.join("b")).output in (["late", "quick"], ["early", "late", "quick"])


async def test_joining_nothing_or_what_has_ended_takes_the_next_turn_at_once():
    async def boss(turn):
        if turn.number == 1:
            return turn.join()
        if turn.number == 2:
            turn.spawn("once", task_id="c")
            return turn.join("c", "c")
        if turn.number == 3:
            return turn.join("c")
        return turn.complete(output=sorted(turn.results))

    async with kernel_of({"boss": boss, "once": once}) as kernel:
        await kernel.submit("boss", task_id="b")
        with anyio.fail_after(5):
            assert (await kernel.join("b")).output == ["c"]


async def test_results_are_there_for_one_turn():
    async def boss(turn):
        if turn.number == 1:
            return turn.join(turn.spawn("once", task_id="c"))
        if turn.number == 2:
            assert list(turn.results) == ["c"]
            turn.say("seen")
            return None
        return turn.complete(output=list(turn.results))

    async with kernel_of({"boss": boss, "once": once}) as kernel:
        await kernel.submit("boss", task_id="b")
        assert (await kernel.join("b")).output == []


async def test_failed_and_cancelled_children_end_a_join_too():
    async def wrong(turn):
        raise ValueError("no")

    async def boss(turn):
        if turn.number == 1:
            for name in ("wrong", "wait", "forever"):
                turn.spawn(name, task_id=name, budget=SchedulerBudget(max_turns=2))
            return turn.join()
        return turn.complete(output={name: str(result.termination) for name, result in turn.results.items()})

    async def forever(turn):
        turn.say("x")

    programs = {"boss": boss, "wrong": wrong, "wait": wait, "forever": forever}
    async with kernel_of(programs) as kernel:
        await kernel.submit("boss", task_id="b")
        await kernel.idle()
        await kernel.cancel("wait", "enough")
        assert (await kernel.join("b")).output == {
            "wrong": "error",
            "wait": "user_abort",
            "forever": "max_turns",
        }


async def test_an_id_taken_between_spawn_and_commit_fails_the_turn_whole():
    go_on = anyio.Event()

    async def boss(turn):
        turn.say("never")
        turn.spawn("once", task_id="first")
        turn.spawn("once", task_id="taken")
        await go_on.wait()
        return turn.join()

    async with kernel_of({"boss": boss, "once": once, "wait": wait}) as kernel:
        await kernel.submit("boss", task_id="b")
        await settle()
        await kernel.submit("wait", task_id="taken")
        go_on.set()
        assert "task 'taken' exists already" in (await kernel.join("b")).error
        assert "first" not in kernel.tasks
        assert len(kernel.context("b").history) == 0
        assert kernel.tasks.get("taken").program == "wait"


async def test_a_child_forgotten_between_join_and_commit_fails_the_turn_whole():
    go_on = anyio.Event()
    recorder = Recorder()

    async def boss(turn):
        if turn.number == 1:
            turn.spawn("once", task_id="c")
            return turn.wait_external("door")
        chosen = turn.join("c")
        turn.emit("joined")
        await go_on.wait()
        return chosen

    async with kernel_of({"boss": boss, "once": once}, hooks=[recorder]) as kernel:
        await kernel.submit("boss", task_id="b")
        await kernel.idle()
        await kernel.resume("b")
        await settle()
        await kernel.forget("c")
        go_on.set()
        assert "no task 'c'" in (await kernel.join("b")).error
        assert kernel.tasks.get("b").budget.turns == 1


async def test_a_grandchild_is_joined_by_its_own_parent_only():
    async def boss(turn):
        if turn.number == 1:
            turn.spawn("middle", task_id="m")
            return turn.join()
        with pytest.raises(UsageError, match="not a child of 'b'"):
            turn.join("g")
        return turn.complete(output=list(turn.results))

    async def middle(turn):
        if turn.number == 1:
            return turn.join(turn.spawn("once", task_id="g"))
        return turn.complete(output=list(turn.results))

    async with kernel_of({"boss": boss, "middle": middle, "once": once}) as kernel:
        await kernel.submit("boss", task_id="b")
        assert (await kernel.join("b")).output == ["m"]
        assert (await kernel.join("m")).output == ["g"]


@pytest.mark.parametrize("children", [10_000])
async def test_ten_thousand_children(children):
    recorder = Recorder()
    recorder.on_commit = lambda kernel, commit: written.append(
        sum(len(change.record.wait.children) for change in commit.changes if is_row(change, "p"))
    )
    written = []

    def is_row(change, task_id):
        return change.key == ("task", task_id, 0) and getattr(change.record, "wait", None) is not None

    async with kernel_of({"parent": parent, "child": child}, hooks=[recorder]) as kernel:
        await kernel.submit("parent", task_id="p", input=children)
        result = await kernel.join("p")
        assert result.output == children * (children - 1)
        assert kernel.snapshot().total_tokens == children * (children - 1) // 2
    assert sum(written) < 5 * children  # the join list is not written anew for each child that ends


async def test_a_small_join_names_exactly_who_is_waited_for():
    async def boss(turn):
        if turn.number == 1:
            for name in "abc":
                turn.spawn("wait", task_id=name)
            return turn.join("a", "b")
        return turn.complete(output=sorted(turn.results))

    async with kernel_of({"boss": boss, "wait": wait}) as kernel:
        await kernel.submit("boss", task_id="p")
        await kernel.idle()
        assert kernel.tasks.get("p").wait.children == ("a", "b")
        await kernel.cancel("c")
        assert kernel.tasks.get("p").wait.children == ("a", "b")
        await kernel.cancel("a")
        assert kernel.tasks.get("p").wait.children == ("b",)
        await kernel.cancel("b")
        assert (await kernel.join("p")).output == ["a", "b"]


@pytest.mark.parametrize("names", [("w",), ()])
async def test_what_a_join_returns_is_durable(names):
    gate, results = Gate(held=False), []
    async with kernel_of({"wait": wait}, hooks=[gate]) as kernel:
        await kernel.submit("wait", task_id="w")

        async def join():
            results.append(await kernel.join(*names))

        async with anyio.create_task_group() as group:
            group.start_soon(join)
            await settle()
            gate.hold()
            group.start_soon(kernel.cancel, "w")
            await settle()
            assert kinds(kernel)["w"] == ("done", None)
            assert results == []
            gate.open()
        assert len(results) == 1


async def test_join_from_outside_returns_only_what_is_durable():
    gate = Gate(held=False)
    async with kernel_of({"wait": wait, "once": once}, hooks=[gate]) as kernel:
        gate.hold()
        results = []

        async def submit_and_join():
            await kernel.submit("once", task_id="o")
            results.append("submitted")
            results.append(await kernel.join("o"))

        async with anyio.create_task_group() as group:
            group.start_soon(submit_and_join)
            await settle()
            assert kinds(kernel)["o"] == ("done", None)
            assert results == []
            gate.open()
        assert results[1].ok
        assert gate.asked[-1] >= kernel.commit_number


async def test_many_may_join_the_same_task_and_a_join_that_is_cancelled_disturbs_nobody():
    async with kernel_of({"wait": wait}) as kernel:
        await kernel.submit("wait", task_id="w")
        results = []

        async def join():
            results.append((await kernel.join("w")).termination)

        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(join)
            with anyio.move_on_after(0) as scope:
                await kernel.join("w")
            assert scope.cancelled_caught
            await kernel.cancel("w")
        assert results == ["user_abort"] * 5


async def test_joining_a_stranger_raises():
    async with kernel_of() as kernel:
        with pytest.raises(UnknownTaskError, match="no task 'nobody'") as caught:
            await kernel.join("nobody")
        assert caught.value.hint
        assert await kernel.join() == {}


async def test_a_join_that_the_stop_overtakes_raises():
    async with kernel_of({"wait": wait}) as kernel:
        await kernel.submit("wait", task_id="w")
        caught = []

        async def join(*task_id):
            with pytest.raises(SchedulerStopped, match="before 'w' ended"):
                await kernel.join(*task_id)
            caught.append(task_id)

        async with anyio.create_task_group() as group:
            group.start_soon(join, "w")
            group.start_soon(join)
            await settle()
            await kernel.stop()
        assert sorted(caught) == [(), ("w",)]
        await join("w")


async def test_join_of_all_gives_every_root_even_those_that_are_not_kept():
    async with kernel_of({"count": count, "parent": parent, "child": child}, keep_done=2) as kernel:
        for number in range(20):
            await kernel.submit("count", task_id=f"c{number}")
        await kernel.submit("parent", task_id="p", input=2)
        results = await kernel.join()
        assert set(results) == {"p", *(f"c{number}" for number in range(20))}
        await kernel.idle()
        assert len(kernel.tasks.children_of(None)) == 2


async def test_keep_done_keeps_the_newest_finished_roots_with_their_children():
    recorder = Recorder()
    async with kernel_of(
        {"once": once, "parent": parent, "child": child}, keep_done=1, hooks=[recorder]
    ) as kernel:
        await kernel.submit("once", task_id="a")
        await kernel.idle()
        await kernel.submit("parent", task_id="p", input=3)
        await kernel.idle()
        assert "a" not in kernel.tasks
        assert len(kernel.tasks) == 4
        await kernel.submit("once", task_id="b")
        await kernel.idle()
        assert [row.id for row in kernel.tasks] == ["b"]
        assert {key[1] for key in recorder.saved().records} == {"", "b"}
        assert {key[0] for key in recorder.saved().streams} == {"event"}


async def test_a_finished_root_with_living_children_is_kept():
    async def boss(turn):
        turn.spawn("wait", task_id="c")
        return turn.complete()

    async with kernel_of({"boss": boss, "wait": wait, "once": once}, keep_done=0) as kernel:
        await kernel.submit("boss", task_id="b")
        await kernel.submit("once", task_id="o")
        await kernel.idle()
        assert sorted(row.id for row in kernel.tasks) == ["b", "c"]
        await kernel.cancel("c")
        await kernel.submit("once", task_id="o")
        await kernel.idle()
        assert len(kernel.tasks) == 0
