"""What a turn sees: its task's committed state as of the turn's begin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from kernelckpt.codec.record import unshared
from kernelckpt.kernel.core import Core, result_of
from kernelckpt.kernel.phase import tracker_of
from kernelckpt.kernel.program import Program
from kernelckpt.kernel.turn.staged import Staged
from kernelckpt.kernel.view import ContextView, Messages
from kernelckpt.model.approval import Approval
from kernelckpt.model.capability import CapabilityManifest
from kernelckpt.model.inbox import InboxEntry, lines_of
from kernelckpt.model.message import Message
from kernelckpt.model.milestone import MilestonePhase
from kernelckpt.model.result import LoopResult
from kernelckpt.model.run_spec import AgentRunSpec
from kernelckpt.model.signal import RuntimeSignal
from kernelckpt.model.tcb import Tcb

_EMPTY: Mapping[int, InboxEntry] = MappingProxyType({})


class TurnReads:
    """The reading half of a turn. Everything it hands out is frozen or a copy."""

    _context: ContextView | None = None

    def __init__(self, core: Core, row: Tcb, program: Program, deps: Any) -> None:
        """Made by the scheduler."""
        self._core = core
        self._row = row
        self._cell = cell = core.state.cell(row.id)
        self._program = program
        self._staged = Staged()
        self._inbox = dict(cell.inbox) if cell.inbox else _EMPTY
        self.deps = deps

    @property
    def task(self) -> Tcb:
        """The task's row at the turn's begin."""
        return self._row

    @property
    def core(self) -> Core:
        """The kernel it is a turn of; for the kernel's own code."""
        return self._core

    @property
    def number(self) -> int:
        """1 for the task's first turn; an aborted turn is run again under its number."""
        return self._row.budget.turns + 1

    @property
    def attempt(self) -> int:
        """1 when no turn was begun in vain since the last one that was committed."""
        return self._row.attempt

    @property
    def goal(self) -> str:
        """What the task is to do."""
        return self._row.goal

    @property
    def input(self) -> Any:
        """The task's input, of the program's type; None when it has none."""
        value = self._cell.input
        return None if value is None else self._program.input.decode(value.data, "input")

    @property
    def state(self) -> Any:
        """The program's state as last set, of the program's type; None before it was ever set."""
        value = self._staged.value or self._cell.state
        return None if value is None else self._program.state.decode(value.data, "state")

    @property
    def context(self) -> ContextView:
        """The task's context."""
        if self._context is None:
            self._context = ContextView(self._cell, self._inbox)
        return self._context

    @property
    def messages(self) -> Messages:
        """The task's history."""
        return self.context.history

    @property
    def results(self) -> Mapping[str, LoopResult]:
        """The results of the tasks that the last turn joined, by id."""
        rows = [self._core.state.table.get(child) for child in self._row.joined]
        found = {row.id: result_of(row) for row in rows if row is not None}
        return {task_id: unshared(result) for task_id, result in found.items() if result is not None}

    @property
    def inbox(self) -> Sequence[Message]:
        """Messages sent to the task and not consumed yet; reading them consumes them with the commit."""
        return [unshared(entry.message) for entry in self._take("message") if entry.message]

    @property
    def signals(self) -> Sequence[RuntimeSignal]:
        """Signals delivered to the task; reading them consumes them with the commit."""
        return [unshared(entry.signal) for entry in self._take("signal") if entry.signal]

    def _take(self, kind: str) -> list[Any]:
        taken = {number: entry for number, entry in self._inbox.items() if getattr(entry, kind) is not None}
        self._staged.read |= taken.keys()
        return list(taken.values())

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines of the kernel to the agent: signals, refusals, rollbacks, phases.

        Reading them consumes them with the commit, and with them the signals they speak of; unread ones stay.
        """
        self._staged.read |= {number for number, entry in self._inbox.items() if entry.line is not None}
        return lines_of(self._inbox)

    @property
    def run_spec(self) -> AgentRunSpec | None:
        """What the task's run is to be, if that was said."""
        return None if self._cell.spec is None else unshared(self._cell.spec)

    @property
    def capabilities(self) -> CapabilityManifest:
        """What the task may use."""
        manifest = self._cell.capabilities
        return CapabilityManifest() if manifest is None else unshared(manifest)

    @property
    def milestone(self) -> MilestonePhase | None:
        """The phase that the task must pass next; None when there is none, or all are passed."""
        return tracker_of(self._core.state, self._row.id).current

    @property
    def approvals(self) -> Mapping[str, Approval]:
        """The answers to the task's questions, by key; one that nobody has answered is not there."""
        return {item.key: unshared(item) for item in self._cell.approvals.values() if not item.pending}
