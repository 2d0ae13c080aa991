"""Read-only views of what is committed: the table, and a task's context."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import overload

from kernelckpt.codec.record import PARTITIONS, decode_message, decode_messages, unshared
from kernelckpt.errors import UsageError
from kernelckpt.kernel.cell import Cell
from kernelckpt.kernel.context.handle_table import HandleTable
from kernelckpt.kernel.context.measure import Measure, spooled_calls
from kernelckpt.kernel.context.render import RenderedContext, render
from kernelckpt.kernel.context.tally import Tally
from kernelckpt.kernel.table import TaskTable
from kernelckpt.model.context import Handoff, Plan
from kernelckpt.model.context_config import ContextConfig
from kernelckpt.model.inbox import InboxEntry, lines_of
from kernelckpt.model.message import Message
from kernelckpt.model.tcb import Tcb


class TableView(TaskTable):
    """The live table of a kernel, to look at; what it hands out shares no mutable data with the kernel."""

    def __init__(self, table: TaskTable) -> None:
        self.__dict__ = table.__dict__  # the same rows and indexes at any moment, nothing is copied

    def put(self, row: Tcb) -> tuple[Tcb | None, bool]:  # noqa: D102
        raise UsageError(f"{row.id!r} cannot be put into a kernel's table", hint="use kernel.submit")

    def begin(self, row: Tcb) -> bool:  # noqa: D102
        return self.put(row)[1]

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
        return decode_messages(islice(self._items, self._length))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return f"<{self._length} messages>"

    def is_all_of(self, items: list[bytes]) -> bool:
        """Whether these are all items of a stream, and nothing was added since."""
        return self._items is items and self._length == len(items)

    def encoded(self) -> list[bytes]:
        """The messages' msgpack bytes."""
        return self._items[: self._length]


class ContextView:
    """A task's context at one commit.

    Attributes:
        system: identity and rules.
        knowledge: retrievals and skill texts.
        history: the conversation.
        plan: the goal/plan record.
        signals: lines of the kernel to the agent that no turn has read yet.
        max_tokens: the context window.
        sprint: how often the context was renewed.
        config: when it is spooled, compressed and renewed.
        last_handoff: what the last renewal told of the sprint before; None before the first.
        request: the reply whose tool calls are being made; it joins the history with their results. Or None.
    """

    def __init__(self, cell: Cell, inbox: Mapping[int, InboxEntry] | None = None) -> None:
        """Of a task; its lines are those of `inbox` if that is given, as a turn must not see later ones."""
        self._cell = cell
        self._context = context = cell.context
        self._meter = cell.meter
        self._spooled = spooled_calls(cell)
        self.system = Messages(cell.stream("system"))
        self.knowledge = Messages(cell.stream("knowledge"))
        self.history = Messages(cell.stream("history"))
        self.plan: Plan = context.plan
        self.signals: tuple[str, ...] = lines_of(cell.inbox if inbox is None else inbox)
        self.max_tokens: int = context.max_tokens
        self.sprint: int = context.sprint
        self.config: ContextConfig = context.config
        self.last_handoff: Handoff | None = context.last_handoff
        self.request: Message | None = None if cell.request is None else unshared(cell.request.reply)

    @property
    def tokens(self) -> int:
        """The tokens of all partitions and the plan."""
        return self._measure.tokens

    @property
    def pressure(self) -> float:
        """How full it is, 1.0 is full; by the provider's count if `turn.observed` has told it."""
        return self._measure.pressure

    @property
    def effective_pressure(self) -> float:
        """The same without what is shown as a preview only: what compression goes by."""
        return self._measure.effective_pressure

    @property
    def handles(self) -> HandleTable:
        """For each tool result, whether it lies in the history whole; recreated from the history."""
        return self._measure.handles

    def render(self, max_tokens: int | None = None) -> RenderedContext:
        """The context as a model is to see it, with at most so many tokens of history."""
        return render(
            system=self.system,
            knowledge=self.knowledge,
            history=self.history,
            plan=self.plan,
            signals=self.signals,
            handles=self.handles,
            max_tokens=self.max_tokens if max_tokens is None else max_tokens,
        )

    @cached_property
    def _measure(self) -> Measure:
        tallies = {name: [self._tally(name, getattr(self, name))] for name in PARTITIONS}
        return Measure(self._context, self._meter, tallies, self._spooled)

    def _tally(self, partition: str, messages: Messages) -> Tally:
        """The task's own tally, as long as it counts these very messages."""
        if messages.is_all_of(self._cell.stream(partition)):
            return self._cell.tally(partition)
        tally = Tally()
        tally.update(messages.encoded())
        return tally
