"""Forgetting: finished tasks leave the table, when asked or when there are more than are to be kept."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

from kernelckpt.errors import UsageError
from kernelckpt.kernel.joining import Joining
from kernelckpt.kernel.state import KernelState
from kernelckpt.model.tcb import Tcb


class Removal:
    """Knows the finished roots, and removes tasks with everything below them."""

    def __init__(
        self,
        state: KernelState,
        joining: Joining,
        keep_done: int | None,
        on_removed: Callable[[str], None],
    ) -> None:
        """`keep_done` finished roots are kept, None keeps all; `on_removed` is told each task that goes."""
        self._state = state
        self._joining = joining
        self._keep_done = keep_done
        self._on_removed = on_removed
        self._done_roots: dict[str, None] = {}
        self._holders: dict[str, str] = {}

    def note_done(self, root: str) -> None:
        """Count a finished root among those `keep_done` limits."""
        self._done_roots[root] = None

    def note_live(self, root: str) -> None:
        """A finished root lives again."""
        self._done_roots.pop(root, None)

    def subtree(self, task_id: str) -> list[Tcb]:
        """A task and its descendants, children before their parents."""
        rows: list[Tcb] = []
        stack = [self._state.row(task_id)]
        while stack:
            row = stack.pop()
            rows.append(row)
            stack.extend(self._state.table.children_of(row.id))
        return rows[::-1]

    def forget(self, task_id: str) -> None:
        """Remove a finished task and its descendants from the state.

        Raises:
            UsageError: one of them is not finished.
        """
        rows = self.subtree(task_id)
        live = [row.id for row in rows if not row.state.is_terminal()]
        if live:
            raise UsageError(
                f"task {task_id!r} cannot be forgotten: {live[0]!r} is not finished", hint="cancel it first"
            )
        self._joining.name_pending(rows[-1].parent)
        for row in rows:
            self._done_roots.pop(row.id, None)
            self._holders.pop(row.id, None)
            self._state.forget(row.id)
            self._on_removed(row.id)

    def forget_surplus(self) -> bool:
        """Forget the oldest finished roots beyond `keep_done`; whether there were any."""
        if self._keep_done is None:
            return False
        forgot = False
        surplus = len(self._done_roots) - self._keep_done
        for root in list(islice(self._done_roots, max(0, surplus))):
            if not self._is_held(root):
                self.forget(root)
                forgot = True
        return forgot

    def _is_held(self, root: str) -> bool:
        """Whether a descendant lives; the one found is asked first the next time, not the whole tree."""
        holder = self._state.table.get(self._holders.get(root, ""))
        if holder is not None and not holder.state.is_terminal():
            return True
        live = next((row.id for row in reversed(self.subtree(root)) if not row.state.is_terminal()), None)
        if live is not None:
            self._holders[root] = live
        return live is not None
