"""The kernel's state at one commit, as one record that can be looked at, written as JSON and read back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from msgspec import field

from kernelckpt.model.approval import Approval
from kernelckpt.model.capability import CapabilityManifest
from kernelckpt.model.command import CommandOutcome
from kernelckpt.model.context import ContextMeter
from kernelckpt.model.context_snapshot import ContextSnapshot
from kernelckpt.model.effect import Effect
from kernelckpt.model.governance import AuditEntry, GovernancePolicy, RateSlot
from kernelckpt.model.handle import SpooledResult
from kernelckpt.model.inbox import InboxEntry, SentKey
from kernelckpt.model.json_form import json_text, parse_json
from kernelckpt.model.kernel import KernelTotals, Value
from kernelckpt.model.logged_event import LoggedEvent
from kernelckpt.model.milestone import MilestoneProgress
from kernelckpt.model.os_snapshot import EventFold, OsSnapshot, ProcessRecord
from kernelckpt.model.process import ProcessState
from kernelckpt.model.record import Record
from kernelckpt.model.request import OpenRequest
from kernelckpt.model.row_snapshot import (
    ProcInfoSnapshot,
    ResultSnapshot,
    TcbSnapshot,
    null,
    restore_tcb,
)
from kernelckpt.model.run_spec import AgentRunSpec
from kernelckpt.model.scalar import U64
from kernelckpt.model.signal import QueuedSignal
from kernelckpt.model.snapshot_form import read_snapshot, write_snapshot
from kernelckpt.model.tcb import Tcb

__all__ = [
    "ContextSnapshot",
    "KernelSnapshot",
    "ProcInfoSnapshot",
    "ResultSnapshot",
    "TcbSnapshot",
    "restore_tcb",
]


class RowTable(Protocol):
    """Whatever gives all rows in order, as the task table does."""

    def all(self) -> Iterable[Tcb]:
        """Every row."""


class KernelSnapshot(Record, frozen=True, gc=False):
    """The state at one commit, whole: a kernel can go on from it.

    The first five fields are the original's. Of the others, those `by task` hold what belongs to a task under
    its id; where a task or the kernel may have several records of a kind, they are kept by their number, for
    numbers are referred to: an approval's key may name that of an effect.

    Attributes:
        turn: kernel turns so far.
        total_tokens: tokens spent by all tasks.
        tasks: every row, in order.
        context: the context of the first root.
        spec: what the first root's run is to be, if that was said; `run_spec` in JSON.
        contexts: every task's context, by task.
        states: each program's encoded state, by task.
        inputs: each program's encoded input, by task.
        specs: what each task's run is to be, by task.
        capabilities: what each task may use, by task.
        meters: what was measured of each context, by task.
        requests: replies whose tool calls are being made, by task.
        milestones: where each run stands in its contract, by task.
        processes: the event log's newest record of each child, by task.
        inbox: what was sent to a task and no turn has read yet, by task and number.
        sent: the keys under which something was sent, by task and number.
        approvals: questions to a human, by task and number.
        effects: the ledger of calls, by task and number.
        spools: tool results too large for a history, by task and number.
        audits: what governance said about a task's calls, oldest first, by task.
        totals: all totals, with the working clock.
        governance: what agents may do; None when nothing governs them.
        queued_signals: signals that no task has taken yet, by number.
        rates: calls that count against a rate limit, by number.
        commands: what came of commands from outside that may still lie in the run's inbox, by number.
        fold: the event log as far as it was folded.
        events: the event log since then, oldest first.
        os_view: the replayed view of the event log.
    """

    turn: U64
    total_tokens: U64
    tasks: tuple[TcbSnapshot, ...]
    context: ContextSnapshot
    spec: AgentRunSpec | None = field(default_factory=null, name="run_spec")
    contexts: dict[str, ContextSnapshot] = field(default_factory=dict)
    states: dict[str, Value] = field(default_factory=dict)
    inputs: dict[str, Value] = field(default_factory=dict)
    specs: dict[str, AgentRunSpec] = field(default_factory=dict)
    capabilities: dict[str, CapabilityManifest] = field(default_factory=dict)
    meters: dict[str, ContextMeter] = field(default_factory=dict)
    requests: dict[str, OpenRequest] = field(default_factory=dict)
    milestones: dict[str, MilestoneProgress] = field(default_factory=dict)
    processes: dict[str, ProcessRecord] = field(default_factory=dict)
    inbox: dict[str, dict[U64, InboxEntry]] = field(default_factory=dict)
    sent: dict[str, dict[U64, SentKey]] = field(default_factory=dict)
    approvals: dict[str, dict[U64, Approval]] = field(default_factory=dict)
    effects: dict[str, dict[U64, Effect]] = field(default_factory=dict)
    spools: dict[str, dict[U64, SpooledResult]] = field(default_factory=dict)
    audits: dict[str, tuple[AuditEntry, ...]] = field(default_factory=dict)
    totals: KernelTotals | None = None
    governance: GovernancePolicy | None = None
    queued_signals: dict[U64, QueuedSignal] = field(default_factory=dict)
    rates: dict[U64, RateSlot] = field(default_factory=dict)
    commands: dict[U64, CommandOutcome] = field(default_factory=dict)
    fold: EventFold | None = None
    events: tuple[LoggedEvent, ...] = ()
    os_view: OsSnapshot | None = None

    @classmethod
    def from_state(
        cls,
        turn: int,
        total_tokens: int,
        tasks: RowTable | Iterable[Tcb],
        context: ContextSnapshot,
        run_spec: AgentRunSpec | None = None,
    ) -> KernelSnapshot:
        """The snapshot of what the original knows; `tasks` is a table, or rows in order."""
        rows = tasks if isinstance(tasks, Iterable) else tasks.all()
        return cls(turn, total_tokens, tuple(map(TcbSnapshot.from_tcb, rows)), context, run_spec)

    def run_spec(self) -> AgentRunSpec | None:
        """What the run is to be, if that was said."""
        return self.spec

    def first_root(self) -> str | None:
        """The id of the first row without a parent."""
        return next((row.id for row in self.tasks if row.parent is None), None)

    def to_os_process_records(self) -> list[ProcessRecord]:
        """A record for each child: its own turns, and the label of its row's state."""
        return [
            ProcessRecord(row.turns, row.id, row.proc.parent_session_id, row.state.label())
            for row in self.tasks
            if row.proc is not None
        ]

    def to_mapped_process_records(self) -> list[ProcessRecord]:
        """The same as a replay of the event log gives it.

        The turn is the kernel's at the last change; the state is running, joined or failed.
        """
        return [
            ProcessRecord(
                row.changed_turn, row.id, row.proc.parent_session_id, ProcessState.of(row.state).value
            )
            for row in self.tasks
            if row.proc is not None
        ]

    def to_dict(self) -> dict[str, Any]:
        """The snapshot as JSON data, in the original's shape and order, what the original lacks behind it.

        Raises:
            InvalidValueError: it holds something that JSON cannot; the path names it.
        """
        return write_snapshot(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> KernelSnapshot:
        """The snapshot that `to_dict` gave, or one of the original; read strictly.

        Each value is checked, not what values say of each other: a snapshot of parts of a state is one too.

        Raises:
            DecodeError: a value of the wrong type or out of range, an unknown label or field, a field
                missing, or a row or context that contradicts itself; the path is like `tasks[2].state`.
        """
        return read_snapshot(data, cls)

    def to_json(self) -> str:
        """`to_dict` as compact JSON text.

        Raises:
            InvalidValueError: it holds something that JSON cannot; the path names it.
        """
        return json_text(self.to_dict())

    @classmethod
    def from_json(cls, text: str | bytes) -> KernelSnapshot:
        """The snapshot of a JSON text, read as strictly as by `from_dict`.

        Raises:
            DecodeError: as for `from_dict`; or not JSON, or with a key that occurs twice.
        """
        return cls.from_dict(parse_json(text, ""))
