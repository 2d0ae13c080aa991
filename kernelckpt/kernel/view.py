"""Read-only views of what is committed: the table, and a task's context."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

from kernelckpt.codec.record import decode_message, unshared
from kernelckpt.errors import UsageError
from kernelckpt.kernel.cell import Cell
from kernelckpt.kernel.table import TaskTable
from kernelckpt.model.context import Plan
from kernelckpt.model.message import Message
from kernelckpt.model.tcb import Tcb


class TableView(TaskTable):
    """The live table of a kernel, to look at; what it hands out shares no mutable data with the kernel."""

    def __init__(self, table: TaskTable) -> None:
        self.__dict__ = table.__dict__  # the same rows and indexes at any moment, nothing is copied

    def insert(self, row: Tcb) -> TaskTable:  # noqa: D102
        raise UsageError(f"{row.id!r} cannot be put into a kernel's table", hint="use kernel.submit")

    def remove(self, task_id: str) -> Tcb | None:  # noqa: D102
        raise UsageError(f"{task_id!r} cannot be taken out of a kernel's table", hint="use kernel.forget")

    def get(self, task_id: str) -> Tcb | None:  # noqa: D102
        row = super().get(task_id)
        return None if row is None else private_row(row)

    def scan(self) -> Iterator[Tcb]:  # noqa: D102
        return map(private_row, super().scan())

    def children_of(self, parent: str | None) -> list[Tcb]:  # noqa: D102
        return [private_row(row) for row in super().children_of(parent)]


def private_row(row: Tcb) -> Tcb:
    """A row whose result's plain data is nobody else's."""
    result = row.proc.result.result if row.proc is not None and row.proc.result is not None else row.result
    return row if result is None or result.output is None else unshared(row)


class Messages(Sequence[Message]):
    """The messages of a partition as they were when it was asked for; decoded when looked at."""

    __slots__ = ("_items", "_length")

    def __init__(self, items: list[bytes]) -> None:
        self._items = items
        self._length = len(items)

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> Message: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Message]: ...

    def __getitem__(self, index: int | slice) -> Message | Sequence[Message]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(self._length))]
        place = index + self._length if index < 0 else index
        if not 0 <= place < self._length:
            raise IndexError(f"message {index} of {self._length}")
        return decode_message(self._items[place], f"message {place}")

    def __iter__(self) -> Iterator[Message]:
        for place in range(self._length):
            yield decode_message(self._items[place], f"message {place}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return f"<{self._length} messages>"

    def encoded(self) -> list[bytes]:
        """The messages' msgpack bytes."""
        return self._items[: self._length]


class ContextView:
    """A task's context at one commit."""

    __slots__ = ("history", "knowledge", "max_tokens", "plan", "signals", "sprint", "system")

    def __init__(self, cell: Cell) -> None:
        context = cell.context
        self.system = Messages(cell.stream("system"))
        self.knowledge = Messages(cell.stream("knowledge"))
        self.history = Messages(cell.stream("history"))
        self.plan: Plan = context.plan
        self.signals: tuple[str, ...] = context.signals
        self.max_tokens: int = context.max_tokens
        self.sprint: int = context.sprint
