"""What both sides can say comes back as it was; a stream comes to what the whole response says."""

import copy
import json

import pytest
from adapter_strategies import (
    anthropic_messages,
    calls,
    openai_messages,
    pieces,
    text,
    tools,
    usages,
)
from hypothesis import given
from hypothesis import strategies as st

from kernelckpt.adapters import CallDelta, Conversation, ModelReply, TextDelta, anthropic, openai
from kernelckpt.codec.value import ValueCodec

FORMS = {"openai": (openai, openai_messages), "anthropic": (anthropic, anthropic_messages)}


@pytest.mark.parametrize("name", FORMS)
@given(data=st.data())
def test_messages_and_tools_come_back_as_they_were(name, data):
    form, conversations = FORMS[name]
    messages, described = data.draw(conversations), data.draw(tools)
    request = form.to_request(messages, described)
    sent = json.loads(json.dumps(request, allow_nan=False))
    assert sent == request  # it is JSON as it stands
    before = copy.deepcopy(sent)
    assert form.from_request(sent) == Conversation(tuple(messages), tuple(described))
    assert sent == before


@pytest.mark.parametrize(("form", "kinds"), [(openai, (False, True)), (anthropic, (True, False))])
@given(data=st.data())
def test_usage_comes_back_as_it_was(form, kinds, data):
    usage = data.draw(usages(cache_writes=kinds[0], audio=kinds[1]))
    assert form.from_usage(form.to_usage(usage)) == usage


def openai_response(said, asked, usage):
    (message,) = openai.to_request([said])["messages"]
    finish = "tool_calls" if asked else "stop"
    return {
        "id": "r1",
        "model": "m",
        "choices": [{"index": 0, "finish_reason": finish, "message": message}],
        "usage": openai.to_usage(usage),
    }


def openai_chunks(draw, response):
    """The same response in chunks, its texts cut anywhere."""
    message = response["choices"][0]["message"]

    def chunk(delta, finish=None):
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        return {"id": "r1", "model": "m", "choices": [choice], "usage": None}

    yield chunk({"role": "assistant", "content": ""})
    for piece in draw(pieces(message["content"] or "")):
        yield chunk({"content": piece})
    for index, call in enumerate(message.get("tool_calls", [])):
        first = {"index": index, "id": call["id"], "type": "function"}
        yield chunk(
            {"tool_calls": [{**first, "function": {"name": call["function"]["name"], "arguments": ""}}]}
        )
        for piece in draw(pieces(call["function"]["arguments"])):
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    yield chunk({}, response["choices"][0]["finish_reason"])
    yield {"id": "r1", "model": "m", "choices": [], "usage": response["usage"]}


def anthropic_response(said, asked, usage):
    found = anthropic.to_request([said])["messages"]
    content = found[0]["content"] if found else []
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    return {
        "id": "r1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": blocks,
        "stop_reason": "tool_use" if asked else "end_turn",
        "stop_sequence": None,
        "usage": anthropic.to_usage(usage),
    }


def anthropic_events(draw, response):
    """The same response in events, its texts cut anywhere."""
    usage = response["usage"]
    start = {**response, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
    yield {
        "type": "message_start",
        "message": start | {"usage": {**start["usage"], "output_tokens_details": None}},
    }
    yield {"type": "ping"}
    for index, block in enumerate(response["content"]):
        if block["type"] == "text":
            begun, kind, field, whole = {**block, "text": ""}, "text_delta", "text", block["text"]
        else:
            begun, kind, field = {**block, "input": {}}, "input_json_delta", "partial_json"
            whole = json.dumps(block["input"])
        yield {"type": "content_block_start", "index": index, "content_block": begun}
        for piece in draw(pieces(whole)):
            yield {"type": "content_block_delta", "index": index, "delta": {"type": kind, field: piece}}
        yield {"type": "content_block_stop", "index": index}
    delta = {"stop_reason": response["stop_reason"], "stop_sequence": None}
    last = {name: usage[name] for name in ("output_tokens", "output_tokens_details")}
    yield {"type": "message_delta", "delta": delta, "usage": {"input_tokens": None, **last}}
    yield {"type": "message_stop"}


STREAMS = {
    "openai": (openai, openai_response, openai_chunks, usages(cache_writes=False, audio=True)),
    "anthropic": (anthropic, anthropic_response, anthropic_events, usages(cache_writes=True, audio=False)),
}


@pytest.mark.parametrize("name", STREAMS)
@given(data=st.data())
def test_a_stream_comes_to_what_the_whole_response_says_and_its_deltas_are_all_of_it(name, data):
    from kernelckpt import Message

    form, response_of, events_of, used = STREAMS[name]
    asked = data.draw(calls)
    said = Message.assistant(data.draw(text), asked)
    response = response_of(said, asked, data.draw(used))
    whole = form.from_response(response)
    stream, deltas = form.Stream(), []
    for event in events_of(data.draw, response):
        deltas += stream.add(json.loads(json.dumps(event)))
    assert stream.reply() == whole
    assert (whole.message.content, whole.message.tool_calls) == (said.content, asked)
    assert "".join(delta.text for delta in deltas if isinstance(delta, TextDelta)) == said.content
    for index, call in enumerate(asked):
        mine = [delta for delta in deltas if isinstance(delta, CallDelta) and delta.index == index]
        assert [(delta.id, delta.name) for delta in mine if delta.id] == [(call.id, call.name)]
        assert json.loads("".join(delta.arguments for delta in mine)) == call.arguments
    codec = ValueCodec(ModelReply)  # it is fit to be what a call returns
    assert codec.decode(codec.encode(whole, "reply"), "reply") == whole
