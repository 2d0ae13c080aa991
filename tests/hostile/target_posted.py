"""What anybody may put into a run's inbox: commands of every kind, and replies, plain, packed and sealed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from seeds import READER

from kernelckpt import (
    Approve,
    Cancel,
    CommandOutcome,
    Deny,
    Message,
    RuntimeSignal,
    SendMessage,
    SendSignal,
    Urgency,
)
from kernelckpt import SignalSource as Source
from kernelckpt import SignalType as Kind
from kernelckpt.codec.codec import PLAIN_CODEC, Codec
from kernelckpt.codec.posted import decode_command, decode_reply, encode_posted
from kernelckpt.model.command import PostedCommand

RUN, ID = "run", "id"
_COMMANDS = (
    Approve("t", ("k",), "Ann", outcome={"a": [1, None]}),
    Deny("t", reason="no"),
    SendMessage("t", Message.user("x" * 200), "key"),
    SendSignal(RuntimeSignal(Source.CRON, Kind.JOB, Urgency.LOW, "s", {"a": [1, 2.5, b"x"]}, "k", 7, "id")),
    Cancel("t"),
)
_CODECS = {"plain": PLAIN_CODEC, "compressed": Codec(compression=3), "sealed": Codec(READER.keys)}


def posted() -> Iterator[tuple[str, list[bytes], Callable[[bytes], Any]]]:
    """The name of each target, its seeds, and what it is given to."""
    for name, codec in _CODECS.items():
        commands = [encode_posted(PostedCommand(ID, command, 1, True), codec, RUN) for command in _COMMANDS]
        yield f"command, {name}", commands, lambda data, codec=codec: decode_command(data, codec, RUN, ID)
        replies = [encode_posted(CommandOutcome(ID, False, "why", "hint", "UsageError"), codec, RUN)]
        yield f"reply, {name}", replies, lambda data, codec=codec: decode_reply(data, codec, RUN, ID)
