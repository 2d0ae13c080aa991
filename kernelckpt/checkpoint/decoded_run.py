"""A run's records, every one of them decoded by itself, so that one bad record does not hide the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import msgspec
from msgspec import Struct

from kernelckpt.abc import Key, RestoredState
from kernelckpt.checkpoint.finding import Finding, FindingKind
from kernelckpt.codec.record import (
    EVENTS,
    PARTITIONS,
    STREAM_ITEMS,
    decode_item,
    decode_record,
    path_of,
)
from kernelckpt.errors import DecodeError
from kernelckpt.kernel.events.event_log import rebuild_log
from kernelckpt.kernel.events.event_stream import FOLD
from kernelckpt.kernel.state import WHOLE_KERNEL
from kernelckpt.model.context import Context
from kernelckpt.model.effect import Effect
from kernelckpt.model.kernel import KernelTotals, Value
from kernelckpt.model.logged_event import LoggedEvent
from kernelckpt.model.os_snapshot import EventFold, OsSnapshot, ProcessRecord
from kernelckpt.model.tcb import Tcb

_R = TypeVar("_R", bound=Struct)

NUMBERED = frozenset({"inbox", "sent", "approval", "effect", "spool", "signal", "rate", "command"})
"""Kinds of which a task, or the kernel, may have several records."""

_COMPARED = frozenset({"task", "process", *FOLD[:1], EVENTS})


class DecodedRun:
    """The records of one checkpoint.

    Attributes:
        rows: the row of each task, in order.
        known: every task that has a row, also one that could not be decoded.
        totals: the totals; None when they are missing.
        messages: how many messages the streams hold.
        findings: what could not be decoded, or is kept under a key where it does not belong.
    """

    def __init__(self, state: RestoredState) -> None:
        """Decode everything."""
        self.rows: dict[str, Tcb] = {}
        self.known = {key[1] for key in state.records if key[0] == "task"}
        self.totals: KernelTotals | None = None
        self.messages = 0
        self.findings: list[Finding] = []
        self._records: dict[tuple[str, str], dict[int, Struct]] = {}
        self._events: list[LoggedEvent] = []
        self._bad_kinds: set[str] = set()
        for key, data in state.records.items():
            self._take(key, data)
        for key, items in state.streams.items():
            self._take_stream(key, items)
        for key in (*state.records, *state.streams):
            self._check_place(key)

    def records(self, kind: str, task: str, type_: type[_R]) -> Mapping[int, _R]:
        """The records of a kind that a task has, by number."""
        found = self._records.get((kind, task), {})
        return {number: item for number, item in sorted(found.items()) if isinstance(item, type_)}

    def log_view(self) -> OsSnapshot | None:
        """What the event log amounts to; None when a row or a part of it is not what it should be."""
        if self._bad_kinds & _COMPARED:
            return None
        kept = (self.records("process", task, ProcessRecord).get(0) for task in self.rows)
        processes = [process for process in kept if process is not None]
        return rebuild_log(self._fold(), processes, self._events, self.rows).view()

    def _take(self, key: Key, data: bytes) -> None:
        try:
            record = decode_record(key, data)
            _check_values(record, path_of(key))
        except DecodeError as error:
            self._bad(key, error)
            return
        if isinstance(record, Tcb):
            if record.id != key[1]:
                self._note(key, f"holds task {record.id!r}")
            self.rows[key[1]] = record
        elif isinstance(record, KernelTotals):
            self.totals = record
        else:
            self._records.setdefault(key[:2], {})[key[2]] = record

    def _take_stream(self, key: Key, items: Sequence[bytes]) -> None:
        kind = key[0]
        if kind not in STREAM_ITEMS:
            self._note(key, f"unknown kind of stream {kind!r}")
            return
        noun = "message" if kind in PARTITIONS else "item"
        self.messages += len(items) if kind in PARTITIONS else 0
        for index, item in enumerate(items):
            try:
                found = decode_item(kind, item, f"{path_of(key)} {noun} {index}")
            except DecodeError as error:
                self._bad(key, error)
            else:
                self._events.extend([found] if kind == EVENTS else [])

    def _check_place(self, key: Key) -> None:
        kind, task, number = key
        fault = ""
        if kind in WHOLE_KERNEL:
            fault = f"belongs to task {task!r}, but to the kernel by its kind" if task else ""
        elif task not in self.known:
            fault = f"belongs to task {task!r}, which has no row"
        if not fault and kind in STREAM_ITEMS:
            fault = self._generation_fault(key)
        elif not fault and number and kind not in NUMBERED:
            fault = f"is numbered {number}, there is one at most"
        if fault:
            self._note(key, fault)

    def _generation_fault(self, key: Key) -> str:
        kind, task, generation = key
        if kind in PARTITIONS:
            in_use = getattr(self.records("context", task, Context).get(0, Context()), kind)
        else:
            in_use = self._fold().generation if kind == EVENTS else 0
        return "" if generation == in_use else f"is generation {generation}, but {in_use} is in use"

    def _fold(self) -> EventFold:
        return self.records(*FOLD[:2], EventFold).get(0, EventFold())

    def _bad(self, key: Key, error: DecodeError) -> None:
        where = error.path or path_of(key)
        self._find(key, where, error.message.removeprefix(f"{where}: "))

    def _note(self, key: Key, text: str) -> None:
        self._find(key, path_of(key), text)

    def _find(self, key: Key, where: str, text: str) -> None:
        self._bad_kinds.add(key[0])
        self.findings.append(Finding(FindingKind.RECORD, where, text))


def _check_values(record: Struct, path: str) -> None:
    """What programs and tools made was encoded by itself, and is decoded when they ask for it."""
    if isinstance(record, Value):
        _check_value(record.data, path)
    elif isinstance(record, Effect):
        for name in ("arguments", "outcome"):
            data: bytes = getattr(record, name)
            if data:
                _check_value(data, f"{path}.{name}")


def _check_value(data: bytes, path: str) -> None:
    try:
        msgspec.msgpack.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise DecodeError(f"{path}: {error}", path=path) from error
