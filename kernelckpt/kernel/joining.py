"""Joins: which tasks wait for which children, and when the last of them has ended."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from kernelckpt.errors import UsageError
from kernelckpt.kernel.state import KernelState
from kernelckpt.model.task_state import StateKind, TaskState
from kernelckpt.model.tcb import Tcb
from kernelckpt.model.wait import WaitKind, WaitReason

_EXACT = 64
"""Up to so many children, a joining row always names exactly those that have not ended; beyond, it is
rewritten when half of those it names have. Else ten thousand children would cost their square."""


class Joining:
    """The joins that are under way."""

    def __init__(self, state: KernelState) -> None:
        """None, over this state."""
        self._state = state
        self._pending: dict[str, set[str]] = {}

    def begin(self, row: Tcb, children: Iterable[str]) -> bool:
        """Suspend a task until these have ended; False when they have already, and nothing was done."""
        pending = [child for child in children if not self._state.row(child).state.is_terminal()]
        if not pending:
            return False
        self._pending[row.id] = set(pending)
        wait = WaitReason.sub_agent_join(pending)
        self._state.put_row(replace(row, state=TaskState.SUSPENDED, wait=wait, deferred_until=None))
        return True

    def stop(self, task_id: str) -> None:
        """The task does not wait for children any more."""
        self._pending.pop(task_id, None)

    def ended(self, child: Tcb) -> Tcb | None:
        """Note that a child has ended; its parent's row if that was the last one it waited for."""
        pending = self._pending.get(child.parent) if child.parent is not None else None
        if pending is None or child.id not in pending:
            return None
        pending.remove(child.id)
        parent = self._state.row(child.parent or "")
        named = parent.wait.children if parent.wait is not None else ()
        if not pending:
            return parent
        if len(pending) <= _EXACT or 2 * len(pending) <= len(named):
            self.name_pending(parent.id)
        return None

    def name_pending(self, parent: str | None) -> None:
        """Have the row of a joining task name exactly those that have not ended."""
        pending = self._pending.get(parent) if parent is not None else None
        row = self._state.table.get(parent) if parent is not None else None
        if row is None or row.wait is None or pending is None or len(row.wait.children) == len(pending):
            return
        left = tuple(name for name in row.wait.children if name in pending)
        self._state.put_row(replace(row, wait=WaitReason.sub_agent_join(left)))

    def parent_of(self, child: Tcb) -> Tcb | None:
        """The live parent whose last join named the child."""
        parent = self._state.table.get(child.parent) if child.parent is not None else None
        if parent is None or parent.state.is_terminal() or child.id not in parent.joined:
            return None
        return parent

    def refuse_consumed(self, child: Tcb) -> None:
        """Raise `UsageError` if a turn of its parent is reading the result of an ended child."""
        parent = self.parent_of(child)
        if parent is None or parent.state.kind is StateKind.READY or _joins(parent):
            return
        message = f"task {child.id!r}: its result is in the hands of {parent.id!r}"
        raise UsageError(message, hint="extend it before its parent goes on, or after that turn")


def _joins(row: Tcb) -> bool:
    return row.wait is not None and row.wait.kind is WaitKind.SUB_AGENT_JOIN
