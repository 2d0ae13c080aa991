"""What a task may use, and what it has used."""

from __future__ import annotations

from kernelckpt.model.record import Record
from kernelckpt.model.scalar import U32, U64
from kernelckpt.model.termination import TerminationReason


class SchedulerBudget(Record, frozen=True, gc=False):
    """Limits of a task; the task is ended by the first one it reaches.

    Attributes:
        max_tokens: the context window in tokens; not a limit that ends the task.
        max_turns: turns.
        max_total_tokens: tokens over all turns.
        max_wall_ms: working time in milliseconds since the task's first turn; None is unlimited.
    """

    max_tokens: U32 = 128_000
    max_turns: U32 = 25
    max_total_tokens: U64 = 1_000_000
    max_wall_ms: U64 | None = None

    def should_terminate(
        self, turns: int, total_tokens: int, now_ms: int | None = None, started_at_ms: int | None = None
    ) -> str | None:
        """The label of the first limit reached (`max_turns`, `token_budget`, `wall_time`), or None.

        Limits are inclusive: a limit of 0 is reached at once. Wall time needs both clock values; a clock
        that ran backwards counts as no time.
        """
        if turns >= self.max_turns:
            return "max_turns"
        if total_tokens >= self.max_total_tokens:
            return "token_budget"
        if self.max_wall_ms is None or now_ms is None or started_at_ms is None:
            return None
        return "wall_time" if max(0, now_ms - started_at_ms) >= self.max_wall_ms else None


LoopPolicy = SchedulerBudget
"""The original's other name for the same limits."""


def termination_of(label: str) -> TerminationReason:
    """The reason a limit of this label ends a task with."""
    reasons = {"max_turns": TerminationReason.MAX_TURNS, "wall_time": TerminationReason.TIMEOUT}
    return reasons.get(label, TerminationReason.TOKEN_BUDGET)


class BudgetLedger(Record, frozen=True, gc=False):
    """Limits and what was used of them.

    Attributes:
        limits: the limits.
        turns: turns committed.
        total_tokens: tokens spent, by turns that failed too.
        started_at_ms: the kernel's working clock at the first turn; None before it.
        cost_micros: money spent, in millionths of the user's currency.
    """

    limits: SchedulerBudget = SchedulerBudget()
    turns: U32 = 0
    total_tokens: U64 = 0
    started_at_ms: U64 | None = None
    cost_micros: U64 = 0

    def exceeded(self, now_ms: int | None = None) -> str | None:
        """The label of the first limit reached, or None."""
        return self.limits.should_terminate(self.turns, self.total_tokens, now_ms, self.started_at_ms)


class BudgetSlice(Record, frozen=True, gc=False):
    """A task's limits as handed out with a decision to run it (not what is left of them)."""

    max_turns: int
    max_total_tokens: int
    max_wall_ms: int | None

    @classmethod
    def of(cls, limits: SchedulerBudget) -> BudgetSlice:
        """A straight copy of the limits."""
        return cls(limits.max_turns, limits.max_total_tokens, limits.max_wall_ms)
