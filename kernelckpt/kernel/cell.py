"""What the kernel holds of one task beside its row: references to frozen records and encoded messages."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from kernelckpt.abc import Key
from kernelckpt.codec.record import AUDIT, PARTITIONS
from kernelckpt.errors import DecodeError
from kernelckpt.kernel.context.tally import Tally
from kernelckpt.model.approval import Approval
from kernelckpt.model.capability import CapabilityManifest
from kernelckpt.model.context import Context, ContextMeter
from kernelckpt.model.effect import Effect
from kernelckpt.model.handle import SpooledResult
from kernelckpt.model.inbox import InboxEntry, SentKey
from kernelckpt.model.kernel import Value
from kernelckpt.model.milestone import MilestoneProgress
from kernelckpt.model.os_snapshot import ProcessRecord
from kernelckpt.model.request import OpenRequest
from kernelckpt.model.run_spec import AgentRunSpec

SINGLE = ("state", "input", "spec", "capabilities", "context", "meter", "request", "milestone", "process")
"""Kinds of which a task has one record at most; each is an attribute of the cell."""

NUMBERED = {"inbox": "inbox", "sent": "sent", "approval": "approvals", "effect": "effects", "spool": "spools"}
"""Kinds of which a task may have several records, and the attribute of the cell that holds them by number."""

_FRESH = Context()


class Cell:
    """One task's records by kind. Only `KernelState` changes it, within a commit."""

    __slots__ = (*SINGLE, *NUMBERED.values(), "next_number", "sent_keys", "streams", "_tallies")

    def __init__(self) -> None:
        self.state: Value | None = None
        self.input: Value | None = None
        self.spec: AgentRunSpec | None = None
        self.capabilities: CapabilityManifest | None = None
        self.context = _FRESH
        self.meter: ContextMeter | None = None
        self.request: OpenRequest | None = None
        self.milestone: MilestoneProgress | None = None
        self.process: ProcessRecord | None = None
        self.streams: dict[str, list[bytes]] = {}
        self.inbox: dict[int, InboxEntry] = {}
        self.sent: dict[int, SentKey] = {}
        self.sent_keys: set[str] = set()
        self.approvals: dict[int, Approval] = {}
        self.effects: dict[int, Effect] = {}
        self.spools: dict[int, SpooledResult] = {}
        self.next_number = 1
        self._tallies: dict[str, Tally] = {}

    def take_number(self) -> int:
        """A number no record of this task has had in this process."""
        self.next_number += 1
        return self.next_number - 1

    def set(self, kind: str, number: int, record: Struct) -> None:
        """Keep a record."""
        if kind in NUMBERED:
            self._numbered(kind)[number] = record
            self.next_number = max(self.next_number, number + 1)
        else:
            setattr(self, kind, record)
        if isinstance(record, SentKey):
            self.sent_keys.add(record.key)

    def drop(self, kind: str, number: int) -> None:
        """Forget a record or a stream, if it is there."""
        if kind in NUMBERED:
            self._numbered(kind).pop(number, None)
        elif kind in SINGLE:
            setattr(self, kind, _FRESH if kind == "context" else None)
        elif number == self.generation(kind):
            self.streams.pop(kind, None)
            self._tallies.pop(kind, None)

    def extend(self, kind: str, start: int, items: tuple[bytes, ...]) -> None:
        """Add encoded items to a stream."""
        stream = self.streams.setdefault(kind, [])
        if start != len(stream):
            raise DecodeError(f"{kind}: items from {start} on, but {len(stream)} are there")
        stream.extend(items)

    def stream(self, kind: str) -> list[bytes]:
        """The encoded items of a stream; append-only within a generation."""
        return self.streams.get(kind, [])

    def tally(self, partition: str) -> Tally:
        """The tokens and tool results of a partition; each message is counted once in a process."""
        tally = self._tallies.setdefault(partition, Tally())
        tally.update(self.stream(partition))
        return tally

    def generation(self, kind: str) -> int:
        """The generation of a stream; that of the audit is never rewritten."""
        if kind == AUDIT:
            return 0
        generation: int = getattr(self.context, kind)
        return generation

    def scan(self, task_id: str) -> Iterator[tuple[Key, Struct | None]]:
        """All records of the task except its row; None for a stream."""
        for kind in SINGLE:
            record = getattr(self, kind)
            if record is not None and record is not _FRESH:
                yield (kind, task_id, 0), record
        for kind in NUMBERED:
            for number, record in list(self._numbered(kind).items()):
                yield (kind, task_id, number), record
        for kind in list(self.streams):
            yield (kind, task_id, self.generation(kind)), None

    def _numbered(self, kind: str) -> dict[int, Struct]:
        records: dict[int, Struct] = getattr(self, NUMBERED[kind])
        return records


assert set(PARTITIONS) <= set(Context.__struct_fields__), "each partition's generation lies in the context"
