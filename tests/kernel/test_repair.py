"""Repair of a session log."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernelckpt.errors import InvalidValueError
from kernelckpt.kernel.events.repair import (
    TRUNCATED,
    pending_tool_calls_from_messages,
    repair_events,
    repair_llm_completed,
    sanitize_recovery_text_bounded,
)
from kernelckpt.model.event import LlmCompleted, RunStarted, ToolCompleted, ToolResult
from kernelckpt.model.message import Message, Role, Text, ToolCall

CALLS = (ToolCall("c1", "read"), ToolCall("c2", "write"))
ASKING = Message.assistant("let me see", CALLS)


def test_repair_does_not_synthesize_provider_replay_for_tool_turns():
    (repaired,) = repair_events([LlmCompleted(1, ASKING)])
    assert repaired.provider_replay is None
    assert repaired.message.token_count == len("let me see") // 4
    assert repaired.message.tool_calls == CALLS


def test_repair_passes_stored_replay_through():
    replay = {"reasoning_content": "a long trace", "native_blocks": [{"type": "text", "text": "x" * 99}]}
    event = repair_llm_completed(LlmCompleted(1, Message.assistant("y" * 99), replay), 10)
    assert event.provider_replay == replay
    assert event.message.text == "y" * 10 + TRUNCATED


def test_sanitize_recovery_text_bounded_respects_cjk_boundary():
    text = sanitize_recovery_text_bounded("你" * 20_000, 301)
    assert text == "你" * 100 + "… [replay truncated]"


def test_text_that_fits_is_not_touched():
    assert sanitize_recovery_text_bounded("", 5) == ""
    assert sanitize_recovery_text_bounded("12345", 5) == "12345"
    assert sanitize_recovery_text_bounded("x" * 10_000, 0) == "x" * 10_000


def test_a_limit_may_be_smaller_than_a_character():
    assert sanitize_recovery_text_bounded("你好", 2) == TRUNCATED


def test_a_lone_surrogate_is_kept():
    assert sanitize_recovery_text_bounded("\ud800abc", 3) == "\ud800" + TRUNCATED


def test_a_negative_limit_is_refused():
    with pytest.raises(InvalidValueError) as caught:
        sanitize_recovery_text_bounded("text", -1)
    assert caught.value.path == "max_bytes"


@given(st.text(), st.integers(1, 12))
def test_cut_text_is_a_beginning_and_is_not_cut_again(text, limit):
    cut = sanitize_recovery_text_bounded(text, limit)
    kept = cut.removesuffix(TRUNCATED)
    assert text.startswith(kept)
    assert len(kept.encode()) <= limit
    assert (cut == text) is (len(text.removesuffix(TRUNCATED).encode()) <= limit)
    assert len(kept.encode()) > limit - 4 or cut == text
    assert sanitize_recovery_text_bounded(cut, limit) == cut


@pytest.mark.parametrize(
    ("message", "tokens"),
    [
        (Message.assistant(""), 1),
        (Message.assistant("1234567"), 1),
        (Message.assistant("你" * 8), 2),
        (Message(Role.ASSISTANT, (Text("x" * 80),)), 1),
        (Message(Role.ASSISTANT, "x" * 80, token_count=7), 7),
        (Message(Role.ASSISTANT, "x" * 80, token_count=0), 0),
    ],
)
def test_tokens_are_counted_if_nobody_did(message, tokens):
    assert repair_llm_completed(LlmCompleted(1, message)).message.token_count == tokens


def test_tokens_are_counted_before_the_cut():
    assert repair_llm_completed(LlmCompleted(1, Message.assistant("x" * 80)), 8).message.token_count == 20


def test_other_events_pass_through():
    events = (RunStarted("r", "g" * 99), ToolCompleted(1, (ToolResult("c1", "o" * 99, is_error=False),)))
    assert repair_events(events, 10) == events


def test_repairing_twice_is_repairing_once():
    once = repair_events([LlmCompleted(1, Message.assistant("你" * 50))], 20)
    assert repair_events(once, 20) == once


# Calls without an answer


def pending(*messages):
    return [call.id for call in pending_tool_calls_from_messages([Message.user("go"), *messages])]


def test_calls_without_an_answer_are_pending():
    assert pending(ASKING) == ["c1", "c2"]
    assert pending(ASKING, Message.tool_result("c1", "x")) == ["c2"]
    assert pending(ASKING, Message.tool_result("c2", "x"), Message.tool_result("c1", "x")) == []


def test_no_call_is_pending_when_none_was_asked_for():
    assert pending() == []
    assert pending(Message.assistant("hello"), Message.tool_result("c1", "x")) == []


def test_only_the_last_calls_are_looked_at():
    again = Message.assistant("", (ToolCall("c3", "read"),))
    assert pending(ASKING, again, Message.assistant("no calls")) == ["c3"]


def test_an_answer_may_come_later():
    later = [Message.user("well?"), Message.assistant("wait"), Message.tool_result("c1", "x")]
    assert pending(ASKING, *later) == ["c2"]


def test_an_error_is_an_answer():
    assert pending(ASKING, Message.tool_result("c1", "boom", is_error=True)) == ["c2"]


def test_an_answer_before_the_call_is_none():
    assert pending(Message.tool_result("c1", "x"), ASKING) == ["c1", "c2"]


def test_what_others_say_is_no_answer():
    assert pending(ASKING, Message.user("c1 says: x")) == ["c1", "c2"]


@pytest.mark.parametrize("content", ["[omitted]", (Text("[omitted]"),)])
def test_a_shortened_result_without_its_id_never_lets_a_call_be_made_again(content):
    assert pending(ASKING, Message(Role.TOOL, content), Message.tool_result("c2", "x")) == []
