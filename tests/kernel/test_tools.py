"""Tools: registered by name, called by programs and on an assistant's request, answered call by call."""

import threading

import anyio
import msgspec
import pydantic
import pytest
from kernel_kit import Failing, Gate, Recorder, count, kernel_of, kinds, settle, texts

from kernelckpt import Message, Scheduler, SchedulerBudget, ToolCall, tool
from kernelckpt.errors import InvalidValueError, UnknownToolError, UsageError


@tool(effect="idempotent")
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool
def shout(text: str) -> str:
    return text.upper()


@tool
async def fail():
    raise ValueError("no luck")


def agent(*calls):
    """A program that requests these calls once and completes with the answers."""

    async def program(turn):
        if turn.number == 1:
            return turn.request(Message.assistant("thinking", calls))
        answers = [message for message in turn.messages if message.role == "tool"]
        parts = [part for message in answers for part in message.content]
        return turn.complete(output=[[part.call_id, part.output, part.is_error] for part in parts])

    return program


async def answers(*calls, tools=(add, shout, fail), **settings):
    async with kernel_of({"p": agent(*calls)}, tools=tools, **settings) as kernel:
        await kernel.submit("p", task_id="t")
        with anyio.fail_after(10):
            return (await kernel.join("t")).output


async def test_a_program_calls_a_tool_by_name_or_by_itself():
    async def program(turn):
        return turn.complete(output=[await turn.call("add", a=1, b=2), await turn.call(shout, text="hey")])

    async with kernel_of({"p": program}, tools=[add, shout]) as kernel:
        await kernel.submit("p", task_id="t")
        assert (await kernel.join("t")).output == [3, "HEY"]


async def test_a_tool_that_is_not_registered_is_refused():
    async def program(turn):
        with pytest.raises(UnknownToolError, match="no tool 'nothing'") as caught:
            await turn.call("nothing")
        assert caught.value.hint.startswith("known tools: add; register it")
        with pytest.raises(UnknownToolError):
            await turn.call(shout, text="x")
        with pytest.raises(InvalidValueError, match="missing required field `b`"):
            await turn.call("add", a=1)
        return turn.complete("went on")

    async with kernel_of({"p": program}, tools=[add]) as kernel:
        await kernel.submit("p", task_id="t")
        assert (await kernel.join("t")).text == "went on"


async def test_bare_functions_become_tools():
    def plain(x):
        """Say what it is."""
        return [x]

    assert await answers(ToolCall("1", "plain", {"x": 5}), tools=[plain]) == [["1", "[5]", False]]


def test_tools_that_are_off_are_refused():
    for bad, text in (
        ({"tools": [add, add]}, "the same name"),
        ({"tools": [5]}, "no name"),
        ({"tools": 5}, "tools"),
    ):
        with pytest.raises(UsageError, match=text) as caught:
            Scheduler({}, run_id="r", **bad)
        assert caught.value.hint
    with pytest.raises(UsageError, match="no effect policy"):
        tool(effect="maybe")


async def test_each_call_of_a_request_is_answered_under_its_id_and_in_its_order():
    order = []

    @tool
    async def slow():
        await settle()
        order.append("slow")
        return "slow"

    @tool
    async def quick():
        order.append("quick")
        return {"quick": [1, 2]}

    calls = [ToolCall("c1", "slow"), ToolCall("c2", "quick"), ToolCall("c3", "slow")]
    assert await answers(*calls, tools=[slow, quick]) == [
        ["c1", "slow", False],
        ["c2", '{"quick":[1,2]}', False],
        ["c3", "slow", False],
    ]
    assert order == ["quick", "slow", "slow"]


async def test_what_goes_wrong_with_a_call_is_its_answer():
    calls = [
        ToolCall("1", "fail"),
        ToolCall("2", "nothing", {"x": 1}),
        ToolCall("3", "add", {"a": 1}),
        ToolCall("4", "add", [1, 2]),
        ToolCall("5", "add", {"a": 1, "b": 2}),
        ToolCall("6", ""),
    ]
    found = await answers(*calls)
    assert [entry[0] for entry in found] == ["1", "2", "3", "4", "5", "6"]
    assert [entry[2] for entry in found] == [True, True, True, True, False, True]
    assert found[0][1] == "ValueError: no luck"
    assert found[1][1] == "there is no tool 'nothing'"
    assert found[2][1] == "arguments of add: Object missing required field `b`"
    assert found[3][1] == "the arguments are not an object"
    assert found[4][1] == "3"


class Quote(pydantic.BaseModel):
    price: float


class Grid(msgspec.Struct):
    cells: dict[tuple[int, int], str]


async def test_typed_values_are_shown_as_json():
    @tool
    async def quote() -> Quote:
        return Quote(price=1.5)

    @tool
    async def grid() -> Grid:
        return Grid({(1, 2): "x"})

    @tool
    async def nothing():
        return None

    @tool
    async def raw():
        return b"\x00"

    calls = [ToolCall(name, name) for name in ("quote", "grid", "nothing", "raw")]
    found = await answers(*calls, tools=[quote, grid, nothing, raw])
    assert found[0] == ["quote", '{"price":1.5}', False]
    assert found[1][2]
    assert "no JSON form" in found[1][1]
    assert found[2:] == [["nothing", "null", False], ["raw", '"AA=="', False]]


async def test_a_request_without_calls_just_goes_on():
    assert await answers() == []


async def test_the_reply_is_committed_before_its_calls_are_made_and_joins_the_history_with_their_results():
    gate, recorder = Gate(held=False), Recorder()
    called = []

    @tool
    async def spy():
        called.append(True)
        return "ok"

    async with kernel_of({"p": agent(ToolCall("1", "spy"))}, tools=[spy], hooks=[recorder, gate]) as kernel:
        await kernel.submit("p", task_id="t")
        gate.hold()
        await settle()
        assert kinds(kernel)["t"] == ("blocked", "tool")
        assert kernel.context("t").request.text == "thinking"
        assert texts(kernel, "t") == []
        assert called == []
        gate.open()
        assert (await kernel.join("t")).output == [["1", "ok", False]]
        assert texts(kernel, "t") == ["thinking", "ok"]
        assert kernel.context("t").request is None


async def test_a_thousand_calls_in_a_request():
    calls = [ToolCall(str(number), "add", {"a": number, "b": 1}) for number in range(1000)]
    found = await answers(*calls)
    assert found == [[str(number), str(number + 1), False] for number in range(1000)]


async def test_cancel_while_tools_are_at_work():
    begun = anyio.Event()

    @tool
    async def forever():
        begun.set()
        await anyio.sleep_forever()

    async with kernel_of({"p": agent(ToolCall("1", "forever")), "count": count}, tools=[forever]) as kernel:
        await kernel.submit("p", task_id="t")
        await begun.wait()
        await kernel.cancel("t", "enough")
        result = await kernel.join("t")
        assert (result.termination, result.error) == ("user_abort", "enough")
        await kernel.submit("count", task_id="c")
        assert (await kernel.join("c")).ok


async def test_signals_and_messages_that_arrive_while_tools_are_at_work_are_kept():
    go_on = anyio.Event()

    @tool
    async def slow():
        await go_on.wait()
        return "ok"

    async def program(turn):
        if turn.number == 1:
            return turn.request(Message.assistant("", [ToolCall("1", "slow")]))
        return turn.complete(output=[message.text for message in turn.inbox])

    async with kernel_of({"p": program}, tools=[slow]) as kernel:
        await kernel.submit("p", task_id="t")
        await settle()
        await kernel.send("t", "meanwhile")
        assert kinds(kernel)["t"] == ("blocked", "tool")
        go_on.set()
        assert (await kernel.join("t")).output == ["meanwhile"]


async def test_a_budget_that_ends_with_the_request_answers_its_calls():
    called = []

    @tool
    async def spy():
        called.append(True)

    async with kernel_of({"p": agent(ToolCall("1", "spy"), ToolCall("2", "spy"))}, tools=[spy]) as kernel:
        await kernel.submit("p", task_id="t", budget=SchedulerBudget(max_turns=1))
        assert (await kernel.join("t")).termination == "max_turns"
        assert called == []
        await kernel.extend("t", SchedulerBudget(max_turns=5))
        unmade = "not made: the budget's max_turns was reached"
        assert (await kernel.join("t")).output == [["1", unmade, True], ["2", unmade, True]]


async def crashed_in_tools(*, policy):
    """The state of a kernel that died while the second of three calls was under way."""
    recorder, called = Recorder(), []
    under_way = anyio.Event()

    @tool(effect=policy)
    async def step(name):
        called.append(name)
        if name == "b" and called.count("b") == 1:
            under_way.set()
            await anyio.sleep_forever()
        return name

    program = agent(*(ToolCall(name, "step", {"name": name}) for name in "abc"))
    async with kernel_of({"p": program}, tools=[step], hooks=[recorder]) as kernel:
        await kernel.submit("p", task_id="t")
        await under_way.wait()
        await settle()
        saved = recorder.saved()
        await kernel.stop(grace=0)
    return saved, program, step, called


async def test_after_a_crash_only_the_calls_without_an_outcome_are_made():
    saved, program, step, called = await crashed_in_tools(policy="idempotent")
    async with kernel_of({"p": program}, tools=[step], hooks=[Recorder(saved)]) as kernel:
        assert (await kernel.join("t")).output == [[name, name, False] for name in "abc"]
    assert sorted(called) == ["a", "b", "b", "c"]


@pytest.mark.parametrize("approve", [True, False])
async def test_after_a_crash_a_call_in_doubt_waits_for_a_decision(approve):
    saved, program, step, called = await crashed_in_tools(policy="ask")
    async with kernel_of({"p": program}, tools=[step], hooks=[Recorder(saved)]) as kernel:
        await kernel.idle()
        (question,) = kernel.approvals()
        assert question.payload == {"effect": "step", "arguments": {"name": "b"}}
        if approve:
            await kernel.approve("t", question.key)
        else:
            await kernel.deny("t", question.key, reason="it did")
        middle = ["b", "b", False] if approve else ["b", "it did", True]
        assert (await kernel.join("t")).output == [["a", "a", False], middle, ["c", "c", False]]
    assert sorted(called) == (["a", "b", "b", "c"] if approve else ["a", "b", "c"])


async def test_after_a_crash_answers_come_in_the_order_of_the_calls_however_the_records_come():
    saved, program, step, _ = await crashed_in_tools(policy="idempotent")
    saved.records = dict(reversed(saved.records.items()))
    async with kernel_of({"p": program}, tools=[step], hooks=[Recorder(saved)]) as kernel:
        assert [entry[0] for entry in (await kernel.join("t")).output] == ["a", "b", "c"]


async def test_an_outcome_is_shown_though_its_tool_is_not_there_any_more():
    recorder, program = Recorder(), agent(ToolCall("1", "add", {"a": 1, "b": 2}))
    async with kernel_of({"p": program}, tools=[add], hooks=[recorder]) as kernel:
        await kernel.submit("p", task_id="t")
        await kernel.join("t")
    returned = [s for s in recorder.history if any(b"returned" in data for data in s.records.values())]
    async with kernel_of({"p": program}, hooks=[Recorder(returned[0])]) as kernel:
        assert (await kernel.join("t")).output == [["1", "3", False]]


async def test_when_durability_is_gone_no_call_is_begun():
    failing, called = Failing(), []

    @tool
    async def spy():
        called.append(True)

    async def program(turn):
        if turn.number == 1:
            failing.points.add("durable")
            return turn.request(Message.assistant("", [ToolCall("1", "spy"), ToolCall("2", "spy")]))
        return turn.complete("never")

    with pytest.raises(RuntimeError, match="the disk is gone"):
        async with kernel_of({"p": program}, tools=[spy], hooks=[failing]) as kernel:
            await kernel.submit("p", task_id="t")
            await kernel.join("t")
    assert called == []
    assert kinds(kernel)["t"] == ("blocked", "tool")


async def test_sync_tools_run_in_threads_and_async_ones_do_not():
    main = threading.current_thread()

    @tool
    def in_thread():
        return threading.current_thread() is main

    @tool
    async def on_loop():
        return threading.current_thread() is main

    calls = [ToolCall("1", "in_thread"), ToolCall("2", "on_loop")]
    assert await answers(*calls, tools=[in_thread, on_loop]) == [["1", "false", False], ["2", "true", False]]
