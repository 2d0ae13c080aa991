"""A run's records, every one of them decoded by itself, so that one bad record does not hide the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

import msgspec
from msgspec import Struct

from kernelckpt.abc import Key, RestoredState
from kernelckpt.checkpoint.finding import Finding, FindingKind
from kernelckpt.codec.record import AUDIT, PARTITIONS, STREAM_ITEMS, decode_item, decode_record, path_of
from kernelckpt.errors import DecodeError
from kernelckpt.model.context import Context
from kernelckpt.model.effect import Effect
from kernelckpt.model.kernel import KernelTotals, Value
from kernelckpt.model.tcb import Tcb

_R = TypeVar("_R", bound=Struct)

NUMBERED = frozenset({"inbox", "sent", "approval", "effect", "spool", "signal", "rate"})
"""Kinds of which a task, or the kernel, may have several records."""

WHOLE_KERNEL = frozenset({"kernel", "signal", "governance", "rate", "fold", "event"})
"""Kinds that belong to no task."""


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
        for key, data in state.records.items():
            self._take(key, data)
        for key, items in state.streams.items():
            self._take_stream(key, items)
        self.findings += self._misplaced((*state.records, *state.streams))

    def records(self, kind: str, task: str, type_: type[_R]) -> Mapping[int, _R]:
        """The records of a kind that a task has, by number."""
        found = self._records.get((kind, task), {})
        return {number: item for number, item in sorted(found.items()) if isinstance(item, type_)}

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
                decode_item(kind, item, f"{path_of(key)} {noun} {index}")
            except DecodeError as error:
                self._bad(key, error)

    def _misplaced(self, keys: Sequence[Key]) -> Iterator[Finding]:
        for key in keys:
            kind, task, number = key
            if kind in WHOLE_KERNEL:
                fault = f"belongs to task {task!r}, but to the kernel by its kind" if task else ""
            elif task not in self.known:
                fault = f"belongs to task {task!r}, which has no row"
            else:
                fault = self._generation_fault(key) if kind in STREAM_ITEMS else ""
            if not fault and number and kind not in NUMBERED and kind not in STREAM_ITEMS:
                fault = f"is numbered {number}, there is one at most"
            if fault:
                yield Finding(FindingKind.RECORD, path_of(key), fault)

    def _generation_fault(self, key: Key) -> str:
        kind, task, generation = key
        context = self.records("context", task, Context).get(0, Context())
        in_use = 0 if kind == AUDIT else getattr(context, kind)
        return "" if generation == in_use else f"is generation {generation}, but {in_use} is in use"

    def _bad(self, key: Key, error: DecodeError) -> None:
        where = error.path or path_of(key)
        self.findings.append(Finding(FindingKind.RECORD, where, error.message.removeprefix(f"{where}: ")))

    def _note(self, key: Key, text: str) -> None:
        self.findings.append(Finding(FindingKind.RECORD, path_of(key), text))


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
