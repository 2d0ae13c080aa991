"""Counts the timers that fired, over all lives of a kernel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from kernelckpt import Commit, Tcb
from kernelckpt.abc import Put


class TimerCount:
    """Sees every commit; what a crash took back has not happened."""

    def __init__(self, wall_ms: Callable[[], int]) -> None:
        """`wall_ms` tells the time."""
        self._wall_ms = wall_ms
        self._rows: dict[str, Tcb] = {}
        self._fired: Counter[tuple[str, int, int]] = Counter()

    def begin(self, rows: Iterable[Tcb]) -> None:
        """Go on with the rows that a life has begun with."""
        self._rows = {row.id: row for row in rows}
        for timer in list(self._fired):
            row = self._rows.get(timer[0])
            if row is not None and _is_taken_back(timer, row):
                del self._fired[timer]

    def see(self, commit: Commit) -> None:
        """Look for rows that a timer has woken."""
        for change in commit.changes:
            if isinstance(change, Put) and isinstance(change.record, Tcb):
                row, old = change.record, self._rows.get(change.record.id)
                self._rows[row.id] = row
                until = None if old is None else old.deferred_until
                if old is not None and until is not None and row.deferred_until is None:
                    self._fired[_timer_of(old, until)] += until <= self._wall_ms()

    def counts(self) -> Counter[str]:
        """How many timers have fired, by task."""
        found: Counter[str] = Counter()
        for (task_id, _, _), count in self._fired.items():
            found[task_id] += count
        return +found


def _is_taken_back(timer: tuple[str, int, int], row: Tcb) -> bool:
    """Whether a timer that fired has not as of a row: that waits for it still, or has yet to set it."""
    until = row.deferred_until
    return timer[1] > row.budget.turns or (until is not None and timer == _timer_of(row, until))


def _timer_of(row: Tcb, until: int) -> tuple[str, int, int]:
    return row.id, row.budget.turns, until
