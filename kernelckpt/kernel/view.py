"""Read-only views of a task's committed context."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

from kernelckpt.codec.record import decode_message
from kernelckpt.kernel.cell import Cell
from kernelckpt.model.context import Plan
from kernelckpt.model.message import Message


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
