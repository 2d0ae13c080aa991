"""What the kernel holds of one task beside its row: references to frozen records and encoded messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from msgspec import Struct

from kernelckpt.abc import Key
from kernelckpt.codec.record import AUDIT, PARTITIONS
from kernelckpt.errors import ContextNotLoadedError, DecodeError
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
_NONE: Mapping[Any, Any] = MappingProxyType({})
"""What a cell holds of a kind until there is something: most of a hundred thousand tasks need few of them."""


class UnreadItems(Struct, gc=False, eq=False):
    """A stream of so many items that were not read yet, and those that were added since."""

    unread: int
    added: Sequence[bytes] = ()

    def __len__(self) -> int:
        return self.unread + len(self.added)

    def extend(self, items: Sequence[bytes]) -> None:
        """Add items at the end."""
        self.added = (*self.added, *items)

    def read(self, items: Sequence[bytes]) -> list[bytes]:
        """The stream, now that these were read."""
        if len(items) != self.unread:
            raise DecodeError(f"{len(items)} items, but {self.unread} were to be there")
        return [*items, *self.added] if self.added or type(items) is not list else items


class Cell(Struct, gc=False, eq=False):
    """One task's records by kind. Only `KernelState` changes it, within a commit.

    The garbage collector need not look at it: nothing that it holds can lead back to it.
    """

    state: Value | None = None
    input: Value | None = None
    spec: AgentRunSpec | None = None
    capabilities: CapabilityManifest | None = None
    context: Context = _FRESH
    meter: ContextMeter | None = None
    request: OpenRequest | None = None
    milestone: MilestoneProgress | None = None
    process: ProcessRecord | None = None
    streams: Mapping[str, list[bytes] | UnreadItems] = _NONE
    inbox: Mapping[int, InboxEntry] = _NONE
    sent: Mapping[int, SentKey] = _NONE
    sent_keys: Mapping[str, None] = _NONE
    approvals: Mapping[int, Approval] = _NONE
    effects: Mapping[int, Effect] = _NONE
    spools: Mapping[int, SpooledResult] = _NONE
    next_number: int = 1
    _tallies: Mapping[str, Tally] = _NONE

    def take_number(self) -> int:
        """A number no record of this task has had in this process."""
        self.next_number += 1
        return self.next_number - 1

    def set(self, kind: str, number: int, record: Struct) -> None:
        """Keep a record."""
        if kind in NUMBERED:
            self._own(NUMBERED[kind])[number] = record
            self.next_number = max(self.next_number, number + 1)
        else:
            setattr(self, kind, record)
        if isinstance(record, SentKey):
            self._own("sent_keys")[record.key] = None

    def drop(self, kind: str, number: int) -> None:
        """Forget a record or a stream, if it is there."""
        if kind in NUMBERED:
            self._own(NUMBERED[kind]).pop(number, None)
        elif kind in SINGLE:
            setattr(self, kind, _FRESH if kind == "context" else None)
        elif number == self.generation(kind):
            self._own("streams").pop(kind, None)
            self._own("_tallies").pop(kind, None)

    def extend(self, kind: str, items: Sequence[bytes]) -> int:
        """Add encoded items to a stream; the index of the first of them."""
        stream = self.streams.get(kind)
        if stream is None:
            stream = self._own("streams")[kind] = []
        start = len(stream)
        stream.extend(items)
        return start

    def stream(self, kind: str) -> list[bytes]:
        """The encoded items of a stream; append-only within a generation.

        Raises:
            ContextNotLoadedError: it was not read yet.
        """
        stream = self.streams.get(kind)
        if isinstance(stream, UnreadItems):
            raise ContextNotLoadedError(f"the {kind} was not loaded yet")
        return [] if stream is None else stream

    def length(self, kind: str) -> int:
        """How many items a stream has, read or not."""
        return len(self.streams.get(kind, ()))

    def hold(self, kind: str, count: int) -> None:
        """Note a stream of so many items that are read later."""
        self._own("streams")[kind] = UnreadItems(count)

    def unread(self) -> list[str]:
        """The kinds of streams that were not read yet."""
        return [kind for kind, stream in self.streams.items() if type(stream) is UnreadItems]

    def fill(self, kind: str, items: Sequence[bytes]) -> bool:
        """Put in what was read of a stream, if that is not known already; whether all are read by now."""
        stream = self.streams.get(kind)
        if type(stream) is UnreadItems:
            self._own("streams")[kind] = stream.read(items)
        return not self.unread()

    def tally(self, partition: str) -> Tally:
        """The tokens and tool results of a partition; each message is counted once in a process."""
        tally: Tally = self._own("_tallies").setdefault(partition, Tally())
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
        for kind, name in NUMBERED.items():
            for number, record in list(getattr(self, name).items()):
                yield (kind, task_id, number), record
        for kind in list(self.streams):
            yield (kind, task_id, self.generation(kind)), None

    def _own(self, name: str) -> dict[Any, Any]:
        """A dict of this cell's own, to be changed; until the first change all share an empty one."""
        if getattr(self, name) is _NONE:
            setattr(self, name, {})
        own: dict[Any, Any] = getattr(self, name)
        return own


assert set(PARTITIONS) <= set(Context.__struct_fields__), "each partition's generation lies in the context"
