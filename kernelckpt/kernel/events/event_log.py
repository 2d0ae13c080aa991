"""The event log: each event is folded into the replay view as it comes, and the newest are kept."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from msgspec.structs import replace

from kernelckpt.model.event import MemoryRetrievalResult
from kernelckpt.model.logged_event import LoggedEvent
from kernelckpt.model.os_event import (
    AgentForgotten,
    AgentProcessChanged,
    BudgetExceeded,
    LargeResultSpooled,
    MemoryQueried,
    MemoryValidationFailed,
    MemoryWritten,
    OsEvent,
    PageIn,
    PageOut,
    Resumed,
    SignalDisposed,
    Suspended,
    ToolGated,
    kind_of,
)
from kernelckpt.model.os_snapshot import (
    BudgetExceededRecord,
    EventFold,
    OsSnapshot,
    ProcessRecord,
    SignalDisposedRecord,
    SuspendRecord,
)

_COUNTERS: dict[type[Any], str] = {
    PageOut: "page_out_count",
    PageIn: "page_in_count",
    ToolGated: "tool_gated_count",
    MemoryWritten: "memory_written_count",
    MemoryQueried: "memory_queried_count",
    MemoryValidationFailed: "memory_validation_failed_count",
    MemoryRetrievalResult: "memory_retrieval_result_count",
}
_MAY_LACK_CATEGORY = (MemoryWritten, MemoryQueried, MemoryValidationFailed, LargeResultSpooled)

EVENTS_KEPT = 1000
"""How many of the newest events a kernel keeps in memory."""

VIEW_KEEPS = 50
"""How many of the newest signals, and of the newest limits reached, the view of a kernel names."""


class EventLog:
    """Folds events one at a time, at a cost that does not grow with the log.

    The newest events, limits reached and signals are kept up to a bound; children are kept until they are
    forgotten; counters count everything.
    """

    def __init__(
        self,
        keep: int | None = EVENTS_KEPT,
        view: OsSnapshot | None = None,
        *,
        view_keeps: int | None = VIEW_KEEPS,
    ) -> None:
        """A log that goes on from a view.

        Args:
            keep: how many of the newest events stay; None keeps all.
            view: what was folded before.
            view_keeps: how many of the newest limits reached, and signals, the view names; None: all.
        """
        view = view or OsSnapshot()
        self._events: deque[LoggedEvent] = deque(maxlen=keep)
        self._kinds: Counter[str] = Counter()
        self._counts = Counter({name: getattr(view, name) for name in _COUNTERS.values()})
        self._processes = {record.agent_id: record for record in view.process_by_agent}
        self._exceeded = deque(view.budget_exceeded, maxlen=view_keeps)
        self._signals = deque(view.signals, maxlen=view_keeps)
        self._last_suspend = view.last_suspend
        self._last_resumed_turn = view.last_resumed_turn
        self._suspended = view.suspended

    def append(self, event: LoggedEvent) -> None:
        """Add an event, the newest."""
        self._events.append(event)
        self._kinds[kind_of(event)] += 1
        self._fold(event)

    def arrange(self, agents: Iterable[str]) -> None:
        """Put the records of these children first, in this order."""
        known = self._processes
        self._processes = {agent: known[agent] for agent in agents if agent in known} | known

    @property
    def events(self) -> tuple[LoggedEvent, ...]:
        """The newest events, oldest first."""
        return tuple(self._events)

    @property
    def counts(self) -> Mapping[str, int]:
        """How many events of each kind were appended to this log."""
        return MappingProxyType(self._kinds)

    def process(self, agent_id: str) -> ProcessRecord | None:
        """The newest record of a child; None when it is not known (any more)."""
        return self._processes.get(agent_id)

    def view(self) -> OsSnapshot:
        """What all events amount to."""
        return replace(self.view_without_processes(), process_by_agent=tuple(self._processes.values()))

    def view_without_processes(self) -> OsSnapshot:
        """The view but for the children; making it costs the same however many there are."""
        return OsSnapshot(
            last_suspend=self._last_suspend,
            last_resumed_turn=self._last_resumed_turn,
            process_by_agent=(),
            budget_exceeded=tuple(self._exceeded),
            signals=tuple(self._signals),
            suspended=self._suspended,
            **self._counts,
        )

    def _fold(self, event: LoggedEvent) -> None:
        counter = _COUNTERS.get(type(event))
        if counter is not None:
            self._counts[counter] += 1
        elif isinstance(event, Suspended):
            self._last_suspend = SuspendRecord(event.turn, event.reason, event.pending_calls)
            self._suspended = True
        elif isinstance(event, Resumed):
            self._last_resumed_turn = event.turn
            self._suspended = False
        elif isinstance(event, AgentProcessChanged):
            self._processes[event.agent_id] = _process_of(event)
        elif isinstance(event, AgentForgotten):
            self._processes.pop(event.agent_id, None)
        elif isinstance(event, BudgetExceeded):
            self._exceeded.append(BudgetExceededRecord(event.turn, event.budget))
        elif isinstance(event, SignalDisposed):
            self._signals.append(_signal_of(event))


def rebuild_os_snapshot_from_events(events: Iterable[LoggedEvent]) -> OsSnapshot:
    """The view that a whole log amounts to, in one pass."""
    log = EventLog(keep=None, view_keeps=None)
    for event in events:
        log.append(event)
    return log.view()


def rebuild_log(
    fold: EventFold, processes: Iterable[ProcessRecord], events: Iterable[LoggedEvent], agents: Iterable[str]
) -> EventLog:
    """The log that a run's records stand for.

    Args:
        fold: what was folded.
        processes: the children as of the fold.
        events: what happened since.
        agents: the order in which the children were first seen, which is that of their rows.
    """
    log = EventLog(view=replace(fold.view, process_by_agent=tuple(processes)))
    for event in events:
        log.append(event)
    log.arrange(agents)
    return log


def has_required_categories(events: Iterable[LoggedEvent]) -> bool:
    """Whether every event of the kernel carries a category; events on memory and spooling may lack it."""
    required = (
        event for event in events if isinstance(event, OsEvent) and not isinstance(event, _MAY_LACK_CATEGORY)
    )
    return all(event.category is not None for event in required)


def _process_of(event: AgentProcessChanged) -> ProcessRecord:
    return ProcessRecord(event.turn, event.agent_id, event.parent_session_id, event.state)


def _signal_of(event: SignalDisposed) -> SignalDisposedRecord:
    return SignalDisposedRecord(event.turn, event.signal_id, event.disposition, event.queue_depth)
