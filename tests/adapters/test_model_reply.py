"""What becomes of a reply: what it has cost by prices given as data, and how a turn ends with it."""

import subprocess
import sys
from fractions import Fraction
from math import ceil

import pytest
from adapter_strategies import usages
from hypothesis import given
from hypothesis import strategies as st

from kernelckpt import Charge, Message, Role, Scheduler, ToolCall, ToolSchema, tool
from kernelckpt.adapters import ModelReply, Prices, StopReason, Usage, anthropic, openai
from kernelckpt.errors import InvalidValueError

PRICES = Prices(
    input=2_500_000, output=10_000_000, cached=1_250_000, cache_write=3_125_000, cache_write_1h=5_000_000
)


def reply(stop=StopReason.END, text="Hello.", calls=(), **fields):
    return ModelReply(Message.assistant(text, calls), stop, **fields)


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        (Usage(), 0),
        (Usage(1_000_000), 2_500_000),
        (Usage(0, 1_000_000), 10_000_000),
        (Usage(1_000_000, cached_tokens=400_000), 600_000 * 2.5 + 400_000 * 1.25),
        (
            Usage(1_000_000, cache_write_tokens=200_000, cache_write_1h_tokens=100_000),
            2_000_000 + 312_500 + 500_000,
        ),
        (Usage(0, 100, reasoning_tokens=90), 1000),
        (Usage(1), 3),  # 2.5, rounded up
        (Usage(1, cached_tokens=1), 2),
    ],
)
def test_what_a_call_has_cost(usage, cost):
    assert PRICES.cost_micros(usage) == cost


@given(
    usage=usages(cache_writes=True, audio=True),
    prices=st.lists(st.integers(0, 10**9), min_size=6, max_size=6),
)
def test_a_cost_is_the_exact_one_rounded_up_and_what_has_no_price_of_its_own_costs_as_input(usage, prices):
    names = ("input", "output", "cached", "cache_write", "cache_write_1h", "audio")
    named = dict(zip(names, prices, strict=True))
    plain = usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens - usage.audio_tokens
    written = usage.cache_write_tokens - usage.cache_write_1h_tokens
    amounts = (
        plain,
        usage.output_tokens,
        usage.cached_tokens,
        written,
        usage.cache_write_1h_tokens,
        usage.audio_tokens,
    )
    exact = sum(Fraction(tokens * price, 1_000_000) for tokens, price in zip(amounts, prices, strict=True))
    assert Prices(**named).cost_micros(usage) == ceil(exact)
    two = {name: named[name] for name in ("input", "output")}
    all_alike = Prices(
        **two, cached=prices[0], cache_write=prices[0], cache_write_1h=prices[0], audio=prices[0]
    )
    assert Prices(**two).cost_micros(usage) == all_alike.cost_micros(usage)


@pytest.mark.parametrize("price", [-1, 2.5, True, "1", None])
def test_what_is_no_price_is_refused(price):
    with pytest.raises(InvalidValueError) as caught:
        Prices(input=1, output=price)
    assert caught.value.path == "prices.output"
    if price is not None:
        with pytest.raises(InvalidValueError):
            Prices(input=1, output=1, audio=price)


def test_a_reply_whose_usage_is_not_known_has_no_charge():
    with pytest.raises(InvalidValueError, match="include_usage"):
        PRICES.charge(reply())
    with pytest.raises(InvalidValueError, match="2 tokens"):
        PRICES.charge(reply(usage=Usage(1, 1, cached_tokens=2)))
    assert PRICES.charge(reply(usage=Usage(10, 2))) == Charge(12, 45)


async def ended_with(*replies, tools=()):
    """The result of a task whose turns end with replies, and its history."""
    left = list(replies)

    async def program(turn):
        return left.pop(0).end(turn)

    async with Scheduler({"p": program}, run_id="r", tools=tools) as kernel:
        await kernel.submit("p", task_id="t")
        result = await kernel.join("t")
        return result, list(kernel.context("t").history)


async def test_an_answer_completes_the_task_and_is_part_of_its_history():
    result, history = await ended_with(reply(text="Done."))
    assert (result.ok, result.text, history) == (True, "Done.", [Message.assistant("Done.")])


async def test_an_answer_that_says_nothing_leaves_nothing_in_the_history():
    result, history = await ended_with(reply(text=""))
    assert (result.ok, result.text, history) == (True, "", [])


async def test_calls_are_made_and_the_next_turn_finds_their_results():
    @tool
    async def add(a: int, b: int) -> int:
        return a + b

    calls = [ToolCall("c1", "add", {"a": 1, "b": 2}), ToolCall("c2", "add", '{"a": 1')]
    result, history = await ended_with(
        reply(StopReason.TOOL_CALLS, "", calls), reply(text="Three."), tools=[add]
    )
    assert result.text == "Three."
    assert [message.role for message in history] == [Role.ASSISTANT, Role.TOOL, Role.TOOL, Role.ASSISTANT]
    first, second = history[1].content[0], history[2].content[0]
    assert (first.output, first.is_error) == ("3", False)
    assert (second.output, second.is_error) == ("the arguments are not an object", True)


def test_a_tool_describes_itself_to_any_model():
    @tool
    def add(a: int, b: int = 0) -> int:
        """Add two numbers."""
        return a + b

    schema = {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer", "default": 0}},
        "required": ["a"],
        "additionalProperties": False,
    }
    described = (ToolSchema("add", "Add two numbers.", schema),)
    for form in (openai, anthropic):
        assert form.from_request(form.to_request([], [add])).tools == described


async def test_after_a_pause_there_is_another_turn():
    result, history = await ended_with(reply(StopReason.PAUSED, "Wait."), reply(text="Done."))
    assert (result.turns_used, [message.text for message in history]) == (2, ["Wait.", "Done."])


@pytest.mark.parametrize(
    ("stop", "fields", "error"),
    [
        (StopReason.LENGTH, {}, "the model's reply was cut off at its longest"),
        (
            StopReason.LENGTH,
            {"calls": [ToolCall("c", "f", '{"a')]},
            "the model's reply was cut off at its longest",
        ),
        (StopReason.FILTERED, {}, "the model's reply was filtered"),
        (StopReason.REFUSED, {"refusal": "I cannot."}, "the model refused: I cannot."),
        (StopReason.REFUSED, {"text": "I will not."}, "the model refused: I will not."),
        (StopReason.REFUSED, {"text": ""}, "the model refused: it gave no reason"),
    ],
)
async def test_what_is_no_whole_answer_fails_the_task(stop, fields, error):
    result, history = await ended_with(reply(stop, **fields))
    assert (result.ok, result.error, history) == (False, error, [])


def test_importing_the_adapters_imports_no_client_and_no_kernel():
    rooms = ("kernelckpt.kernel", "kernelckpt.log", "kernelckpt.storage")
    code = (
        "import sys; from kernelckpt.adapters import anthropic, openai; "
        "clients = {'openai', 'anthropic', 'httpx', 'pydantic'} & set(sys.modules); "
        f"print(sorted(clients), [name for name in sys.modules if name.startswith({rooms})])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[] []\n"
