"""Counting of tokens, and the tally of a history."""

from __future__ import annotations

import pytest
from context_kit import answer, calling, counted, encoded, user

from kernelckpt.errors import DecodeError, UsageError
from kernelckpt.kernel.context import tally as tally_module
from kernelckpt.kernel.context.pressure import total_tokens
from kernelckpt.kernel.context.tally import Tally, ToolResultSeen
from kernelckpt.kernel.context.tokens import count, count_message, tokens_of, truncate
from kernelckpt.model.context import Plan
from kernelckpt.model.message import Audio, Image, Message, Text, ToolCall, ToolResultPart


@pytest.mark.parametrize(
    ("text", "tokens"), [("", 1), ("abc", 1), ("a" * 8, 2), ("漢" * 8, 2), ("a" * 11, 2)]
)
def test_a_token_is_four_code_points(text, tokens):
    assert count(text) == tokens


def test_parts_are_counted_each():
    parts = [
        Text("a" * 40),
        ToolResultPart("c", "b" * 80),
        Image(url="u" * 400),
        Audio("d" * 120, "audio/wav"),
    ]
    assert count_message(Message.tool(parts)) == 10 + 20 + 1 + 30
    assert count_message(Message.tool([])) == 0


def test_tool_calls_cost_nothing():
    assert count_message(Message.assistant("", [ToolCall("c", "n" * 400, {"x": "y" * 400})])) == 1


def test_a_given_count_goes_before_the_estimate():
    message = answer("c", 2)
    assert tokens_of(message) == 2
    assert tokens_of(counted(message, 900)) == 900
    assert tokens_of(counted(message, 0)) == 0


def test_truncate_keeps_the_beginning():
    assert truncate("漢" * 100, 3) == "漢" * 12
    assert truncate("abc", 3) == "abc"
    assert truncate("abc", 0) == ""


def test_push_adds_tokens():
    tally = Tally()
    tally.update(encoded([user(10), counted(user(10), 500)]))
    assert tally.tokens == 510


def test_task_state_and_knowledge_count_in_the_total():
    assert total_tokens(0, 0, 0, Plan()) == 1
    assert total_tokens(1, 20, 300, Plan()) == 322
    assert total_tokens(1, 20, 300, Plan(goal="g" * 400)) > 421


def test_a_tally_counts_only_what_is_new(monkeypatch):
    decoded = []

    def watched(data, path):
        decoded.append(data)
        return original(data, path)

    original = tally_module.decode_message
    monkeypatch.setattr(tally_module, "decode_message", watched)
    items, tally = encoded([user(5), calling("c0"), answer("c0", 7)]), Tally()
    tally.update(items)
    tally.update(items)
    items += encoded([Message.tool([ToolResultPart("c1", ""), Text("x"), ToolResultPart("c2", "y" * 12)])])
    tally.update(items)
    assert decoded == items
    assert tally.tokens == 5 + 1 + 7 + 1 + 1 + 3
    assert list(tally.results) == [ToolResultSeen("c0", 7), ToolResultSeen("c1", 1), ToolResultSeen("c2", 3)]


def test_a_tally_refuses_another_generation():
    tally = Tally()
    tally.update(encoded([user(5), user(5)]))
    with pytest.raises(UsageError, match="1 messages, but 2") as refused:
        tally.update(encoded([user(5)]))
    assert "generation" in refused.value.hint


def test_a_message_that_cannot_be_read_is_named_and_nothing_is_counted_twice():
    tally, good = Tally(), encoded([user(5)])
    with pytest.raises(DecodeError, match=r"messages\[1\]"):
        tally.update([*good, b"\x81\xa4role\xa5alien"])
    tally.update([*good, *good])
    assert tally.tokens == 10
