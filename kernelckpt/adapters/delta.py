"""What a stream adds to a reply, to be shown as a draft by `turn.emit`."""

from __future__ import annotations

from typing import TypeAlias

from kernelckpt.model.record import Record
from kernelckpt.model.scalar import U32


class TextDelta(Record, frozen=True, tag="text", tag_field="type"):
    """More of the reply's text, or of the words with which the model refuses."""

    text: str


class CallDelta(Record, frozen=True, tag="call", tag_field="type"):
    """More of a tool call.

    Attributes:
        index: which call of the reply, from 0.
        id: the call's id, in the first delta of a call.
        name: the tool's name, in the first delta of a call.
        arguments: more of its arguments, a piece of JSON text.
    """

    index: U32
    id: str = ""
    name: str = ""
    arguments: str = ""


Delta: TypeAlias = TextDelta | CallDelta
