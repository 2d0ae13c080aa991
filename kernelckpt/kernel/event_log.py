"""The event log: each event is folded into the replay view as it comes, and the newest are kept."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from kernelckpt.model.event import MemoryRetrievalResult, SessionEvent
from kernelckpt.model.os_event import (
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


class EventLog:
    """Folds events one at a time, at a cost that does not grow with the log.

    The newest events, limits reached and signals are kept up to a bound; children are kept until they are
    forgotten; counters count everything.
    """

    def __init__(self, keep: int | None = 1000, view: OsSnapshot | None = None) -> None:
        """A log that goes on from a view.

        Args:
            keep: how many of the newest events (and limits, and signals) stay; None keeps all.
            view: what was folded before.
        """
        view = view or OsSnapshot()
        self._events: deque[SessionEvent] = deque(maxlen=keep)
        self._kinds: Counter[str] = Counter()
        self._counts = Counter({name: getattr(view, name) for name in _COUNTERS.values()})
        self._processes = {record.agent_id: record for record in view.process_by_agent}
        self._exceeded = deque(view.budget_exceeded, maxlen=keep)
        self._signals = deque(view.signals, maxlen=keep)
        self._last_suspend = view.last_suspend
        self._last_resumed_turn = view.last_resumed_turn
        self._suspended = view.suspended

    def append(self, event: SessionEvent) -> None:
        """Add an event, the newest."""
        self._events.append(event)
        self._kinds[kind_of(event)] += 1
        self._fold(event)

    def forget(self, agent_id: str) -> None:
        """Drop the record of a child whose row is gone."""
        self._processes.pop(agent_id, None)

    @property
    def events(self) -> tuple[SessionEvent, ...]:
        """The newest events, oldest first."""
        return tuple(self._events)

    @property
    def counts(self) -> Mapping[str, int]:
        """How many events of each kind were appended to this log."""
        return MappingProxyType(self._kinds)

    def view(self) -> OsSnapshot:
        """What all events amount to."""
        return OsSnapshot(
            last_suspend=self._last_suspend,
            last_resumed_turn=self._last_resumed_turn,
            process_by_agent=tuple(self._processes.values()),
            budget_exceeded=tuple(self._exceeded),
            signals=tuple(self._signals),
            suspended=self._suspended,
            **self._counts,
        )

    def _fold(self, event: SessionEvent) -> None:
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
        elif isinstance(event, BudgetExceeded):
            self._exceeded.append(BudgetExceededRecord(event.turn, event.budget))
        elif isinstance(event, SignalDisposed):
            self._signals.append(_signal_of(event))


def rebuild_os_snapshot_from_events(events: Iterable[SessionEvent]) -> OsSnapshot:
    """The view that a whole log amounts to, in one pass."""
    log = EventLog(keep=None)
    for event in events:
        log.append(event)
    return log.view()


def has_required_categories(events: Iterable[SessionEvent]) -> bool:
    """Whether every event of the kernel carries a category; events on memory and spooling may lack it."""
    required = (
        event for event in events if isinstance(event, OsEvent) and not isinstance(event, _MAY_LACK_CATEGORY)
    )
    return all(event.category is not None for event in required)


def _process_of(event: AgentProcessChanged) -> ProcessRecord:
    return ProcessRecord(event.turn, event.agent_id, event.parent_session_id, event.state)


def _signal_of(event: SignalDisposed) -> SignalDisposedRecord:
    return SignalDisposedRecord(event.turn, event.signal_id, event.disposition, event.queue_depth)
