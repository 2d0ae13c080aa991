"""Limits: whether a task has come to one, of its own or of those above it, and how that ends it."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from kernelckpt.kernel.calls.request import close_request
from kernelckpt.kernel.core import Core
from kernelckpt.model.budget import BudgetLedger, SchedulerBudget, termination_of
from kernelckpt.model.task_state import StateKind
from kernelckpt.model.tcb import Tcb


class Reached(Struct, frozen=True):
    """A limit that was reached, by its label, and the task that has it."""

    label: str
    task_id: str


def reached(core: Core, row: Tcb) -> Reached | None:
    """The limit by which a task ends now, if there is one."""
    label = None if row.budget.is_ample else _exceeded(core, row.budget)
    if label is not None:
        return Reached(label, row.id)
    return _reached_above(core, row) if core.overspent else None


def _exceeded(core: Core, budget: BudgetLedger) -> str | None:
    limits = budget.limits
    now = None if limits.max_wall_ms is None else clock_ms(core, limits)
    wall = core.clock.wall_ms() if limits.has_deadline() else None
    return budget.exceeded(now, wall)


def _reached_above(core: Core, row: Tcb) -> Reached | None:
    for above in core.state.table.lineage(row.parent):
        label = above.budget.overspent if above.id in core.overspent else None
        if label is not None:
            return Reached(label, above.id)
    return None


def end_by_limit(core: Core, row: Tcb, limit: Reached) -> None:
    """End a task that has come to a limit; the caller commits.

    Calls of which nobody knows whether they happened leave the ledger with the task: its error names them.
    """
    whose = "" if limit.task_id == row.id else f" of task {limit.task_id!r}"
    error = f"the budget's {limit.label}{whose} was reached"
    doubtful = [effect.name for effect in core.cell(row.id).effects.values() if effect.in_doubt]
    error += f"; may have happened: {', '.join(doubtful)}" if doubtful else ""
    if row.state.kind is StateKind.BLOCKED and core.cell(row.id).request is not None:
        close_request(core.state, row.id, unmade=error)
    core.end(row, termination_of(limit.label), error=error)


def clock_ms(core: Core, limits: SchedulerBudget) -> int:
    """The clock by which working time is counted: with or without the downtime of the run."""
    return core.work_ms() + (core.state.totals.downtime_ms if limits.charge_downtime else 0)


def begun(core: Core, budget: BudgetLedger) -> BudgetLedger:
    """The ledger of a task whose first turn begins."""
    goes_by_begin = budget.limits.deadline_after_ms is not None
    began = core.clock.wall_ms() if goes_by_begin else None
    return replace(budget, started_at_ms=clock_ms(core, budget.limits), began_at_ms=began)


def under(core: Core, row: Tcb, limits: SchedulerBudget) -> BudgetLedger:
    """The ledger of a task that is given other limits: what it has used so far stays used.

    A limit that goes by what was not counted before counts from now on: downtime; wall time since the first
    turn; what descendants have spent, of which those count that are still in the table.
    """
    budget = replace(row.budget, limits=limits)
    if budget.started_at_ms is not None:
        spent = max(0, clock_ms(core, row.budget.limits) - budget.started_at_ms)
        budget = replace(budget, started_at_ms=max(0, clock_ms(core, limits) - spent))
        if limits.deadline_after_ms is not None and budget.began_at_ms is None:
            budget = replace(budget, began_at_ms=core.clock.wall_ms())
    if not limits.include_children:
        return replace(budget, children_tokens=0, children_cost_micros=0)
    if not row.budget.limits.include_children:
        below = [other.budget for other in core.removal.subtree(row.id) if other.id != row.id]
        tokens, cost = sum(item.total_tokens for item in below), sum(item.cost_micros for item in below)
        budget = replace(budget, children_tokens=tokens, children_cost_micros=cost)
    return budget
