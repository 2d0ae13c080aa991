"""Histories for the tests of the context, and what must hold of any of them."""

from __future__ import annotations

from hypothesis import strategies as st
from msgspec.structs import replace

from kernelckpt.codec.record import encode_record
from kernelckpt.kernel.context.tally import Tally
from kernelckpt.model.message import Audio, Image, Message, Role, Text, ToolCall, ToolResultPart


def user(tokens, fill="u"):
    return Message.user(fill * (4 * tokens))


def say(tokens, fill="a"):
    return Message.assistant(fill * (4 * tokens))


def calling(*ids, name="look"):
    return Message.assistant("", [ToolCall(call_id, name) for call_id in ids])


def answer(call_id, tokens=1, fill="r"):
    return Message.tool_result(call_id, fill * (4 * tokens))


def counted(message, tokens):
    return replace(message, token_count=tokens)


def exchange(call_id, tokens=1):
    return [calling(call_id), answer(call_id, tokens)]


def encoded(messages):
    return [encode_record(message) for message in messages]


def seen(*messages):
    tally = Tally()
    tally.update(encoded(messages))
    return tally.results


def outputs(messages):
    return {
        part.call_id: part.output
        for message in messages
        if not isinstance(message.content, str)
        for part in message.content
        if isinstance(part, ToolResultPart)
    }


def pairs(messages):
    """Which message holds the call that each message's results answer, found in the plainest way."""
    found = set()
    for answering, message in enumerate(messages):
        for part in () if isinstance(message.content, str) else message.content:
            if isinstance(part, ToolResultPart):
                callers = [
                    index
                    for index, other in enumerate(messages[:answering])
                    if part.call_id in [call.id for call in other.tool_calls]
                ]
                found.update((caller, answering) for caller in callers[-1:])
    return found


def parts_no_pair(messages, start):
    """Whether each call before `start` has its results there too, and each after it after it."""
    return all((caller < start) == (answering < start) for caller, answering in pairs(messages))


CALL_IDS = st.sampled_from(["c0", "c1", "c2", "c3"])
TEXTS = st.builds(lambda letter, size: letter * size, st.sampled_from("aé\n漢😀"), st.integers(0, 2_000))
PARTS = st.one_of(
    st.builds(Text, TEXTS),
    st.builds(Image, st.just("url")),
    st.builds(Audio, TEXTS, st.just("audio/wav")),
    st.builds(ToolResultPart, CALL_IDS, TEXTS),
)
CALLS = st.lists(st.builds(ToolCall, CALL_IDS, st.just("look")), max_size=2).map(tuple)
MESSAGES = st.builds(
    Message,
    st.sampled_from(Role),
    st.one_of(TEXTS, st.lists(PARTS, max_size=3).map(tuple)),
    CALLS,
    st.none() | st.integers(0, 3_000),
)
HISTORIES = st.lists(MESSAGES, max_size=14)
