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
        max_cost_micros: money, in millionths of the user's currency; None is unlimited.
        deadline_ms: wall time, in milliseconds since 1970, at which the task ends though it waits.
        deadline_after_ms: the same, in milliseconds of wall time since the task's first turn.
        charge_downtime: whether `max_wall_ms` counts the time in which no process ran the kernel.
        include_children: whether the limits of tokens and money count what all its descendants spend.
    """

    max_tokens: U32 = 128_000
    max_turns: U32 = 25
    max_total_tokens: U64 = 1_000_000
    max_wall_ms: U64 | None = None
    max_cost_micros: U64 | None = None
    deadline_ms: U64 | None = None
    deadline_after_ms: U64 | None = None
    charge_downtime: bool = False
    include_children: bool = False

    def has_deadline(self) -> bool:
        """Whether there is a limit of wall time."""
        return self.deadline_ms is not None or self.deadline_after_ms is not None

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
    if label == "max_turns":
        return TerminationReason.MAX_TURNS
    return TerminationReason.TIMEOUT if label in {"wall_time", "deadline"} else TerminationReason.TOKEN_BUDGET


class BudgetLedger(Record, frozen=True, gc=False):
    """Limits and what was used of them.

    Attributes:
        limits: the limits.
        turns: turns committed.
        total_tokens: tokens spent, by turns that failed too.
        started_at_ms: the kernel's working clock at the first turn (with the downtime of the run so far, if
            downtime is charged); None before it.
        cost_micros: money spent, in millionths of the user's currency.
        began_at_ms: wall time of the first turn, if there is a deadline that goes by it.
        children_tokens: tokens that its descendants have spent, forgotten ones too, while its limits include
            them; else 0.
        children_cost_micros: money that they have spent, likewise.
    """

    limits: SchedulerBudget = SchedulerBudget()
    turns: U32 = 0
    total_tokens: U64 = 0
    started_at_ms: U64 | None = None
    cost_micros: U64 = 0
    began_at_ms: U64 | None = None
    children_tokens: U64 = 0
    children_cost_micros: U64 = 0

    @property
    def is_ample(self) -> bool:
        """Whether no limit is reached whatever the clocks say: turns and tokens are left, no more limits."""
        limits = self.limits
        return (
            self.turns < limits.max_turns
            and self.total_tokens + self.children_tokens < limits.max_total_tokens
            and limits.max_cost_micros is limits.max_wall_ms is None
            and limits.deadline_ms is limits.deadline_after_ms is None
        )

    def exceeded(self, now_ms: int | None = None, wall_ms: int | None = None) -> str | None:
        """The label of the first limit reached (`cost_budget` and `deadline` come last), or None.

        Args:
            now_ms: the clock that `started_at_ms` goes by; None leaves working time out.
            wall_ms: the wall clock; None leaves the deadline out.
        """
        limits, tokens = self.limits, self.total_tokens + self.children_tokens
        label = limits.should_terminate(self.turns, tokens, now_ms, self.started_at_ms)
        if label is None and limits.max_cost_micros is not None:
            label = self.overspent
        if label is not None or wall_ms is None:
            return label
        return "deadline" if self.is_late(wall_ms) else None

    @property
    def overspent(self) -> str | None:
        """The label of the limit of tokens or money that was reached, or None."""
        limits = self.limits
        if self.total_tokens + self.children_tokens >= limits.max_total_tokens:
            return "token_budget"
        cost = self.cost_micros + self.children_cost_micros
        is_over = limits.max_cost_micros is not None and cost >= limits.max_cost_micros
        return "cost_budget" if is_over else None

    @property
    def due_ms(self) -> int | None:
        """The wall time at which the task ends, the earlier of its deadlines; None for none so far."""
        limits = self.limits
        if limits.deadline_after_ms is None or self.began_at_ms is None:
            return limits.deadline_ms
        due = self.began_at_ms + limits.deadline_after_ms
        return due if limits.deadline_ms is None else min(due, limits.deadline_ms)

    def is_late(self, wall_ms: int) -> bool:
        """Whether its deadline has come."""
        due = self.due_ms
        return due is not None and wall_ms >= due


class BudgetSlice(Record, frozen=True, gc=False):
    """A task's limits as handed out with a decision to run it (not what is left of them)."""

    max_turns: int
    max_total_tokens: int
    max_wall_ms: int | None

    @classmethod
    def of(cls, limits: SchedulerBudget) -> BudgetSlice:
        """A straight copy of the limits."""
        return cls(limits.max_turns, limits.max_total_tokens, limits.max_wall_ms)
