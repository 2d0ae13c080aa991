"""Anthropic's form: what its documentation shows is understood; what cannot be said or kept is refused."""

import pytest

from kernelckpt import Audio, Image, Message, Role, Text, ToolCall, ToolResultPart, ToolSchema
from kernelckpt.adapters import CallDelta, StopReason, TextDelta, Usage, anthropic
from kernelckpt.errors import DecodeError, InvalidValueError, ProviderError

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
TEXT = {"type": "text", "text": "Hello.", "citations": None}
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "s"}


def use(**fields):
    return {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Bern"}, **fields}


def response(*content, stop="end_turn", **fields):
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m-1",
        "content": list(content or (TEXT,)),
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": {
            "input_tokens": 100,
            "cache_creation_input_tokens": 30,
            "cache_read_input_tokens": 1000,
            "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
            "output_tokens": 50,
            "output_tokens_details": {"thinking_tokens": 5},
            "service_tier": "standard",
        },
        **fields,
    }


def test_a_conversation_as_it_is_sent():
    messages = [
        Message.system("Be brief."),
        Message.system("You know cities."),
        Message.user_multimodal([Text("What is this?"), Image(data="QQ==", media_type="image/png")]),
        Message.assistant("I look.", [ToolCall("t1", "weather", {"city": "Bern"}), ToolCall("t2", "now")]),
        Message.tool_result("t1", "rain"),
        Message.tool_result("t2", "no clock", is_error=True),
        Message.user("And now?"),
        Message(Role.ASSISTANT, "", token_count=1),
        Message(Role.ASSISTANT, "Rain.", token_count=2),
    ]
    assert anthropic.to_request(messages, [ToolSchema("weather", "The weather.", SCHEMA)]) == {
        "system": [{"type": "text", "text": "Be brief."}, {"type": "text", "text": "You know cities."}],
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is this?"},
                    {
                        "type": "image",
                        "source": {"type": "base64", "media_type": "image/png", "data": "QQ=="},
                    },
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "I look."},
                    use(),
                    {"type": "tool_use", "id": "t2", "name": "now", "input": {}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "t1", "content": "rain"},
                    {"type": "tool_result", "tool_use_id": "t2", "content": "no clock", "is_error": True},
                ],
            },
            {"role": "user", "content": "And now?"},
            {"role": "assistant", "content": "Rain."},
        ],
        "tools": [{"name": "weather", "description": "The weather.", "input_schema": SCHEMA}],
    }


def test_arguments_that_are_no_object_are_shown_to_the_model_as_it_wrote_them():
    (message,) = anthropic.to_request([Message.assistant("", [ToolCall("t1", "f", '{"ci')])])["messages"]
    assert message["content"] == [
        {"type": "tool_use", "id": "t1", "name": "f", "input": {"INVALID_JSON": '{"ci'}}
    ]


@pytest.mark.parametrize(
    ("message", "path", "why"),
    [
        (Message.system("late"), "messages[1]", "a message of the system after others"),
        (
            Message(Role.USER, "a", (ToolCall("c", "f"),)),
            "messages[1].tool_calls",
            "of the user with tool calls",
        ),
        ("rain", "messages[1]", "a str"),
        (Message.tool([]), "messages[1].content", "answers no call"),
        (Message(Role.TOOL, "rain"), "messages[1].content", "answers no call"),
        (Message.tool([Text("rain")]), "messages[1].content[0]", "of the tool cannot have a Text"),
        (Message.tool([ToolResultPart("", "x")]), "messages[1].content[0].call_id", "empty"),
        (Message.user(""), "messages[1].content", "empty"),
        (Message.user_multimodal([]), "messages[1].content", "empty"),
        (Message.user_multimodal([Text("")]), "messages[1].content[0]", "an empty text"),
        (Message.user_multimodal([Audio("", "audio/wav")]), "messages[1].content[0]", "cannot have a Audio"),
        (Message.user_multimodal([ToolResultPart("c", "x")]), "messages[1].content[0]", "a ToolResultPart"),
        (Message(Role.ASSISTANT, (Image(url="u"),)), "messages[1].content[0]", "cannot have a Image"),
        (
            Message.user_multimodal([Image(url="u", detail="low")]),
            "messages[1].content[0].detail",
            "cannot be said",
        ),
        (Message.user_multimodal([Image()]), "messages[1].content[0]", "a url or data"),
        (
            Message.user_multimodal([Image(data="d")]),
            "messages[1].content[0].media_type",
            "needs a media type",
        ),
        (
            Message.user_multimodal([Image(url="u", media_type="image/png")]),
            "messages[1].content[0].media_type",
            "cannot be said of a url",
        ),
        (Message.assistant("", [ToolCall("", "f")]), "messages[1].tool_calls[0].id", "empty"),
        (Message.assistant("", [ToolCall("c", "f", [1])]), "messages[1].tool_calls[0].arguments", "a list"),
        (
            Message.assistant("", [ToolCall("c", "f", {"a": b""})]),
            "messages[1].tool_calls[0].arguments",
            "JSON",
        ),
    ],
)
def test_what_cannot_be_said_is_refused_with_its_place(message, path, why):
    with pytest.raises(InvalidValueError) as caught:
        anthropic.to_request([Message.user("Hello."), message])
    assert caught.value.path == path
    assert why in caught.value.message


def test_a_response_is_a_reply_with_its_usage():
    reply = anthropic.from_response(response(TEXT, use(caller={"type": "direct"}), stop="tool_use"))
    assert reply.message == Message(
        Role.ASSISTANT, "Hello.", (ToolCall("t1", "weather", {"city": "Bern"}),), token_count=50
    )
    assert (reply.stop, reply.model, reply.id) == (StopReason.TOOL_CALLS, "m-1", "msg_1")
    assert reply.usage == Usage(
        1130,
        50,
        cached_tokens=1000,
        cache_write_tokens=30,
        cache_write_1h_tokens=20,
        reasoning_tokens=5,
    )


@pytest.mark.parametrize(
    ("name", "stop"),
    [
        ("end_turn", StopReason.END),
        ("stop_sequence", StopReason.END),
        ("max_tokens", StopReason.LENGTH),
        ("model_context_window_exceeded", StopReason.LENGTH),
        ("pause_turn", StopReason.PAUSED),
        ("refusal", StopReason.REFUSED),
    ],
)
def test_why_a_model_stopped(name, stop):
    assert anthropic.from_response(response(stop=name)).stop is stop


def test_where_a_model_was_stopped_is_kept():
    assert anthropic.from_response(response(stop="stop_sequence", stop_sequence="###")).stop_sequence == "###"


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (response(role="user"), "role"),
        (response(stop=None), "stop_reason"),
        (response(stop="bored"), "stop_reason"),
        (response(stop="tool_use"), "stop_reason"),
        (response(use()), "stop_reason"),
        (response(THOUGHT, TEXT), "content[0]"),
        (response({"type": "server_tool_use"}), "content[0]"),
        (response(use(), TEXT, stop="tool_use"), "content[1]"),
        (response({**TEXT, "citations": [{"type": "char_location"}]}), "content[0].citations"),
        (response(use(input=None), stop="tool_use"), "content[0].input"),
        (response(use(input=[1]), stop="tool_use"), "content[0].input"),
        (response(use(input={"a": 2**70}), stop="tool_use"), "content[0].input.a"),
        (response(use(caller={"type": "code_execution"}), stop="tool_use"), "content[0].caller"),
        (response({"type": "image", "source": {"type": "url", "url": "u"}}), "content[0]"),
        (response({"type": "text", "text": 5}), "content[0].text"),
        (response({"text": "a"}), "content[0].type"),
        (response("a"), "content[0]"),
        (response(usage={"input_tokens": 1}), "usage.output_tokens"),
        (response(usage={"input_tokens": 1, "output_tokens": "1"}), "usage.output_tokens"),
        (
            response(
                usage={
                    "input_tokens": 1,
                    "output_tokens": 1,
                    "cache_creation": {"ephemeral_1h_input_tokens": 1},
                }
            ),
            "usage",
        ),
    ],
)
def test_a_response_that_cannot_be_kept_is_refused_with_its_place(body, path):
    with pytest.raises(DecodeError) as caught:
        anthropic.from_response(body)
    assert caught.value.path == path


def test_thoughts_are_left_out_only_when_that_is_said():
    with pytest.raises(DecodeError, match=r"ignore=\('thinking',\)"):
        anthropic.from_response(response(THOUGHT, TEXT))
    assert anthropic.from_response(response(THOUGHT, TEXT), ignore=["thinking"]).message.content == "Hello."


ERROR = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}


@pytest.mark.parametrize("take", [anthropic.from_response, anthropic.Stream().add])
def test_an_error_for_an_answer_is_raised(take):
    with pytest.raises(ProviderError, match="Overloaded") as caught:
        take(ERROR)
    assert caught.value.kind == "overloaded_error"


@pytest.mark.parametrize(
    ("request_body", "path"),
    [
        ({"messages": [{"role": "system", "content": "a"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [use()]}]}, "messages[0].content[0]"),
        (
            {"messages": [{"role": "user", "content": [{**TEXT, "cache_control": {"type": "ephemeral"}}]}]},
            "messages[0].content[0].cache_control",
        ),
        ({"messages": [{"role": "user", "content": [TEXT, {"type": "document"}]}]}, "messages[0].content[1]"),
        (
            {"messages": [{"role": "user", "content": [TEXT, {"type": "tool_result", "tool_use_id": "t"}]}]},
            "messages[0].content[1]",
        ),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "tool_result", "tool_use_id": "t", "content": [TEXT, TEXT]}],
                    }
                ]
            },
            "messages[0].content[0].content",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "file"}}]}]},
            "messages[0].content[0].source.type",
        ),
        ({"system": [{"type": "image", "source": {"type": "url", "url": "u"}}]}, "system[0]"),
        ({"tools": [{"type": "bash_20250124", "name": "bash"}]}, "tools[0].type"),
        ({"max_tokens": 100}, "max_tokens"),
    ],
)
def test_a_request_that_messages_cannot_hold_is_refused_with_its_place(request_body, path):
    with pytest.raises(DecodeError) as caught:
        anthropic.from_request(request_body)
    assert caught.value.path == path


def test_results_and_what_the_user_says_after_them_are_messages_of_their_own():
    result = {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "rain"}]}
    body = {"system": "Be brief.", "messages": [{"role": "user", "content": [result, TEXT]}]}
    assert anthropic.from_request(body).messages == (
        Message.system("Be brief."),
        Message.tool_result("t1", "rain"),
        Message.user("Hello."),
    )


def events(*rest):
    usage = {"input_tokens": 9, "output_tokens": 1}
    start = {
        "id": "m1",
        "role": "assistant",
        "model": "m",
        "content": [],
        "stop_reason": None,
        "usage": usage,
    }
    return [{"type": "message_start", "message": start}, *rest]


def begin(index, **block):
    return {"type": "content_block_start", "index": index, "content_block": block}


def add(index, kind, **delta):
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **delta}}


def finish(stop="end_turn", **usage):
    delta = {"stop_reason": stop, "stop_sequence": None}
    return {"type": "message_delta", "delta": delta, "usage": {"output_tokens": 20, **usage}}


def test_a_stream_shows_what_is_new_and_counts_from_the_beginning():
    stream = anthropic.Stream(ignore=["thinking"])
    shown = [
        stream.add(event)
        for event in events(
            {"type": "ping"},
            begin(0, type="thinking", thinking=""),
            add(0, "thinking_delta", thinking="hm"),
            add(0, "signature_delta", signature="s"),
            {"type": "content_block_stop", "index": 0},
            begin(1, type="text", text=""),
            add(1, "text_delta", text="Hi"),
            begin(2, type="tool_use", id="t1", name="weather", input={}, caller={"type": "direct"}),
            add(2, "input_json_delta", partial_json=""),
            add(2, "input_json_delta", partial_json='{"city":'),
            add(2, "input_json_delta", partial_json='"Bern"}'),
            {"type": "invented_later"},
            finish("tool_use", input_tokens=11),
            {"type": "message_stop"},
        )
    ]
    assert [delta for deltas in shown for delta in deltas] == [
        TextDelta("Hi"),
        CallDelta(0, "t1", "weather"),
        CallDelta(0, arguments='{"city":'),
        CallDelta(0, arguments='"Bern"}'),
    ]
    reply = stream.reply()
    assert reply.message == Message(
        Role.ASSISTANT, "Hi", (ToolCall("t1", "weather", {"city": "Bern"}),), token_count=20
    )
    assert (reply.stop, reply.usage) == (StopReason.TOOL_CALLS, Usage(11, 20))


def test_a_call_cut_off_at_the_longest_is_kept_as_it_is_and_not_to_be_made():
    stream = anthropic.Stream()
    for event in events(
        begin(0, type="tool_use", id="t1", name="f", input={}),
        add(0, "input_json_delta", partial_json='{"a": "b'),
        finish("max_tokens"),
    ):
        stream.add(event)
    reply = stream.reply()
    assert (reply.stop, reply.message.tool_calls) == (StopReason.LENGTH, (ToolCall("t1", "f", '{"a": "b'),))


def test_a_stream_that_was_cut_off_is_no_reply():
    stream = anthropic.Stream()
    for event in events(begin(0, type="text", text=""), add(0, "text_delta", text="He")):
        stream.add(event)
    with pytest.raises(ProviderError, match="ended before the reply did"):
        stream.reply()


@pytest.mark.parametrize(
    ("event", "path"),
    [
        (begin(1, type="thinking", thinking=""), "event[2].content_block"),
        (begin(0, type="text"), "event[2].index"),
        (
            begin(1, type="text", text="", citations=[{"type": "char_location"}]),
            "event[2].content_block.citations",
        ),
        (begin(1, type="tool_use", id="t1"), "event[2].content_block.name"),
        (add(3, "text_delta", text="a"), "event[2].index"),
        (add(0, "input_json_delta", partial_json="a"), "event[2].delta.type"),
        (add(0, "citations_delta", citation={}), "event[2].delta.type"),
        (add(0, "text_delta"), "event[2].delta.text"),
        ({"type": "message_delta", "usage": {}}, "event[2].delta"),
        ({"type": "message_delta", "delta": {}, "usage": 5}, "event[2].usage"),
        ({}, "event[2].type"),
        ("x", "event[2]"),
    ],
)
def test_an_event_that_is_none_is_refused_with_its_place(event, path):
    stream = anthropic.Stream()
    for each in events(begin(0, type="text", text="")):
        stream.add(each)
    with pytest.raises(DecodeError) as caught:
        stream.add(event)
    assert caught.value.path == path


@pytest.mark.parametrize(
    ("usage", "path"), [(Usage(1, audio_tokens=1), "usage.audio_tokens"), (Usage(1, 1, 2), "usage")]
)
def test_usage_that_cannot_be_said_is_refused(usage, path):
    with pytest.raises(InvalidValueError) as caught:
        anthropic.to_usage(usage)
    assert caught.value.path == path
