"""What the kernel holds of one task beside its row: references to frozen records and encoded messages."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from kernelckpt.abc import Key
from kernelckpt.codec.record import STREAMS
from kernelckpt.errors import DecodeError
from kernelckpt.model.approval import Approval
from kernelckpt.model.context import Context
from kernelckpt.model.effect import Effect
from kernelckpt.model.inbox import InboxEntry, SentKey
from kernelckpt.model.kernel import Value


class Cell:
    """One task's records by kind. Only `KernelState` changes it, within a commit."""

    __slots__ = (
        "approvals",
        "context",
        "effects",
        "inbox",
        "input",
        "next_number",
        "sent",
        "sent_keys",
        "state",
        "streams",
    )

    def __init__(self) -> None:
        self.state: Value | None = None
        self.input: Value | None = None
        self.context = Context()
        self.streams: dict[str, list[bytes]] = {}
        self.inbox: dict[int, InboxEntry] = {}
        self.sent: dict[int, SentKey] = {}
        self.sent_keys: set[str] = set()
        self.approvals: dict[int, Approval] = {}
        self.effects: dict[int, Effect] = {}
        self.next_number = 1

    def take_number(self) -> int:
        """A number no record of this task has had in this process."""
        self.next_number += 1
        return self.next_number - 1

    def set(self, kind: str, number: int, record: Struct) -> None:
        """Keep a record."""
        if kind in _SINGLE:
            setattr(self, kind, record)
        else:
            self._numbered(kind)[number] = record
            self.next_number = max(self.next_number, number + 1)
        if isinstance(record, SentKey):
            self.sent_keys.add(record.key)

    def drop(self, kind: str, number: int) -> None:
        """Forget a record, if it is there."""
        if kind in STREAMS:
            self.streams.pop(kind, None)
        else:
            self._numbered(kind).pop(number, None)

    def extend(self, kind: str, start: int, items: tuple[bytes, ...]) -> None:
        """Add encoded messages to a partition."""
        stream = self.streams.setdefault(kind, [])
        if start != len(stream):
            raise DecodeError(f"{kind}: messages from {start} on, but {len(stream)} are there")
        stream.extend(items)

    def stream(self, kind: str) -> list[bytes]:
        """The encoded messages of a partition; append-only within a generation."""
        return self.streams.get(kind, [])

    def generation(self, kind: str) -> int:
        """The generation of a partition's stream."""
        generation: int = getattr(self.context, kind)
        return generation

    def scan(self, task_id: str) -> Iterator[tuple[Key, Struct | None]]:
        """All records of the task except its row; None for a stream."""
        for kind in _SINGLE:
            record = getattr(self, kind)
            if record is not None and not (kind == "context" and record == _FRESH):
                yield (kind, task_id, 0), record
        for kind in _NUMBERED:
            for number, record in list(self._numbered(kind).items()):
                yield (kind, task_id, number), record
        for kind in list(self.streams):
            yield (kind, task_id, self.generation(kind)), None

    def _numbered(self, kind: str) -> dict[int, Struct]:
        records: dict[int, Struct] = getattr(self, kind + "s" if kind in _PLURAL else kind)
        return records


_SINGLE = ("state", "input", "context")
_NUMBERED = ("inbox", "sent", "approval", "effect")
_PLURAL = {"approval", "effect"}
_FRESH = Context()
