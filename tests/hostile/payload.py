"""What has made other checkpointers import, call and run things, put wherever a run keeps plain data.

The shapes are those of published attacks on loaders: ext types whose hook imports and calls what they name,
markers in dicts taken for objects, names of classes, pickles; each would make a folder, the canary.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
from hostile_kit import open_log
from msgspec import Struct
from msgspec.structs import replace

from kernelckpt import FileStorage, Message, SchedulerBudget, Tcb
from kernelckpt.abc import Append, Change, Key, Put
from kernelckpt.codec.record import encode_record
from kernelckpt.kernel.snapshot import SnapshotRecords
from kernelckpt.model.approval import Approval, ApprovalStatus
from kernelckpt.model.effect import Effect, EffectStatus
from kernelckpt.model.inbox import InboxEntry
from kernelckpt.model.kernel import KernelTotals, Value
from kernelckpt.model.message import ToolCall
from kernelckpt.model.result import LoopResult
from kernelckpt.model.task_state import TaskState
from kernelckpt.model.termination import TerminationReason

EXTS = (0, 1, 2, 5, 42)
"""Codes of ext types, some of which others give a meaning."""

MARK = "the place of a payload"
_MARKED = msgpack.packb(MARK)


def payloads(canary: Path) -> dict[str, bytes]:
    """msgpack values by name, each of which would make the canary in a loader that believes it."""
    path = str(canary)
    called = ["os", "mkdir", [path]]
    pickled = f"cos\nmkdir\n(V{path}\ntR.".encode()
    named = {f"an ext {code} that names a call": _ext(code, ["os", "mkdir", path]) for code in EXTS}
    named |= {"an ext with a method": _ext(3, ["os", "mkdir", path, "__call__"])}
    named |= {"an ext that holds a pickle": _ext(4, None, pickled)}
    named |= {"an ext within an ext": _ext(1, ["builtins", "eval", msgpack.packb(called)])}
    named |= {"no msgpack at all": b"\xc1"}
    values: dict[str, Any] = {
        "a constructor": {
            "lc": 2,
            "type": "constructor",
            "id": ["os", "mkdir"],
            "kwargs": {},
            "args": [path],
        },
        "a constructor of today": {
            "lc": 1,
            "type": "constructor",
            "id": ["os", "mkdir"],
            "kwargs": {"path": path},
        },
        "a secret": {"lc": 1, "type": "secret", "id": ["HOME"]},
        "a class": {"__class__": "os.mkdir", "__args__": [path], "__module__": "os"},
        "a py/reduce": {"py/reduce": [{"py/function": "os.mkdir"}, {"py/tuple": [path]}]},
        "a $type": {"$type": "System.Diagnostics.Process", "$values": [path]},
        "a yaml tag": f"!!python/object/apply:os.mkdir [{path}]",
        "a pickle": pickled,
        "code": f"__import__('os').mkdir({path!r})",
        "a template": "{{ ''.__class__.__mro__[1].__subclasses__() }}{0.__init__.__globals__}",
        "$bytes": {"$bytes": "AAAA", "$$bytes": [path]},
    }
    return named | {name: msgpack.packb(value) for name, value in values.items()}


def _ext(code: int, value: Any, data: bytes = b"") -> bytes:
    return bytes(msgpack.packb(msgpack.ExtType(code, data or msgpack.packb(value))))


def is_plain(payload: bytes) -> bool:
    """Whether it is plain data: no ext, and msgpack at all."""
    return not (payload[0] == 0xC1 or 0xC7 <= payload[0] <= 0xC9 or 0xD4 <= payload[0] <= 0xD8)


class Place(Struct, frozen=True):
    """Where a run keeps plain data of a program, a model or a user.

    Attributes:
        key: of the record or stream.
        record: one that holds `MARK` there.
        ended: whether it belongs to a task that has ended.
    """

    key: Key
    record: Struct
    ended: bool = False


def places() -> dict[str, Place]:
    """Every field of plain data, and every field of encoded plain data."""
    call = Message.assistant("x", [ToolCall("c", "fetch", {"a": MARK})])
    done = LoopResult(TerminationReason.COMPLETED, output={"a": MARK})
    agent = Tcb.root("agent", SchedulerBudget(max_turns=9))
    return {
        "the state": Place(("state", "agent", 0), Value(_MARKED)),
        "the input": Place(("input", "agent", 0), Value(_MARKED)),
        "a call in the history": Place(("history", "agent", 0), call),
        "a call in the inbox": Place(("inbox", "agent", 1), InboxEntry(call)),
        "what a human decides upon": Place(
            ("approval", "agent", 1), Approval("agent", "k", payload=[MARK], status=ApprovalStatus.APPROVED)
        ),
        "what a call gave": Place(
            ("effect", "agent", 1), Effect("f", bytes(16), status=EffectStatus.RETURNED, outcome=_MARKED)
        ),
        "what a call was given": Place(
            ("effect", "agent", 1), Effect("f", bytes(16), status=EffectStatus.STARTED, arguments=_MARKED)
        ),
        "the output": Place(
            ("task", "agent", 0),
            replace(agent, program="agent", state=TaskState.done(done.termination), result=done),
            ended=True,
        ),
    }


def with_payload(place: Place, payload: bytes) -> bytes:
    """The record of a place with the payload in it."""
    data = encode_record(place.record)
    if isinstance(place.record, Value | Effect):  # encoded plain data lies in there as bytes
        return data.replace(_bin(_MARKED), _bin(payload))
    return data.replace(_MARKED, payload)


def _bin(data: bytes) -> bytes:
    return bytes(msgpack.packb(data))


def state_with(place: Place, payload: bytes) -> SnapshotRecords:
    """The state of a run of one task, with the payload in that place."""
    row = replace(Tcb.root("agent", SchedulerBudget(max_turns=9)), program="agent")
    records = {("kernel", "", 0): encode_record(KernelTotals()), ("task", "agent", 0): encode_record(row)}
    data = with_payload(place, payload)
    if place.key[0] == "history":
        return SnapshotRecords(records, {place.key: (data,)})
    return SnapshotRecords(records | {place.key: data}, {})


async def write_payloads(root: Path, canary: Path) -> dict[str, tuple[str, str]]:
    """A run for each payload in each place, with digests that fit; its place and payload, by its id."""
    written = {}
    async with FileStorage(root) as storage:
        for place_name, place in places().items():
            for name, payload in payloads(canary).items():
                run_id = f"{name} in {place_name}"
                written[run_id] = place_name, name
                log = await open_log(storage, run_id)
                log.stage(list(_changes(state_with(place, payload))), 1, 1)
                await log.flush("turn")
                await log.aclose()
    return written


def _changes(state: SnapshotRecords) -> Iterator[Change]:
    for key, data in state.records.items():
        yield Put(key, data)
    for key, items in state.streams.items():
        yield Append(key, 0, tuple(items))


def plain_of(payload: bytes) -> Any:
    """What a payload is as plain data."""
    return msgpack.unpackb(payload)
