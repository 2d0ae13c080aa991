"""The view that replaying the event log gives: who runs, what is suspended, what was counted."""

from __future__ import annotations

from kernelckpt.model.record import Record
from kernelckpt.model.scalar import U32, U64


class ProcessRecord(Record, frozen=True, gc=False):
    """A child as of its last change; `state` is a label."""

    turn: U64
    agent_id: str
    parent_session_id: str
    state: str


class SuspendRecord(Record, frozen=True, gc=False):
    """A suspension."""

    turn: U64
    reason: str
    pending_calls: tuple[str, ...] = ()


class BudgetExceededRecord(Record, frozen=True, gc=False):
    """A limit that was reached."""

    turn: U64
    budget: str


class SignalDisposedRecord(Record, frozen=True, gc=False):
    """What the router decided about a signal."""

    turn: U64
    signal_id: str
    disposition: str
    queue_depth: U32


class OsSnapshot(Record, frozen=True, gc=False):
    """The replayed view.

    Attributes:
        last_suspend: the last suspension; a resume does not clear it.
        last_resumed_turn: the turn of the last resume.
        process_by_agent: the newest record of each child, in the order in which they were first seen.
        budget_exceeded: the limits reached.
        signals: what became of the signals.
        page_out_count: messages moved out of a context.
        page_in_count: entries moved into one.
        tool_gated_count: calls that waited for a human.
        memory_written_count: things remembered.
        memory_queried_count: questions to memory.
        memory_validation_failed_count: things that could not be remembered.
        memory_retrieval_result_count: answers of memory.
        suspended: whether the last suspension came after the last resume, by place in the log.
    """

    last_suspend: SuspendRecord | None = None
    last_resumed_turn: U64 | None = None
    process_by_agent: tuple[ProcessRecord, ...] = ()
    budget_exceeded: tuple[BudgetExceededRecord, ...] = ()
    signals: tuple[SignalDisposedRecord, ...] = ()
    page_out_count: U32 = 0
    page_in_count: U32 = 0
    tool_gated_count: U32 = 0
    memory_written_count: U32 = 0
    memory_queried_count: U32 = 0
    memory_validation_failed_count: U32 = 0
    memory_retrieval_result_count: U32 = 0
    suspended: bool = False


class EventFold(Record, frozen=True, gc=False):
    """The event log as far as it was folded; the events since lie in a stream.

    Attributes:
        generation: the generation of that stream.
        view: what the folded events amount to, without the processes: those have records of their own.
    """

    generation: U32 = 0
    view: OsSnapshot = OsSnapshot()
