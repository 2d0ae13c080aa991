"""A response in Anthropic's form that comes in events."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from kernelckpt.adapters.anthropic.read import from_response
from kernelckpt.adapters.delta import CallDelta, Delta, TextDelta
from kernelckpt.adapters.fields import Fields, incomplete, misfit
from kernelckpt.adapters.json_value import arguments_of
from kernelckpt.adapters.reply import ModelReply


class Stream:
    """Takes events as they come, gives what is new in each, and the whole reply in the end."""

    def __init__(self, *, ignore: Collection[str] = ()) -> None:
        """`ignore` names types of blocks, and fields of theirs, to leave out, as "thinking"."""
        self._ignore = ignore
        self._events = 0
        self._message: dict[str, Any] = {}
        self._usage: dict[str, Any] = {}
        self._blocks: dict[int, _Block] = {}
        self._takers: dict[str, Callable[[Fields], list[Delta]]] = {
            "message_start": self._start,
            "content_block_start": self._begin_block,
            "content_block_delta": self._add_to_block,
            "message_delta": self._finish,
        }

    def add(self, event: Mapping[str, Any]) -> list[Delta]:
        """Take an event; those of types that say nothing of the reply are passed over.

        Args:
            event: the JSON of its data.

        Returns:
            What it adds to the reply: to be shown by `turn.emit`.

        Raises:
            ProviderError: it is an error.
            DecodeError: it is not of this form, or says what a message cannot; names the place.
        """
        fields = Fields(event, f"event[{self._events}]")
        self._events += 1
        fields.raise_error()
        take = self._takers.get(fields.text("type"))
        return [] if take is None else take(fields)

    def _start(self, fields: Fields) -> list[Delta]:
        message = fields.fields("message")
        self._message = {name: message.take(name) for name in ("role", "id", "model")}
        self._add_usage(message)
        return []

    def _begin_block(self, fields: Fields) -> list[Delta]:
        index, given = fields.count("index"), fields.fields("content_block")
        if index in self._blocks:
            raise misfit(fields.at("index"), f"block {index} was begun before")
        kind = given.text("type")
        block = self._blocks[index] = _Block(kind, sum(b.kind == "tool_use" for b in self._blocks.values()))
        if kind == "tool_use":
            names = {name: given.text(name) for name in ("id", "name")}
            block.fields = {**names, "caller": given.take("caller")}
            given.take("input")  # empty; it comes in pieces
            given.refuse_rest(self._ignore)
            return [CallDelta(block.call, **names)]
        if kind == "text":
            text = given.text("text", "")
            given.refuse_rest(self._ignore)
            return block.add(text)
        if kind not in self._ignore:
            hint = f"to go on without it, say so: ignore=({kind!r},)"
            raise misfit(given.path, f"a block of the type {kind!r} cannot be kept in a message", hint=hint)
        return []

    def _add_to_block(self, fields: Fields) -> list[Delta]:
        index, delta = fields.count("index"), fields.fields("delta")
        block = self._blocks.get(index)
        if block is None:
            raise misfit(fields.at("index"), f"block {index} was not begun")
        if block.kind in self._ignore:
            return []
        kind = delta.text("type")
        if kind in self._ignore:
            return []
        if (block.kind, kind) == ("text", "text_delta"):
            return block.add(delta.text("text"))
        if (block.kind, kind) == ("tool_use", "input_json_delta"):
            return block.add(delta.text("partial_json"))
        raise misfit(delta.at("type"), f"{kind!r} cannot be added to a block of the type {block.kind!r}")

    def _finish(self, fields: Fields) -> list[Delta]:
        delta = fields.fields("delta")
        self._message |= {name: delta.take(name) for name in ("stop_reason", "stop_sequence")}
        self._add_usage(fields)
        return []

    def _add_usage(self, fields: Fields) -> None:
        """What comes later counts from the beginning, and may leave out what has not changed."""
        given = fields.take("usage")
        if given is None:
            return
        if not isinstance(given, Mapping):
            raise misfit(fields.at("usage"), f"a {type(given).__name__}, not an object")
        self._usage |= {name: value for name, value in given.items() if value is not None}

    def reply(self) -> ModelReply:
        """The whole reply, once the last event was taken.

        Raises:
            ProviderError: the stream has ended before the reply did.
            DecodeError: it is no reply; names the place.
        """
        if not self._message.get("stop_reason"):
            raise incomplete()
        blocks = [block.whole() for _, block in sorted(self._blocks.items())]
        kept = [block for block in blocks if block["type"] not in self._ignore]
        return from_response({**self._message, "content": kept, "usage": self._usage or None})


class _Block:
    """What has come of one block."""

    def __init__(self, kind: str, call: int) -> None:
        """`call` is how many calls came before it."""
        self.kind = kind
        self.call = call
        self.fields: dict[str, Any] = {}
        self._texts: list[str] = []

    def add(self, text: str) -> list[Delta]:
        """Add to its text, or to the JSON of a call's arguments."""
        if not text:
            return []
        self._texts.append(text)
        return [TextDelta(text) if self.kind == "text" else CallDelta(self.call, arguments=text)]

    def whole(self) -> dict[str, Any]:
        """The block as a response has it."""
        text = "".join(self._texts)
        said = {"input": arguments_of(text)} if self.kind == "tool_use" else {"text": text}
        return {"type": self.kind, **self.fields, **said}
