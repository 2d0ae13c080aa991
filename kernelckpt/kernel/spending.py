"""Spending: what is charged to a task is charged to the kernel's totals with it."""

from __future__ import annotations

from msgspec.structs import replace

from kernelckpt.errors import InvalidValueError
from kernelckpt.kernel.argument import check_amount
from kernelckpt.kernel.core import Core
from kernelckpt.model.budget import BudgetLedger
from kernelckpt.model.charge import Charge
from kernelckpt.model.tcb import Tcb


def check_charge(core: Core, charge: Charge) -> None:
    """Raise `InvalidValueError` for what is no charge, or does not fit beside what was charged before."""
    if not isinstance(charge, Charge):
        message = f"charge: a {type(charge).__name__}"
        raise InvalidValueError(message, path="charge", hint="give a kernelckpt.Charge")
    totals = core.state.totals
    check_amount(charge.tokens, "tokens", totals.total_tokens)
    check_amount(charge.cost_micros, "cost_micros", totals.cost_micros)


def put_charge(core: Core, task_id: str | None, parent: str | None, charge: Charge) -> None:
    """Charge a task, those above it whose limits include it, and the kernel; the caller commits.

    Args:
        core: the kernel.
        task_id: the task; None for one that was forgotten.
        parent: its parent.
        charge: what it has spent.
    """
    if task_id is not None:
        row = core.state.row(task_id)
        tokens = row.budget.total_tokens + charge.tokens
        cost = row.budget.cost_micros + charge.cost_micros
        _put(core, row, replace(row.budget, total_tokens=tokens, cost_micros=cost))
    for above in core.state.table.lineage(parent):
        if above.budget.limits.include_children:
            tokens = above.budget.children_tokens + charge.tokens
            cost = above.budget.children_cost_micros + charge.cost_micros
            _put(core, above, replace(above.budget, children_tokens=tokens, children_cost_micros=cost))
    core.touch_totals(tokens=charge.tokens, cost_micros=charge.cost_micros)


def _put(core: Core, row: Tcb, budget: BudgetLedger) -> None:
    note_overspent(core, core.state.put_row(replace(row, budget=budget)))


def note_overspent(core: Core, row: Tcb) -> None:
    """Note whether the limits that a task has for all below it are reached: they end with it."""
    if row.budget.limits.include_children and row.budget.overspent is not None:
        core.overspent.add(row.id)
    else:
        core.overspent.discard(row.id)
