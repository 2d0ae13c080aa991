"""Strategies for all that a state can hold, made from the types themselves: new fields come by themselves."""

from __future__ import annotations

from enum import Enum
from functools import cache
from typing import Any, NamedTuple

from hypothesis import strategies as st
from msgspec import NODEFAULT, Struct, inspect
from msgspec.structs import fields, replace

from kernelckpt.abc import Key
from kernelckpt.codec.record import AUDIT, EVENTS, PARTITIONS, RECORD_TYPES, STREAM_ITEMS, encode_record
from kernelckpt.kernel.cell import NUMBERED, SINGLE
from kernelckpt.kernel.snapshot import SnapshotRecords
from kernelckpt.model.context import Context
from kernelckpt.model.context_config import ContextConfig
from kernelckpt.model.inbox import InboxEntry
from kernelckpt.model.kernel import KernelTotals
from kernelckpt.model.logged_event import LoggedEvent
from kernelckpt.model.message import Message
from kernelckpt.model.os_snapshot import EventFold, OsSnapshot
from kernelckpt.model.process import ProcInfo
from kernelckpt.model.result import LoopResult, SubAgentResult
from kernelckpt.model.signal import RuntimeSignal
from kernelckpt.model.task_state import StateKind, TaskState
from kernelckpt.model.tcb import Tcb
from kernelckpt.model.termination import TerminationReason
from kernelckpt.model.wait import WaitKind, WaitReason

TEXT = st.text(max_size=4)
SMALL = st.integers(0, 9)
NUMBERS = st.integers(1, 9) | st.integers(1, 2**63 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | FLOATS | TEXT | st.binary(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(TEXT | st.sampled_from(["$bytes", "$$bytes"]), inner, max_size=2)
    ),
    max_leaves=6,
)
_LEAVES: dict[type, st.SearchStrategy[Any]] = {
    inspect.AnyType: PLAIN,
    inspect.NoneType: st.none(),
    inspect.BoolType: st.booleans(),
    inspect.FloatType: FLOATS,
    inspect.StrType: TEXT,
    inspect.BytesType: st.binary(max_size=4),
}


@cache
def values_of(type_: Any) -> st.SearchStrategy[Any]:
    """Values of a type: each field takes all its shapes, its default among them."""
    return _values(inspect.type_info(type_))


def _values(info: Any) -> st.SearchStrategy[Any]:
    if type(info) in _LEAVES:
        return _LEAVES[type(info)]
    if isinstance(info, inspect.IntType):
        low, high = info.ge or 0, 2**63 - 1 if info.le is None else info.le
        return st.integers(low, low + 9) | st.integers(low, high) | st.just(high)
    if isinstance(info, inspect.EnumType):
        return st.sampled_from(info.cls)
    if isinstance(info, inspect.UnionType):
        return st.one_of(*map(_values, info.types))
    if isinstance(info, inspect.VarTupleType):
        return st.lists(_values(info.item_type), max_size=3).map(tuple)
    if isinstance(info, inspect.TupleType):
        return st.tuples(*map(_values, info.item_types))
    if isinstance(info, inspect.DictType):
        return st.dictionaries(_values(info.key_type), _values(info.value_type), max_size=2)
    assert isinstance(info, inspect.StructType), info
    return _RESTRICTED[info.cls] if info.cls in _RESTRICTED else structs(info.cls)


def structs(cls: type[Struct], **chosen: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Structs of a class; some fields may be chosen otherwise than by type."""
    info = inspect.type_info(cls)
    return st.builds(cls, **{field.name: _values(field.type) for field in info.fields} | chosen)


_RESTRICTED: dict[type[Struct], st.SearchStrategy[Any]] = {}
"""Records whose fields depend on each other, or take fewer values than their types."""

_RESTRICTED[TaskState] = st.builds(TaskState.done, st.sampled_from(TerminationReason)) | st.sampled_from(
    [TaskState(kind) for kind in StateKind if kind is not StateKind.DONE]
)
_RESTRICTED[WaitReason] = st.builds(WaitReason.sub_agent_join, st.lists(TEXT, max_size=3)) | st.builds(
    WaitReason, st.sampled_from(WaitKind), note=TEXT
)
_RESTRICTED[ContextConfig] = structs(
    ContextConfig,
    **{
        field.name: st.floats(0, allow_infinity=False)
        for field in inspect.type_info(ContextConfig).fields
        if isinstance(field.type, inspect.FloatType)
    },
)
_RESTRICTED[InboxEntry] = (
    st.builds(InboxEntry, values_of(Message))
    | st.builds(InboxEntry, signal=values_of(RuntimeSignal), interrupts=st.booleans())
    | st.builds(InboxEntry, note=TEXT)
)


# What was generated, and what there is to generate.


def traits_of(record: Struct) -> set[Any]:
    """The fields of a record that are not at their default, and the labels and classes that lie in them."""
    found: set[Any] = set()
    for field in fields(type(record)):
        value = getattr(record, field.name)
        if not _is_default(value, field):
            found.add(field.name)
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, Enum):
                found.add(part)
            elif isinstance(part, Struct):
                found.add(type(part))
    return found


def _is_default(value: Any, field: Any) -> bool:
    if field.default_factory is not NODEFAULT:
        return bool(value == field.default_factory())
    return field.default is not NODEFAULT and value == field.default


def all_traits(cls: type[Struct]) -> set[Any]:
    """What `traits_of` finds in all records of a class together."""
    info = inspect.type_info(cls)
    found: set[Any] = {field.name for field in info.fields}
    for part in (leaf for field in info.fields for leaf in _leaves(field.type)):
        if isinstance(part, inspect.EnumType):
            found.update(part.cls)
        elif isinstance(part, inspect.StructType):
            found.add(part.cls)
    return found


def classes_in(*types: Any) -> list[type[Struct]]:
    """Every class of records that occurs in these types, at any depth."""
    found: dict[type[Struct], None] = {}
    todo = [leaf for type_ in types for leaf in _leaves(inspect.type_info(type_))]
    while todo:
        info = todo.pop()
        if isinstance(info, inspect.StructType) and info.cls not in found:
            found[info.cls] = None
            todo.extend(leaf for field in info.fields for leaf in _leaves(field.type))
    return sorted(found, key=lambda cls: cls.__name__)


def _leaves(info: Any) -> list[Any]:
    if isinstance(info, inspect.UnionType):
        return [leaf for part in info.types for leaf in _leaves(part)]
    if isinstance(info, inspect.TupleType):
        return [leaf for part in info.item_types for leaf in _leaves(part)]
    return _leaves(info.item_type) if isinstance(info, inspect.VarTupleType) else [info]


# Whole states.


class Given(NamedTuple):
    """A state as it was drawn: its records, and the items of its streams."""

    records: dict[Key, Struct]
    streams: dict[Key, tuple[Struct, ...]]

    def encoded(self) -> SnapshotRecords:
        """As a host takes it."""
        return SnapshotRecords(
            {key: encode_record(record) for key, record in self.records.items()},
            {key: tuple(map(encode_record, items)) for key, items in self.streams.items()},
        )


@st.composite
def states(draw: st.DrawFn) -> Given:
    """States that hold together: rows with lineage, and records of every kind for any of them."""
    records: dict[Key, Struct] = {}
    streams: dict[Key, tuple[Struct, ...]] = {}
    ids = draw(st.lists(st.text(min_size=1, max_size=4) | st.just("$bytes"), max_size=4, unique=True))
    turn = draw(SMALL)
    for index, task in enumerate(ids):
        records["task", task, 0] = draw(rows(task, ids[:index], ids, turn))
    for task in ids:
        draw_cell(draw, task, records, streams)
    draw_kernel(draw, turn, records, streams)
    return Given(records, streams)


@st.composite
def rows(draw: st.DrawFn, task: str, older: list[str], ids: list[str], turn: int) -> Tcb:
    """A row of this id that fits among the others."""
    row: Tcb = draw(values_of(Tcb))
    parent = draw(st.none() | st.sampled_from(older)) if older else None
    ended = row.state.reason
    result = None if ended is None else draw(structs(LoopResult, termination=st.just(ended)))
    return replace(
        row,
        id=task,
        parent=parent,
        budget=draw(structs(type(row.budget), turns=SMALL, total_tokens=SMALL, cost_micros=SMALL)),
        wait=draw(waits(row.state.kind, ids)),
        proc=None if parent is None else draw(procs(task, result)),
        result=result if parent is None else None,
        changed_turn=draw(st.integers(0, turn)),
    )


def procs(task: str, result: LoopResult | None) -> st.SearchStrategy[ProcInfo]:
    """Identities of the child of this id."""
    whole = None if result is None else SubAgentResult(task, result)
    return structs(ProcInfo, result=st.just(whole))


def waits(kind: StateKind, ids: list[str]) -> st.SearchStrategy[WaitReason | None]:
    """What a row in such a state may wait for."""
    if kind in {StateKind.RUNNING, StateKind.DONE}:
        return st.none()
    joins = st.builds(WaitReason.sub_agent_join, st.lists(st.sampled_from(ids), max_size=2))
    found = joins | st.builds(WaitReason, st.sampled_from(WaitKind), note=TEXT)
    return found if kind is not StateKind.READY else found | st.none()


def draw_cell(draw: st.DrawFn, task: str, records: dict[Key, Struct], streams: dict[Key, Any]) -> None:
    """Draw what a task has beside its row."""
    told = {"task_id": st.just(task), "agent_id": st.just(task)}
    for kind in (*SINGLE, *NUMBERED):
        cls = RECORD_TYPES[kind]
        values = structs(cls, **{name: told[name] for name in cls.__struct_fields__ if name in told})
        for number in draw(_numbers(kind)):
            records[kind, task, number] = draw(values_of(cls) if cls in _RESTRICTED else values)
    context = records.get(("context", task, 0), Context())
    for kind in (*PARTITIONS, AUDIT):
        items = draw(st.lists(values_of(STREAM_ITEMS[kind]), max_size=2))
        if items:
            streams[kind, task, 0 if kind == AUDIT else getattr(context, kind)] = tuple(items)


def _numbers(kind: str) -> st.SearchStrategy[list[int]]:
    several = kind in NUMBERED or kind in {"signal", "rate"}
    return st.lists(NUMBERS, max_size=2, unique=True) if several else st.lists(st.just(0), max_size=1)


def draw_kernel(draw: st.DrawFn, turn: int, records: dict[Key, Struct], streams: dict[Key, Any]) -> None:
    """Draw what belongs to no single task."""
    used = [record.budget for record in records.values() if isinstance(record, Tcb)]
    records["kernel", "", 0] = draw(
        structs(
            KernelTotals,
            turn=st.just(turn + sum(ledger.turns for ledger in used)),
            total_tokens=SMALL.map(lambda more: more + sum(ledger.total_tokens for ledger in used)),
            cost_micros=SMALL.map(lambda more: more + sum(ledger.cost_micros for ledger in used)),
            signals=st.just(2**63 - 1),
        )
    )
    for kind in ("governance", "signal", "rate", "fold"):
        for number in draw(_numbers(kind)):
            records[kind, "", number] = draw(FOLDS if kind == "fold" else values_of(RECORD_TYPES[kind]))
    fold = records.get(("fold", "", 0), EventFold())
    events = draw(st.lists(values_of(LoggedEvent), max_size=3))
    if events:
        streams[EVENTS, "", fold.generation] = tuple(events)


_COUNTS = {name: SMALL for name in OsSnapshot.__struct_fields__ if name.endswith("_count")}
FOLDS = structs(
    EventFold,
    generation=st.integers(1, 9),
    view=structs(OsSnapshot, process_by_agent=st.just(()), **_COUNTS),
)
"""What a kernel may have folded, with room for events since; generation 0 is that before the first time."""
