"""OpenAI's form: what its documentation shows is understood; what cannot be said or kept is refused."""

import pytest

from kernelckpt import Audio, Image, Message, Role, Text, ToolCall, ToolResultPart, ToolSchema
from kernelckpt.adapters import CallDelta, StopReason, TextDelta, Usage, openai
from kernelckpt.errors import DecodeError, InvalidValueError, ProviderError

WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}


def response(message=None, finish="stop", **fields):
    said = {"role": "assistant", "content": "Hello.", "refusal": None, "annotations": [], **(message or {})}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1741570283,
        "model": "m-1",
        "choices": [{"index": 0, "message": said, "logprobs": None, "finish_reason": finish}],
        "usage": {
            "prompt_tokens": 1117,
            "completion_tokens": 46,
            "total_tokens": 1163,
            "prompt_tokens_details": {"cached_tokens": 1000, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 12,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        },
        "service_tier": "default",
        "system_fingerprint": "fp_1",
        **fields,
    }


def call_of(arguments, **fields):
    return {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": arguments}, **fields}


def test_a_conversation_as_it_is_sent():
    messages = [
        Message.system("Be brief."),
        Message.user_multimodal([Text("What is this?"), Image(url="https://x.test/a.png", detail="low")]),
        Message.assistant("I look.", [ToolCall("c1", "weather", {"city": "Zürich"})]),
        Message.tool([ToolResultPart("c1", "rain"), ToolResultPart("c2", "no such city", is_error=True)]),
        Message(Role.ASSISTANT, "Rain.", token_count=2),
    ]
    assert openai.to_request(messages, [ToolSchema("weather", "The weather.", WEATHER)]) == {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image_url", "image_url": {"url": "https://x.test/a.png", "detail": "low"}},
                ],
            },
            {"role": "assistant", "content": "I look.", "tool_calls": [call_of('{"city":"Zürich"}')]},
            {"role": "tool", "tool_call_id": "c1", "content": "rain"},
            {"role": "tool", "tool_call_id": "c2", "content": "Error: no such city"},
            {"role": "assistant", "content": "Rain."},
        ],
        "tools": [
            {
                "type": "function",
                "function": {"name": "weather", "description": "The weather.", "parameters": WEATHER},
            }
        ],
    }


class Described:
    name, description, schema = "weather", "The weather.", WEATHER


def test_a_tool_that_knows_its_schema_is_taken_as_it_is():
    (tool,) = openai.to_request([], [Described()])["tools"]
    assert tool["function"] == {"name": "weather", "description": "The weather.", "parameters": WEATHER}
    tool["function"]["parameters"].clear()
    assert WEATHER["type"] == "object"  # what is sent shares nothing with what was given


@pytest.mark.parametrize(
    ("message", "path", "why"),
    [
        (
            Message(Role.USER, "", (ToolCall("c", "f"),)),
            "messages[0].tool_calls",
            "of the user with tool calls",
        ),
        ("rain", "messages[0]", "a str"),
        (Message.tool([]), "messages[0].content", "answers no call"),
        (Message(Role.TOOL, "rain"), "messages[0].content", "answers no call"),
        (Message.tool([Text("rain")]), "messages[0].content[0]", "of the tool cannot have a Text"),
        (Message.tool([ToolResultPart("", "x")]), "messages[0].content[0].call_id", "empty"),
        (Message.user_multimodal([ToolResultPart("c", "x")]), "messages[0].content[0]", "a ToolResultPart"),
        (
            Message(Role.SYSTEM, (Image(url="u"),)),
            "messages[0].content[0]",
            "of the system cannot have a Image",
        ),
        (Message(Role.ASSISTANT, (Audio("", "audio/wav"),)), "messages[0].content[0]", "cannot have a Audio"),
        (
            Message.user_multimodal([Audio("", "audio/ogg")]),
            "messages[0].content[0].media_type",
            "'audio/ogg'",
        ),
        (Message.user_multimodal([Text("a"), Image()]), "messages[0].content[1]", "a url or data"),
        (Message.user_multimodal([Image("u", "d", "image/png")]), "messages[0].content[0]", "not both"),
        (
            Message.user_multimodal([Image(data="d")]),
            "messages[0].content[0].media_type",
            "needs a media type",
        ),
        (
            Message.user_multimodal([Image(url="u", media_type="image/png")]),
            "messages[0].content[0].media_type",
            "cannot be said of a url",
        ),
        (Message.assistant("", [ToolCall("", "f")]), "messages[0].tool_calls[0].id", "empty"),
        (Message.assistant("", [ToolCall("c", "")]), "messages[0].tool_calls[0].name", "empty"),
        (Message.assistant("", [ToolCall("c", "f", [1])]), "messages[0].tool_calls[0].arguments", "a list"),
        (
            Message.assistant("", [ToolCall("c", "f", {"a": [b""]})]),
            "messages[0].tool_calls[0].arguments",
            "JSON",
        ),
        (
            Message.assistant("", [ToolCall("c", "f", {"a": float("nan")})]),
            "messages[0].tool_calls[0].arguments",
            "no JSON",
        ),
        (
            Message.assistant("", [ToolCall("c", "f", {"a": (1,)})]),
            "messages[0].tool_calls[0].arguments.a",
            "a tuple cannot be kept",
        ),
    ],
)
def test_what_cannot_be_said_is_refused_with_its_place(message, path, why):
    with pytest.raises(InvalidValueError) as caught:
        openai.to_request([message])
    assert caught.value.path == path
    assert why in caught.value.message


@pytest.mark.parametrize(
    ("tools", "path", "why"),
    [
        ([ToolSchema("a.b", "", {})], "tools[0].name", "'a.b' is no name for a tool"),
        ([ToolSchema("a" * 65, "", {})], "tools[0].name", "64 at most"),
        ([ToolSchema("a", "", {}), ToolSchema("a", "", {})], "tools[1].name", "two tools are called 'a'"),
        ([ToolSchema("a", "", "string")], "tools[0].parameters", "no JSON schema"),
        ([ToolSchema("a", "", {"default": float("inf")})], "tools[0].parameters", "no JSON"),
    ],
)
def test_a_tool_that_cannot_be_described_is_refused(tools, path, why):
    with pytest.raises(InvalidValueError, match=why) as caught:
        openai.to_request([], tools)
    assert caught.value.path == path


def test_a_response_is_a_reply_with_its_usage():
    reply = openai.from_response(response())
    assert reply.message == Message(Role.ASSISTANT, "Hello.", token_count=46)
    assert (reply.stop, reply.model, reply.id) == (StopReason.END, "m-1", "chatcmpl-1")
    assert reply.usage == Usage(1117, 46, cached_tokens=1000, reasoning_tokens=12)
    assert reply.usage.total_tokens == 1163


@pytest.mark.parametrize(
    ("finish", "message", "stop"),
    [
        ("length", {}, StopReason.LENGTH),
        ("content_filter", {"content": None}, StopReason.FILTERED),
        ("tool_calls", {"content": None, "tool_calls": [call_of("{}")]}, StopReason.TOOL_CALLS),
        ("stop", {"content": None, "tool_calls": [call_of("{}")]}, StopReason.TOOL_CALLS),
        ("length", {"content": None, "tool_calls": [call_of('{"ci')]}, StopReason.LENGTH),
        ("stop", {"content": None, "refusal": "I cannot."}, StopReason.REFUSED),
    ],
)
def test_why_a_model_stopped(finish, message, stop):
    assert openai.from_response(response(message, finish)).stop is stop


def test_a_refusal_is_kept_beside_the_message():
    reply = openai.from_response(response({"content": None, "refusal": "I cannot."}))
    assert (reply.refusal, reply.message.content) == ("I cannot.", "")


@pytest.mark.parametrize(
    ("written", "arguments"),
    [
        ('{"city": "Zürich", "days": 2.0}', {"city": "Zürich", "days": 2.0}),
        ("", {}),
        ('{"city": "Zü', '{"city": "Zü'),
        ("[1]", "[1]"),
        ("5", "5"),
        ('{"a": NaN}', '{"a": NaN}'),
        ('{"a": "\\ud800"}', '{"a": "\\ud800"}'),
        ('{"a": 123456789012345678901234567890}', '{"a": 123456789012345678901234567890}'),
        ("{" + '"a":{' * 300 + "}" * 301, "{" + '"a":{' * 300 + "}" * 301),
    ],
)
def test_arguments_that_are_no_object_are_kept_as_the_model_wrote_them(written, arguments):
    asked = {"content": None, "tool_calls": [call_of(written)]}
    (call,) = openai.from_response(response(asked, "tool_calls")).message.tool_calls
    assert call.arguments == arguments
    (sent,) = openai.to_request([Message.assistant("", [call])])["messages"]
    again = openai.from_request({"messages": [sent]}).messages[0]
    assert again.tool_calls == (call,)


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (response(choices=[]), "choices"),
        (response(choices=response()["choices"] * 2), "choices"),
        (response(choices="x"), "choices"),
        (response(finish=None), "choices[0].finish_reason"),
        (response(finish="function_call"), "choices[0].finish_reason"),
        (response(finish="tool_calls"), "choices[0].finish_reason"),
        (response({"role": "user"}), "choices[0].message.role"),
        (response({"role": "critic"}), "choices[0].message.role"),
        (response({"content": 5}), "choices[0].message.content"),
        (response({"content": "\ud800"}), "choices[0].message.content"),
        (response({"content": [{"type": "image_url"}]}), "choices[0].message.content[0].type"),
        (response({"content": [{"type": "refusal", "refusal": "no"}]}), "choices[0].message.content[0].type"),
        (response({"audio": {"id": "a"}}), "choices[0].message.audio"),
        (response({"annotations": [{"type": "url_citation"}]}), "choices[0].message.annotations"),
        (response({"reasoning_content": "hm"}), "choices[0].message.reasoning_content"),
        (response({"function_call": {"name": "f"}}), "choices[0].message.function_call"),
        (response({"tool_calls": [call_of("{}", type="custom")]}), "choices[0].message.tool_calls[0].type"),
        (response({"tool_calls": [call_of("{}", id=None)]}), "choices[0].message.tool_calls[0].id"),
        (response({"tool_calls": [call_of({})]}), "choices[0].message.tool_calls[0].function.arguments"),
        (response(usage={"prompt_tokens": 1}), "usage.completion_tokens"),
        (response(usage={"prompt_tokens": True, "completion_tokens": 1}), "usage.prompt_tokens"),
        (response(usage={"prompt_tokens": 1, "completion_tokens": -1}), "usage.completion_tokens"),
        (response(usage={"prompt_tokens": 1.0, "completion_tokens": 1}), "usage.prompt_tokens"),
        (
            response(usage={"prompt_tokens": 2, "completion_tokens": 2, "total_tokens": 3}),
            "usage.total_tokens",
        ),
        (
            response(
                usage={
                    "prompt_tokens": 1,
                    "completion_tokens": 1,
                    "prompt_tokens_details": {"cached_tokens": 2},
                }
            ),
            "usage",
        ),
    ],
)
def test_a_response_that_cannot_be_kept_is_refused_with_its_place(body, path):
    with pytest.raises(DecodeError) as caught:
        openai.from_response(body)
    assert caught.value.path == path


def test_what_is_to_be_left_out_must_be_named():
    body = response({"reasoning_content": "hm", "annotations": [{"type": "url_citation"}]})
    with pytest.raises(DecodeError, match=r"ignore=\('reasoning_content',\)"):
        openai.from_response(body, ignore=["annotations"])
    reply = openai.from_response(body, ignore=["annotations", "reasoning_content"])
    assert reply.message.content == "Hello."


def test_thoughts_that_are_counted_in_the_total_only_are_output():
    usage = openai.from_usage({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 40})
    assert usage == Usage(10, 30, reasoning_tokens=25)


@pytest.mark.parametrize(
    "body",
    [{"error": {"message": "slow down", "type": "rate_limited", "code": None}}, {"error": "slow down"}],
)
def test_an_error_for_an_answer_is_raised(body):
    for take in (openai.from_response, openai.Stream().add):
        with pytest.raises(ProviderError, match="slow down") as caught:
            take(body)
        assert caught.value.kind in {"rate_limited", ""}


@pytest.mark.parametrize(
    ("request_body", "path"),
    [
        ({"messages": [{"role": "user", "content": "a", "name": "Ann"}]}, "messages[0].name"),
        ({"messages": [{"role": "function", "content": "a", "name": "f"}]}, "messages[0].role"),
        ({"messages": [{"role": "tool", "content": "a"}]}, "messages[0].tool_call_id"),
        ({"messages": [{"role": "user", "content": [{"type": "file"}]}]}, "messages[0].content[0].type"),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": ""}}]}
                ]
            },
            "messages[0].content[0].input_audio.format",
        ),
        ({"messages": ["hello"]}, "messages[0]"),
        ({"messages": [], "temperature": 1}, "temperature"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "strict": True}}]},
            "tools[0].function.strict",
        ),
    ],
)
def test_a_request_that_messages_cannot_hold_is_refused_with_its_place(request_body, path):
    with pytest.raises(DecodeError) as caught:
        openai.from_request(request_body)
    assert caught.value.path == path


def test_the_developer_is_the_system_and_a_tool_without_parameters_takes_none():
    found = openai.from_request(
        {
            "messages": [{"role": "developer", "content": "Be brief."}],
            "tools": [{"type": "function", "function": {"name": "now", "strict": False}}],
        }
    )
    assert found.messages == (Message.system("Be brief."),)
    assert found.tools == (ToolSchema("now", "", {"type": "object", "properties": {}}),)


def chunk(delta, finish=None, **fields):
    return {
        "id": "r",
        "model": "m",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        **fields,
    }


def test_a_stream_shows_what_is_new():
    stream = openai.Stream()
    assert stream.add(chunk({"role": "assistant", "content": ""})) == []
    assert stream.add(chunk({"content": "He"})) == [TextDelta("He")]
    first = {"index": 0, "id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"ci'}}
    assert stream.add(chunk({"tool_calls": [first]})) == [CallDelta(0, "c1", "weather", '{"ci')]
    again = {**first, "function": {"name": "weather", "arguments": 'ty":1}'}}  # some servers say it each time
    assert stream.add(chunk({"tool_calls": [again]})) == [CallDelta(0, arguments='ty":1}')]
    assert stream.add(chunk({}, "tool_calls")) == []
    reply = stream.reply()
    assert reply.message == Message.assistant("He", [ToolCall("c1", "weather", {"city": 1})])
    assert (reply.stop, reply.usage) == (StopReason.TOOL_CALLS, None)


def test_the_words_of_a_refusal_are_shown_as_they_come():
    stream = openai.Stream()
    assert stream.add(chunk({"refusal": "I can"})) == [TextDelta("I can")]
    stream.add(chunk({"refusal": "not."}, "stop"))
    assert (stream.reply().stop, stream.reply().refusal) == (StopReason.REFUSED, "I cannot.")


def test_a_stream_that_was_cut_off_is_no_reply():
    stream = openai.Stream()
    stream.add(chunk({"content": "He"}))
    with pytest.raises(ProviderError, match="ended before the reply did") as caught:
        stream.reply()
    assert caught.value.kind == "incomplete"


@pytest.mark.parametrize(
    ("item", "path"),
    [
        ({"choices": [{"index": 1, "delta": {"content": "b"}}]}, "chunk[1].choices[0].index"),
        (chunk({"reasoning_content": "hm"}), "chunk[1].choices[0].delta.reasoning_content"),
        (chunk({"content": ["a"]}), "chunk[1].choices[0].delta.content"),
        (chunk({"tool_calls": [{"id": "c"}]}), "chunk[1].choices[0].delta.tool_calls[0].index"),
        (chunk({"tool_calls": [{"index": 0, "id": "d"}]}), "chunk[1].choices[0].delta.tool_calls[0].id"),
        (
            chunk({"tool_calls": [{"index": 1, "type": "custom"}]}),
            "chunk[1].choices[0].delta.tool_calls[0].type",
        ),
        ("[DONE]", "chunk[1]"),
    ],
)
def test_a_chunk_that_is_none_is_refused_with_its_place(item, path):
    stream = openai.Stream()
    stream.add(chunk({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f"}}]}))
    with pytest.raises(DecodeError) as caught:
        stream.add(item)
    assert caught.value.path == path


def test_what_a_stream_is_to_leave_out_must_be_named():
    stream = openai.Stream(ignore=["reasoning_content"])
    assert stream.add(chunk({"reasoning_content": "hm"})) == []
    assert stream.add(chunk({"content": "Hi"}, "stop")) == [TextDelta("Hi")]
    assert stream.reply().message.content == "Hi"


@pytest.mark.parametrize(
    ("usage", "path"),
    [(Usage(cache_write_tokens=1, input_tokens=1), "usage.cache_write_tokens"), (Usage(1, 1, 2), "usage")],
)
def test_usage_that_cannot_be_said_is_refused(usage, path):
    with pytest.raises(InvalidValueError) as caught:
        openai.to_usage(usage)
    assert caught.value.path == path
