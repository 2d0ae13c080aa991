"""A turn is a transaction: what it reads, what it stages, what survives of it."""

import anyio
import msgspec
import pytest
from kernel_kit import Recorder, kernel_of, settle, texts

from kernelckpt import Message, PlanStep, SchedulerBudget, ToolCall
from kernelckpt.errors import InvalidValueError, UsageError
from kernelckpt.model.task_state import TaskState


async def run_once(program, **settings):
    """Run one task of a program to its end; the scheduler (left) and the result."""
    async with kernel_of({"p": program}, **settings) as kernel:
        await kernel.submit("p", task_id="t", goal="the goal", input={"n": 1})
        with anyio.fail_after(10):
            result = await kernel.join("t")
        return kernel, result


async def test_the_first_program_of_the_documentation():
    async def program(turn):
        turn.say(f"turn {turn.number}")
        turn.spend(tokens=10)
        if turn.number == 5:
            return turn.complete("counted")
        return None

    kernel, result = await run_once(program)
    assert result.ok
    assert result.text == "counted"
    assert (result.turns_used, result.total_tokens_used) == (5, 50)
    assert texts(kernel, "t") == [f"turn {number}" for number in range(1, 6)]
    assert kernel.tasks.get("t").budget.turns == 5
    assert kernel.turn == 5


async def test_a_turn_reads_its_task():
    seen = {}

    async def program(turn):
        seen.update(number=turn.number, attempt=turn.attempt, goal=turn.goal, input=turn.input)
        seen.update(state=turn.state, deps=turn.deps, task=turn.task.id, inbox=turn.inbox)
        seen.update(signals=turn.signals, approvals=turn.approvals, results=turn.results)
        seen.update(messages=list(turn.messages), plan=turn.context.plan.goal)
        return turn.complete()

    deps = object()
    await run_once(program, deps=deps)
    assert seen == {
        "number": 1,
        "attempt": 1,
        "goal": "the goal",
        "input": {"n": 1},
        "state": None,
        "deps": deps,
        "task": "t",
        "inbox": [],
        "signals": [],
        "approvals": {},
        "results": {},
        "messages": [],
        "plan": "the goal",
    }


async def test_what_is_staged_is_applied_in_one_commit():
    recorder = Recorder()

    async def program(turn):
        if turn.number == 1:
            turn.say("one")
            turn.append(Message.user("two"))
            turn.append(Message.system("rules"), partition="system")
            turn.append(Message.user("fact"), partition="knowledge")
            turn.set_state({"step": 1})
            turn.plan(["a", PlanStep("b", done=True)], current_step=0)
            turn.progress("half")
            turn.directive("be brief")
            assert texts(turn.deps["kernel"], "t") == []
            return None
        return turn.complete()

    deps = {}
    async with kernel_of({"p": program}, hooks=[recorder], deps=deps) as kernel:
        deps["kernel"] = kernel
        await kernel.submit("p", task_id="t")
        await kernel.join("t")
        context = kernel.context("t")
        assert texts(kernel, "t") == ["one", "two"]
        assert [message.text for message in context.system] == ["rules"]
        assert [message.text for message in context.knowledge] == ["fact"]
        assert [step.label for step in context.plan.plan] == ["a", "b"]
        assert context.plan.open_steps == ("a",)
        assert (context.plan.progress, context.plan.directives) == ("half", ("be brief",))
    ended = [commit for commit in recorder.commits if commit.ended_turn]
    assert len(ended) == 2
    kinds = sorted({change.key[0] for change in ended[0].changes})
    assert kinds == ["context", "history", "kernel", "knowledge", "state", "system", "task"]


async def test_a_commit_holds_a_row_once_as_it_is_by_then():
    recorder = Recorder()

    async def program(turn):
        turn.say("on we go")
        if turn.number == 3:
            return turn.complete()
        row = turn.deps["kernel"].tasks.get("t")
        assert (row.state, row.attempt) == (TaskState.RUNNING, 1), "it sees itself at work"
        if turn.number == 2:
            await settle()
        return None

    deps = {}
    async with kernel_of({"p": program}, hooks=[recorder], deps=deps) as kernel:
        deps["kernel"] = kernel
        await kernel.submit("p", task_id="t")
        await kernel.join("t")
    rows = [
        [change.record for change in commit.changes if change.key == ("task", "t", 0)]
        for commit in recorder.commits
    ]
    assert [[(row.state.kind, row.budget.turns) for row in found] for found in rows if found] == [
        [("ready", 0)],
        [("ready", 1)],
        [("running", 1)],
        [("ready", 2)],
        [("done", 3)],
    ]


async def test_state_set_in_a_turn_is_read_back_in_it():
    async def program(turn):
        turn.set_state({"a": 1})
        turn.set_state({"a": turn.state["a"] + 1})
        return turn.complete(output=turn.state)

    _, result = await run_once(program)
    assert result.output == {"a": 2}


async def test_an_exception_leaves_no_trace_of_what_was_staged_but_what_was_spent():
    recorder = Recorder()

    async def program(turn):
        turn.say("never")
        turn.set_state({"never": True})
        turn.spawn("p", task_id="never")
        turn.directive("never")
        turn.append(Message.system("never"), partition="system")
        turn.spend(tokens=7, cost_micros=3)
        raise ValueError("out of luck")

    kernel, result = await run_once(program, hooks=[recorder])
    assert result.termination == "error"
    assert result.error.startswith("ValueError: out of luck (test_turn.py:")
    assert result.total_tokens_used == 7
    row = kernel.tasks.get("t")
    assert (row.budget.total_tokens, row.budget.cost_micros, row.budget.turns) == (7, 3, 0)
    assert "never" not in kernel.tasks
    assert kernel.context("t").plan.directives == ()
    assert b"never" not in b"".join(recorder.saved().records.values())
    assert set(recorder.saved().streams) == set()


async def test_a_cancelled_turn_leaves_no_trace_even_if_its_program_catches_the_cancellation():
    recorder = Recorder()
    begun = anyio.Event()

    async def program(turn):
        turn.say("never")
        turn.spend(tokens=5)
        begun.set()
        try:
            await anyio.sleep_forever()
        except BaseException:
            turn.say("never more")
            return turn.complete("never")

    async with kernel_of({"p": program}, hooks=[recorder]) as kernel:
        await kernel.submit("p", task_id="t")
        await begun.wait()
        await kernel.stop(grace=0)
    assert kernel.tasks.get("t").state.label() == "ready"
    assert kernel.tasks.get("t").budget.total_tokens == 5
    assert kernel.tasks.get("t").attempt == 1
    assert not recorder.saved().streams


async def test_what_was_read_is_consumed_only_by_the_commit():
    seen = []

    async def program(turn):
        seen.append([message.text for message in turn.inbox])
        if len(seen) == 1:
            raise RuntimeError("first attempt")
        return turn.complete()

    async with kernel_of({"p": program}) as kernel:
        await kernel.submit("p", task_id="t", budget=SchedulerBudget(max_turns=0))
        await kernel.join("t")
        await kernel.extend("t", SchedulerBudget(max_turns=5))
        await kernel.send("t", "hello")
        await kernel.join("t")
        assert [e.message.text for e in kernel.snapshot().inbox["t"].values()] == ["hello"]


async def test_what_is_given_to_the_kernel_and_mutated_afterwards_does_not_change_the_state():
    given = {"list": [1]}
    arguments = {"path": ["a"]}

    async def program(turn):
        if turn.number == 1:
            turn.set_state(given)
            given["list"].append("changed")
            turn.append(Message.assistant("m", [ToolCall("1", "x", arguments)]))
            arguments["path"].append("changed")
            return None
        return turn.complete(output={"state": turn.state, "args": turn.messages[0].tool_calls[0].arguments})

    _, result = await run_once(program)
    assert result.output == {"state": {"list": [1]}, "args": {"path": ["a"]}}


async def test_what_is_read_from_the_kernel_and_mutated_does_not_change_the_state():
    async def program(turn):
        turn.input["n"] = "changed"
        if turn.number == 1:
            turn.set_state({"list": [1]})
            turn.append(Message.assistant("m", [ToolCall("1", "x", {"path": ["a"]})]))
            return None
        turn.state["list"].append("changed")
        turn.messages[0].tool_calls[0].arguments["path"].append("changed")
        return turn.complete(
            output={
                "input": turn.input,
                "state": turn.state,
                "args": turn.messages[0].tool_calls[0].arguments,
            }
        )

    kernel, result = await run_once(program)
    expected = {"input": {"n": 1}, "state": {"list": [1]}, "args": {"path": ["a"]}}
    assert result.output == expected
    result.output["state"]["list"].append("changed")
    kernel.tasks.get("t").result.output["state"]["list"].append("changed")
    next(iter(kernel.tasks)).result.output["input"].clear()
    kernel.tasks.children_of(None)[0].result.output.clear()
    kernel.tasks.all()[0].result.output.clear()
    assert kernel.tasks.get("t").result.output == expected


async def test_the_table_is_there_to_look_at():
    kernel, _ = await run_once(lambda_program)
    row = kernel.tasks.get("t")
    for change in (kernel.tasks.insert, kernel.tasks.put, kernel.tasks.begin):
        with pytest.raises(UsageError, match="submit"):
            change(row)
    with pytest.raises(UsageError, match="forget"):
        kernel.tasks.remove("t")
    assert len(kernel.tasks) == 1
    assert "t" in kernel.tasks
    assert kernel.tasks.get("nobody") is None


async def lambda_program(turn):
    return turn.complete()


BAD_CALLS = {
    "say": lambda turn: turn.say(5),
    "say surrogate": lambda turn: turn.say("\ud800"),
    "append text": lambda turn: turn.append("hello"),
    "append role": lambda turn: turn.append(Message("wizard", "hello")),
    "append count": lambda turn: turn.append(Message("user", "hello", token_count=-1)),
    "append arguments": lambda turn: turn.append(Message.assistant("x", [ToolCall("1", "t", {"a": (1,)})])),
    "append partition": lambda turn: turn.append(Message.user("x"), partition="attic"),
    "set_state object": lambda turn: turn.set_state(object()),
    "set_state tuple": lambda turn: turn.set_state((1, 2)),
    "set_state set": lambda turn: turn.set_state({"a": {1}}),
    "set_state key": lambda turn: turn.set_state({1: "a"}),
    "set_state int": lambda turn: turn.set_state(2**70),
    "plan text": lambda turn: turn.plan("abc"),
    "plan surrogate": lambda turn: turn.plan(["\ud800"]),
    "plan number": lambda turn: turn.plan([5]),
    "plan step": lambda turn: turn.plan(["a"], current_step=1),
    "plan step bool": lambda turn: turn.plan(["a", "b"], current_step=True),
    "progress": lambda turn: turn.progress(None),
    "directive": lambda turn: turn.directive(b"bytes"),
    "spend negative": lambda turn: turn.spend(tokens=-1),
    "spend float": lambda turn: turn.spend(tokens=1.5),
    "spend bool": lambda turn: turn.spend(tokens=True),
    "spend huge": lambda turn: turn.spend(tokens=2**63),
    "spend cost": lambda turn: turn.spend(cost_micros="1"),
    "sleep negative": lambda turn: turn.sleep(-1),
    "sleep nan": lambda turn: turn.sleep(float("nan")),
    "sleep infinite": lambda turn: turn.sleep(float("inf")),
    "sleep huge": lambda turn: turn.sleep(1e300),
    "sleep text": lambda turn: turn.sleep("1"),
    "complete": lambda turn: turn.complete(5),
    "complete output": lambda turn: turn.complete(output=object()),
    "fail": lambda turn: turn.fail(None),
    "external": lambda turn: turn.wait_external(None),
    "external message": lambda turn: turn.wait_external("message"),
    "ask key": lambda turn: turn.ask_approval(5, "?"),
    "ask effect": lambda turn: turn.ask_approval("effect:1", "?"),
    "ask payload": lambda turn: turn.ask_approval("k", "?", payload={"a": {1}}),
    "ask timeout": lambda turn: turn.ask_approval("k", "?", timeout=-1),
    "request text": lambda turn: turn.request("hello"),
    "request user": lambda turn: turn.request(Message.user("hello")),
    "request twice": lambda turn: turn.request(
        Message.assistant("", [ToolCall("1", "a"), ToolCall("1", "b")])
    ),
    "request no id": lambda turn: turn.request(Message.assistant("", [ToolCall("", "a")])),
    "request arguments": lambda turn: turn.request(Message.assistant("", [ToolCall("1", "a", {"x": {1}})])),
    "join stranger": lambda turn: turn.join("stranger"),
    "join itself": lambda turn: turn.join("t"),
    "join list": lambda turn: turn.join(["a", "b"]),
    "spawn program": lambda turn: turn.spawn("nothing"),
    "spawn function": lambda turn: turn.spawn(lambda_program),
    "spawn list": lambda turn: turn.spawn([]),
    "spawn id": lambda turn: turn.spawn("p", task_id=""),
    "spawn own id": lambda turn: turn.spawn("p", task_id="t"),
    "spawn role": lambda turn: turn.spawn("p", role="king"),
    "spawn isolation": lambda turn: turn.spawn("p", isolation="attic"),
    "spawn budget": lambda turn: turn.spawn("p", budget=SchedulerBudget(max_turns=-1)),
    "spawn budget type": lambda turn: turn.spawn("p", budget=5),
    "spawn caps": lambda turn: turn.spawn("p", caps="read"),
    "spawn input": lambda turn: turn.spawn("p", input=object()),
    "spawn messages": lambda turn: turn.spawn("p", messages=["hello"]),
    "spawn one message": lambda turn: turn.spawn("p", messages=Message.user("hello")),
}


@pytest.mark.parametrize("name", BAD_CALLS)
async def test_a_bad_argument_is_refused_where_it_is_given_and_changes_nothing(name):
    caught = []

    async def program(turn):
        with pytest.raises(UsageError) as caught_here:
            BAD_CALLS[name](turn)
        caught.append(caught_here.value)
        return turn.complete("went on")

    kernel, result = await run_once(program)
    assert result.text == "went on"
    assert caught[0].hint
    assert len(kernel.tasks) == 1
    assert texts(kernel, "t") == []


async def test_errors_name_the_path_of_what_is_off():
    paths = []

    async def program(turn):
        for call in (
            lambda: turn.set_state({"a": [1, {"b": {2}}]}),
            lambda: turn.append(Message.assistant("x", [ToolCall("1", "t", {"a": [(1,)]})])),
            lambda: turn.spawn("p", messages=[Message.user("x"), Message("user", "y", token_count=-2)]),
            lambda: turn.spawn("p", caps=["a", 5]),
        ):
            with pytest.raises(InvalidValueError) as caught:
                call()
            paths.append(caught.value.path)
        return turn.complete()

    await run_once(program)
    assert paths == [
        "state.a[1].b",
        "message.tool_calls[0].arguments.a[0]",
        "messages[1].token_count",
        "caps[1]",
    ]


@pytest.mark.parametrize("text", ["", "日本語 🦜 \x00", "x" * 3_000_000])
async def test_text_of_any_kind_is_kept_exactly(text):
    async def program(turn):
        turn.say(text)
        turn.set_state({text: [text]})
        turn.progress(text)
        return turn.complete(text, output=text)

    kernel, result = await run_once(program)
    assert (result.text, result.output) == (text, text)
    assert texts(kernel, "t") == [text]
    assert kernel.context("t").plan.progress == text


async def test_ten_thousand_messages_in_a_turn():
    async def program(turn):
        for number in range(10_000):
            turn.say(str(number))
        return turn.complete()

    kernel, _ = await run_once(program)
    assert len(kernel.context("t").history) == 10_000
    assert kernel.context("t").history[-1].text == "9999"


async def test_drafts_are_shown_and_not_kept():
    recorder = Recorder()

    async def program(turn):
        turn.emit("dra")
        turn.emit("ft")
        return turn.complete("text")

    async with kernel_of({"p": program}, hooks=[recorder]) as kernel:
        events = kernel.events("t")
        await kernel.submit("p", task_id="t")
        await kernel.join("t")
    drafts = [event.data["delta"] async for event in events if event.kind == "draft"]
    assert drafts == ["dra", "ft"]
    assert b"dra" not in b"".join(recorder.saved().records.values())


async def test_a_turn_that_was_kept_stages_nothing_after_its_end():
    kept = []

    async def program(turn):
        kept.append(turn)
        turn.say("once")
        if turn.number == 2:
            return turn.complete()
        return None

    async with kernel_of({"p": program}) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.join("t")
        for stage in (
            lambda: kept[0].say("late"),
            lambda: kept[0].set_state(1),
            lambda: kept[0].spawn("p"),
            kept[0].complete,
        ):
            with pytest.raises(UsageError, match="turn 1 of 't' is over"):
                stage()
        with pytest.raises(UsageError, match="over"):
            await kept[0].effect(settle)
        assert texts(kernel, "t") == ["once", "once"]


async def test_what_is_spent_is_charged_at_once_to_task_and_kernel():
    seen = []

    async def program(turn):
        turn.spend(tokens=3)
        turn.spend(cost_micros=5)
        turn.spend()
        row = turn.deps[0].tasks.get("t")
        seen.append((row.budget.total_tokens, row.budget.cost_micros, turn.deps[0].snapshot().total_tokens))
        seen.append(turn.task.budget.total_tokens)
        return turn.complete()

    deps = []
    async with kernel_of({"p": program}, deps=deps) as kernel:
        deps.append(kernel)
        await kernel.submit("p", task_id="t")
        await kernel.join("t")
    assert seen == [(3, 5, 3), 0]


async def test_an_uncaught_bad_value_fails_the_task_and_says_where():
    async def program(turn):
        turn.set_state({"a": object()})

    _, result = await run_once(program)
    assert result.termination == "error"
    assert result.error.startswith("InvalidValueError: state.a: a object cannot be kept (use None")


async def test_an_exception_whose_text_cannot_be_had_fails_its_task_only():
    class BrokenError(Exception):
        def __str__(self):
            raise RuntimeError("no text")

    async def program(turn):
        raise BrokenError

    async def lone(turn):
        raise ValueError("\ud800")

    async with kernel_of({"p": program, "lone": lone}) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.submit("lone", task_id="l")
        result = await kernel.join("t")
        assert "BrokenError: its text cannot be had: RuntimeError" in result.error
        assert (await kernel.join("l")).error.startswith("ValueError: ?")


async def test_records_of_a_turn_hold_what_msgpack_can():
    recorder = Recorder()

    async def program(turn):
        turn.set_state(
            {"n": None, "b": True, "i": 2**64 - 1, "j": -(2**63), "f": 1.5, "s": "x", "y": b"\x00"}
        )
        return turn.complete(output=turn.state)

    _, result = await run_once(program, hooks=[recorder])
    state = msgspec.msgpack.decode(recorder.saved().records["state", "t", 0])
    assert msgspec.msgpack.decode(state["data"]) == result.output
