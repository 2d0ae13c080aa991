"""Kernel records and their msgpack bytes: one type for each kind, errors that name the record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import msgspec

from kernelckpt.abc import Key
from kernelckpt.codec.typed import MISFITS, decode_typed, misfit, refuse_ext
from kernelckpt.errors import DecodeError, InvalidValueError
from kernelckpt.model.approval import Approval
from kernelckpt.model.capability import CapabilityManifest
from kernelckpt.model.command import CommandOutcome
from kernelckpt.model.context import Context, ContextMeter
from kernelckpt.model.effect import Effect
from kernelckpt.model.governance import AuditEntry, GovernancePolicy, RateSlot
from kernelckpt.model.handle import SpooledResult
from kernelckpt.model.inbox import InboxEntry, SentKey
from kernelckpt.model.kernel import KernelTotals, Value
from kernelckpt.model.logged_event import LoggedEvent
from kernelckpt.model.message import Message
from kernelckpt.model.milestone import MilestoneProgress
from kernelckpt.model.os_snapshot import EventFold, ProcessRecord
from kernelckpt.model.request import OpenRequest
from kernelckpt.model.run_spec import AgentRunSpec
from kernelckpt.model.signal import QueuedSignal
from kernelckpt.model.tcb import Tcb

RECORD_TYPES: dict[str, type[msgspec.Struct]] = {
    "kernel": KernelTotals,
    "task": Tcb,
    "state": Value,
    "input": Value,
    "context": Context,
    "inbox": InboxEntry,
    "sent": SentKey,
    "approval": Approval,
    "effect": Effect,
    "meter": ContextMeter,
    "spool": SpooledResult,
    "request": OpenRequest,
    "spec": AgentRunSpec,
    "capabilities": CapabilityManifest,
    "milestone": MilestoneProgress,
    "process": ProcessRecord,
    "signal": QueuedSignal,
    "command": CommandOutcome,
    "governance": GovernancePolicy,
    "rate": RateSlot,
    "fold": EventFold,
}
"""The type of the record of each kind."""

PARTITIONS = ("system", "knowledge", "history")
"""Kinds that are streams of messages; n is the generation, as the context names it."""

AUDIT = "audit"
"""The kind that is a stream of what governance said about a task's calls; n is 0."""

EVENTS = "event"
"""The kind that is the kernel's stream of events; n is the generation, as the fold names it."""

STREAM_ITEMS: dict[str, Any] = {
    **dict.fromkeys(PARTITIONS, Message),
    AUDIT: AuditEntry,
    EVENTS: LoggedEvent,
}
"""The type of the items of each kind of stream."""

_R = TypeVar("_R", bound=msgspec.Struct)
_encoder = msgspec.msgpack.Encoder()
_decoders = {
    kind: msgspec.msgpack.Decoder(type_, ext_hook=refuse_ext) for kind, type_ in RECORD_TYPES.items()
}
_item_decoders = {
    kind: msgspec.msgpack.Decoder(type_, ext_hook=refuse_ext) for kind, type_ in STREAM_ITEMS.items()
}


def encode_record(record: msgspec.Struct, path: str = "") -> bytes:
    """The msgpack bytes of a record.

    Raises:
        InvalidValueError: it holds something msgpack cannot.
    """
    try:
        return _encoder.encode(record)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        where = path or type(record).__name__
        message = f"{where}: {error}"
        raise InvalidValueError(message, path=where, hint="keep plain data in it") from error


def decode_record(key: Key, data: bytes) -> msgspec.Struct:
    """The record kept under `key`.

    Raises:
        DecodeError: of another type, or with unknown labels or fields; the path names the place.
    """
    kind = key[0]
    decoder = _decoders.get(kind)
    if decoder is None:
        raise DecodeError(f"{path_of(key)}: unknown kind of record {kind!r}", path=path_of(key))
    try:
        record: msgspec.Struct = decoder.decode(data)
    except MISFITS as error:
        raise misfit(error, path_of(key))  # noqa: B904 - it has its cause
    return record


def decode_message(data: bytes, path: str = "message") -> Message:
    """A message; its arguments are fresh objects that nobody shares.

    Raises:
        DecodeError: it is not one.
    """
    message: Message = decode_item("history", data, path)
    return message


def decode_messages(items: Iterable[bytes]) -> Iterator[Message]:
    """Messages one after the other, as `decode_message` gives them.

    Raises:
        DecodeError: one is none; the path names its place.
    """
    decode = _item_decoders["history"].decode
    for place, data in enumerate(items):
        try:
            message: Message = decode(data)
        except MISFITS as error:
            raise misfit(error, f"message {place}")  # noqa: B904 - it has its cause
        yield message


def decode_item(kind: str, data: bytes, path: str) -> Any:
    """An item of a stream of this kind.

    Raises:
        DecodeError: it is not of the type that such streams hold.
    """
    return decode_typed(_item_decoders[kind].decode, data, path)


def unshared(record: _R) -> _R:
    """A copy that shares no mutable plain data with the original."""
    return msgspec.msgpack.decode(encode_record(record), type=type(record))


def path_of(key: Key) -> str:
    """How errors name a record: `task["c1"]`, `inbox["c1"][4]`, `kernel`."""
    kind, task, number = key
    named = f'{kind}["{task}"]' if task else kind
    return f"{named}[{number}]" if number else named
