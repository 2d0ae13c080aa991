"""Spending: what is charged to a task is charged to the kernel's totals with it."""

from __future__ import annotations

from msgspec.structs import replace

from kernelckpt.errors import InvalidValueError
from kernelckpt.kernel.argument import check_amount
from kernelckpt.kernel.core import Core
from kernelckpt.model.charge import Charge


def check_charge(core: Core, charge: Charge) -> None:
    """Raise `InvalidValueError` for what is no charge, or does not fit beside what was charged before."""
    if not isinstance(charge, Charge):
        message = f"charge: a {type(charge).__name__}"
        raise InvalidValueError(message, path="charge", hint="give a kernelckpt.Charge")
    totals = core.state.totals
    check_amount(charge.tokens, "tokens", totals.total_tokens)
    check_amount(charge.cost_micros, "cost_micros", totals.cost_micros)


def put_charge(core: Core, task_id: str | None, charge: Charge) -> None:
    """Charge a task, or for one that was forgotten the kernel alone; the caller commits."""
    if task_id is not None:
        row = core.state.row(task_id)
        spent = replace(
            row.budget,
            total_tokens=row.budget.total_tokens + charge.tokens,
            cost_micros=row.budget.cost_micros + charge.cost_micros,
        )
        core.state.put_row(replace(row, budget=spent))
    core.touch_totals(tokens=charge.tokens, cost_micros=charge.cost_micros)
