"""Whatever a provider sends, and whatever is to be sent: it is understood, or an error names the place."""

import copy
import json
from contextlib import suppress

import pytest
from adapter_strategies import json_values, text
from hypothesis import given
from hypothesis import strategies as st

from kernelckpt import Audio, Image, Message, Role, Text, ToolCall, ToolResultPart
from kernelckpt.adapters import anthropic, openai
from kernelckpt.errors import DecodeError, InvalidValueError, ProviderError

CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
OPENAI = {
    "id": "r1",
    "model": "m",
    "choices": [
        {
            "index": 0,
            "finish_reason": "tool_calls",
            "message": {"role": "assistant", "content": "Hi", "refusal": None, "tool_calls": [CALL]},
        }
    ],
    "usage": {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 15,
        "prompt_tokens_details": {"cached_tokens": 3},
        "completion_tokens_details": {"reasoning_tokens": 2},
    },
}
OPENAI_CHUNK = {
    "id": "r1",
    "choices": [
        {
            "index": 0,
            "delta": {"content": "Hi", "tool_calls": [{"index": 0, **CALL}]},
            "finish_reason": "stop",
        }
    ],
    "usage": OPENAI["usage"],
}
OPENAI_REQUEST = {
    "messages": [
        {"role": "system", "content": [{"type": "text", "text": "a"}]},
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,QQ==", "detail": "low"}},
                {"type": "input_audio", "input_audio": {"data": "QQ==", "format": "wav"}},
            ],
        },
        OPENAI["choices"][0]["message"],
        {"role": "tool", "tool_call_id": "c1", "content": "1"},
    ],
    "tools": [{"type": "function", "function": {"name": "f", "description": "d", "parameters": {}}}],
}
USE = {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}, "caller": {"type": "direct"}}
ANTHROPIC = {
    "id": "m1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [{"type": "text", "text": "Hi", "citations": None}, USE],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 10,
        "output_tokens": 5,
        "cache_read_input_tokens": 3,
        "cache_creation_input_tokens": 2,
        "cache_creation": {"ephemeral_1h_input_tokens": 1},
        "output_tokens_details": {"thinking_tokens": 1},
    },
}
ANTHROPIC_EVENTS = [
    {"type": "message_start", "message": {**ANTHROPIC, "content": [], "stop_reason": None}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
    {"type": "content_block_start", "index": 1, "content_block": {**USE, "input": {}}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "{}"}},
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 5}},
]
ANTHROPIC_REQUEST = {
    "system": [{"type": "text", "text": "a"}],
    "messages": [
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "t1",
                    "content": [{"type": "text", "text": "1"}],
                    "is_error": True,
                },
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QQ=="}},
            ],
        },
        {"role": "assistant", "content": ANTHROPIC["content"]},
    ],
    "tools": [{"name": "f", "description": "d", "input_schema": {}}],
}


def streamed(form):
    def take(events):
        stream = form.Stream()
        for event in events:
            stream.add(event)
        return stream.reply()

    return take


TARGETS = {
    "openai response": (openai.from_response, OPENAI),
    "openai request": (openai.from_request, OPENAI_REQUEST),
    "openai stream": (streamed(openai), [OPENAI_CHUNK]),
    "anthropic response": (anthropic.from_response, ANTHROPIC),
    "anthropic request": (anthropic.from_request, ANTHROPIC_REQUEST),
    "anthropic stream": (streamed(anthropic), ANTHROPIC_EVENTS),
}

STRANGE = json_values | st.sampled_from(["\ud800", 2**70, -1, 1.5, True, [[]], {"type": "x"}, "x" * 100])


def places(value, at=()):
    """Every place of a JSON value."""
    yield at
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*at, key))


@st.composite
def damaged(draw, value):
    """A JSON value with something else at one or two places, or with something missing there."""
    made = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, 2))):
        found = [at for at in places(made) if at]
        if not found:
            break
        *path, last = draw(st.sampled_from(found))
        owner = made
        for key in path:
            owner = owner[key]
        if draw(st.integers(0, 4)) == 0:
            del owner[last]
        else:
            owner[last] = copy.deepcopy(draw(STRANGE))
    return made


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_whole_is_understood(name):
    take, value = TARGETS[name]
    assert take(copy.deepcopy(value))


@pytest.mark.parametrize("name", TARGETS)
@given(data=st.data())
def test_what_is_damaged_is_understood_or_refused_with_its_place(name, data):
    take, value = TARGETS[name]
    with suppress(ProviderError):
        assert_names_the_place(DecodeError, take, data.draw(damaged(value)))


def assert_names_the_place(kind, take, value):
    """What comes of a value; None if it is refused, by an error of a kind that names the place."""
    try:
        return take(value)
    except kind as error:
        found = error
    assert found.path
    assert found.message.startswith(f"{found.path}: ")
    return None


messages = st.builds(
    Message,
    st.sampled_from(Role),
    text
    | st.lists(
        st.one_of(
            st.builds(Text, text),
            st.builds(Image, st.none() | text, st.none() | text, st.none() | text, st.none() | text),
            st.builds(Audio, text, text),
            st.builds(ToolResultPart, text, text, st.booleans()),
        ),
        max_size=3,
    ).map(tuple),
    st.lists(
        st.builds(ToolCall, text, text, json_values | st.just(float("nan")) | st.binary()), max_size=2
    ).map(tuple),
)


@pytest.mark.parametrize("form", [openai, anthropic])
@given(said=st.lists(messages, max_size=3))
def test_any_message_is_said_as_json_or_refused_with_its_place(form, said):
    request = assert_names_the_place(InvalidValueError, form.to_request, said)
    assert request is None or json.loads(json.dumps(request, allow_nan=False)) == request
