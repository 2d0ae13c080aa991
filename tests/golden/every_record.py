"""Records of every kind with every field in use, made from the types: the state of a golden run."""

from __future__ import annotations

from functools import cache
from typing import Any

from msgspec import Struct, inspect
from msgspec.structs import replace

from kernelckpt.abc import Append, Change, Key, Put
from kernelckpt.codec.record import AUDIT, EVENTS, PARTITIONS, RECORD_TYPES, STREAM_ITEMS, encode_record
from kernelckpt.kernel.cell import NUMBERED, SINGLE
from kernelckpt.model.context import Context
from kernelckpt.model.context_config import ContextConfig
from kernelckpt.model.inbox import InboxEntry
from kernelckpt.model.kernel import KernelTotals
from kernelckpt.model.message import Message
from kernelckpt.model.process import ProcInfo
from kernelckpt.model.result import LoopResult, SubAgentResult
from kernelckpt.model.signal import RuntimeSignal
from kernelckpt.model.task_state import StateKind, TaskState
from kernelckpt.model.tcb import Tcb
from kernelckpt.model.termination import TerminationReason
from kernelckpt.model.wait import WaitKind, WaitReason

PLAIN = [
    None,
    {"plain": [True, -1, 2**64 - 1, 1.5, "ä\n\U0001f600", b"\x00\xff"], "$bytes": []},
]
_LEAVES: dict[type, list[Any]] = {
    inspect.AnyType: PLAIN,
    inspect.NoneType: [None],
    inspect.BoolType: [True, False],
    inspect.FloatType: [0.25, -1e300],
    inspect.StrType: ["text", "ä\n\U0001f600"],
    inspect.BytesType: [b"\x07"],  # where a record holds a value's bytes, they are msgpack
}


@cache
def examples_of(cls: type[Struct]) -> list[Struct]:
    """Records of a class that together have every label and every shape of every field."""
    if cls in _SPECIAL:
        return _SPECIAL[cls]()
    fields = {field.name: shapes_of(field.type) for field in inspect.type_info(cls).fields}
    count = max(map(len, fields.values()), default=1)
    return [cls(**{name: found[at % len(found)] for name, found in fields.items()}) for at in range(count)]


def shapes_of(info: Any) -> list[Any]:
    """Values of a type, one of each shape."""
    if type(info) in _LEAVES:
        return _LEAVES[type(info)]
    if isinstance(info, inspect.IntType):
        return [max(info.ge or 0, 7), 2**63 - 1 if info.le is None else info.le]
    if isinstance(info, inspect.EnumType):
        return list(info.cls)
    if isinstance(info, inspect.UnionType):
        return [shape for part in info.types for shape in shapes_of(part)]
    if isinstance(info, inspect.VarTupleType):
        return [tuple(shapes_of(info.item_type)), ()]
    if isinstance(info, inspect.TupleType):
        return [tuple(shapes_of(part)[0] for part in info.item_types)]
    if isinstance(info, inspect.DictType):
        return [{"key": shape} for shape in shapes_of(info.value_type)]
    return examples_of(info.cls)


def _states() -> list[Struct]:
    plain = [TaskState(kind) for kind in StateKind if kind is not StateKind.DONE]
    return [*plain, *map(TaskState.done, TerminationReason)]


def _waits() -> list[Struct]:
    return [WaitReason.sub_agent_join(["root-0"]), *(WaitReason(kind, note="why") for kind in WaitKind)]


def _inbox() -> list[Struct]:
    messages = [InboxEntry(message) for message in examples_of(Message)]
    signals = [InboxEntry(signal=signal, interrupts=True) for signal in examples_of(RuntimeSignal)]
    return [*messages, *signals, InboxEntry(note="a line")]


_SPECIAL = {
    TaskState: _states,
    WaitReason: _waits,
    InboxEntry: _inbox,
    ContextConfig: lambda: [ContextConfig(), ContextConfig(spool_threshold_bytes=7)],
}
"""Records whose fields depend on each other."""


def rows() -> list[Tcb]:
    """A root and a child in every state a task can be in."""
    found = []
    for number, (state, row) in enumerate(zip(_states(), _cycle(examples_of(Tcb)), strict=False)):
        result = None
        if state.reason is not None:
            result = replace(_cycled(examples_of(LoopResult), number), termination=state.reason)
        root = replace(row, id=f"root-{number}", parent=None, state=state, proc=None, result=result)
        root = replace(root, wait=_wait(state, number), changed_turn=number)
        whole = None if result is None else SubAgentResult(f"child-{number}", result)
        proc = replace(_cycled(examples_of(ProcInfo), number), result=whole)
        found += [root, replace(root, id=f"child-{number}", parent="root-0", proc=proc, result=None)]
    return found


def _wait(state: TaskState, number: int) -> Struct | None:
    return None if state.kind in {StateKind.RUNNING, StateKind.DONE} else _cycled(_waits(), number)


def _cycle(items: list[Any]) -> list[Any]:
    return items * 20


def _cycled(items: list[Any], at: int) -> Any:
    return items[at % len(items)]


def records() -> dict[Key, Struct]:
    """A state with records of every kind; totals large enough for what the rows used."""
    table = rows()
    found: dict[Key, Struct] = {("task", row.id, 0): row for row in table}
    for kind in SINGLE:
        for row, record in zip(table, examples_of(RECORD_TYPES[kind]), strict=False):
            found[kind, row.id, 0] = _owned(record, row.id)
    for kind in NUMBERED:
        for number, record in enumerate(examples_of(RECORD_TYPES[kind]), 1):
            found[kind, "root-0", number] = _owned(record, "root-0")
    for kind in ("signal", "rate", "command"):
        for number, record in enumerate(examples_of(RECORD_TYPES[kind]), 1):
            found[kind, "", number] = record
    found["governance", "", 0] = examples_of(RECORD_TYPES["governance"])[0]
    found["fold", "", 0] = replace(examples_of(RECORD_TYPES["fold"])[0], generation=1)
    found["kernel", "", 0] = examples_of(KernelTotals)[-1]
    return found


def _owned(record: Struct, task: str) -> Struct:
    named = {name: task for name in ("task_id", "agent_id") if name in record.__struct_fields__}
    return replace(record, **named)


def streams(kept: dict[Key, Struct]) -> dict[Key, tuple[bytes, ...]]:
    """Streams of every kind, each item in every shape, of the generation that is in use."""
    context = kept.get(("context", "root-0", 0), Context())
    generations = {kind: getattr(context, kind) for kind in PARTITIONS}
    found: dict[Key, tuple[bytes, ...]] = {}
    for kind, type_ in STREAM_ITEMS.items():
        if kind == EVENTS:
            key: Key = (kind, "", 1)
        else:
            key = (kind, "root-0", 0 if kind == AUDIT else generations[kind])
        found[key] = tuple(encode_record(item) for item in shapes_of(inspect.type_info(type_)))
    return found


def commits() -> list[list[Change]]:
    """The state in a few commits: rows, then their records, then streams that grow twice."""
    kept = records()
    tasks: list[Change] = [Put(key, record) for key, record in kept.items() if key[0] in {"task", "kernel"}]
    others: list[Change] = [
        Put(key, record) for key, record in kept.items() if key[0] not in {"task", "kernel"}
    ]
    first: list[Change] = []
    rest: list[Change] = []
    for key, items in streams(kept).items():
        half = len(items) // 2
        first.append(Append(key, 0, items[:half]))
        rest.append(Append(key, half, items[half:]))
    return [tasks, others, first, rest]
