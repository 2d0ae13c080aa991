"""A response in OpenAI's form that comes in chunks."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from kernelckpt.adapters.delta import CallDelta, Delta, TextDelta
from kernelckpt.adapters.fields import Fields, incomplete, misfit
from kernelckpt.adapters.openai.read import from_response
from kernelckpt.adapters.reply import ModelReply


class Stream:
    """Takes chunks as they come, gives what is new in each, and the whole reply in the end."""

    def __init__(self, *, ignore: Collection[str] = ()) -> None:
        """`ignore` names fields of deltas to leave out, as "reasoning_content"."""
        self._ignore = ignore
        self._chunks = 0
        self._texts: list[str] = []
        self._refusals: list[str] = []
        self._calls: dict[int, _Call] = {}
        self._finish = self._model = self._id = ""
        self._usage: Any = None

    def add(self, chunk: Mapping[str, Any]) -> list[Delta]:
        """Take a chunk.

        Args:
            chunk: the JSON of one event; "[DONE]" is none.

        Returns:
            What it adds to the reply: to be shown by `turn.emit`.

        Raises:
            ProviderError: it is an error.
            DecodeError: it is not of this form, or says what a message cannot; names the place.
        """
        fields = Fields(chunk, f"chunk[{self._chunks}]")
        self._chunks += 1
        fields.raise_error()
        self._model, self._id = fields.text("model", self._model), fields.text("id", self._id)
        usage = fields.take("usage")
        self._usage = self._usage if usage is None else usage
        made: list[Delta] = []
        for path, item in fields.items("choices"):
            made += self._choice(Fields(item, path))
        return made

    def _choice(self, choice: Fields) -> list[Delta]:
        if choice.count("index", 0):
            raise misfit(choice.at("index"), "a second reply", hint="ask for one: n=1")
        self._finish = choice.text("finish_reason", self._finish)
        delta = choice.maybe("delta")
        made: list[Delta] = []
        for name, texts in (("content", self._texts), ("refusal", self._refusals)):
            text = delta.text(name, "")
            if text:
                texts.append(text)
                made.append(TextDelta(text))
        made += [self._call(Fields(item, path)) for path, item in delta.items("tool_calls")]
        delta.take("role")
        delta.refuse_rest(self._ignore)
        return made

    def _call(self, fields: Fields) -> CallDelta:
        index = fields.count("index")
        call = self._calls.setdefault(index, _Call())
        kind = fields.text("type", "function")
        if kind != "function":
            raise misfit(fields.at("type"), f"a call of the type {kind!r} cannot be kept")
        function = fields.maybe("function")
        new_id = call.first("id", fields.text("id", ""), fields.at("id"))
        new_name = call.first("name", function.text("name", ""), function.at("name"))
        arguments = function.text("arguments", "")
        call.arguments.append(arguments)
        function.refuse_rest(self._ignore)
        fields.refuse_rest(self._ignore)
        return CallDelta(index, new_id, new_name, arguments)

    def reply(self) -> ModelReply:
        """The whole reply, once the last chunk was taken.

        Raises:
            ProviderError: the stream has ended before the reply did.
            DecodeError: it is no reply; names the place.
        """
        if not self._finish:
            raise incomplete()
        message: dict[str, Any] = {
            "role": "assistant",
            "content": "".join(self._texts),
            "refusal": "".join(self._refusals),
            "tool_calls": [call.whole() for _, call in sorted(self._calls.items())],
        }
        choice = {"finish_reason": self._finish, "message": message}
        return from_response(
            {"id": self._id, "model": self._model, "choices": [choice], "usage": self._usage}
        )


class _Call:
    """What has come of one tool call."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}
        self.arguments: list[str] = []

    def first(self, name: str, text: str, path: str) -> str:
        """What is new of an id or name: it comes whole, once or with each piece of the arguments."""
        if not text or self._known.get(name) == text:
            return ""
        if name in self._known:
            raise misfit(path, f"{text!r} after {self._known[name]!r}: two calls in one place")
        self._known[name] = text
        return text

    def whole(self) -> dict[str, Any]:
        """The call as a response has it."""
        function = {"name": self._known.get("name"), "arguments": "".join(self.arguments)}
        return {"id": self._known.get("id"), "function": function}
