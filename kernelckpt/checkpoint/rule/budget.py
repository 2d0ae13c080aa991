"""Budgets: what the tasks used is in the kernel's totals, and what a result says was used."""

from __future__ import annotations

from collections.abc import Iterator

from kernelckpt.checkpoint.decoded_run import DecodedRun
from kernelckpt.kernel.core import result_of
from kernelckpt.model.budget import BudgetLedger
from kernelckpt.model.tcb import Tcb


def totals_faults(run: DecodedRun, turn: int) -> Iterator[str]:
    """What is wrong with the kernel's totals.

    Args:
        run: the records.
        turn: kernel turns so far, as the checkpoint is listed.
    """
    if run.totals is None:
        yield "the totals are missing"
        return
    if run.totals.turn != turn:
        yield f"turn {run.totals.turn}, but the checkpoint is listed as of turn {turn}"
    ledgers = [row.budget for row in run.rows.values()]
    sums = {
        "turn": sum(ledger.turns for ledger in ledgers),
        "total_tokens": sum(ledger.total_tokens for ledger in ledgers),
        "cost_micros": sum(ledger.cost_micros for ledger in ledgers),
    }
    for name, used in sums.items():
        total: int = getattr(run.totals, name)
        if total < used:  # it may be more: forgotten tasks stay counted
            yield f"{name} is {total}, but the tasks together used {used}"


def children_faults(run: DecodedRun) -> Iterator[tuple[str, str]]:
    """Tasks that count less than those below them have spent, with what is wrong.

    They may count more: forgotten ones stay counted.
    """
    including = [row for row in run.rows.values() if row.budget.limits.include_children]
    if not including:
        return
    children: dict[str, list[Tcb]] = {}
    for row in run.rows.values():
        children.setdefault(row.parent or "", []).append(row)
    for row in including:
        below = list(_below(row, children))
        ledger = row.budget
        for noun, counted, spent in (
            ("tokens", ledger.children_tokens, sum(item.total_tokens for item in below)),
            ("cost_micros", ledger.children_cost_micros, sum(item.cost_micros for item in below)),
        ):
            if counted < spent:
                yield row.id, f"it counts {counted} {noun} below it, but {spent} were spent there"


def _below(row: Tcb, children: dict[str, list[Tcb]]) -> Iterator[BudgetLedger]:
    """The ledgers of all below a task; a circle of parents is walked once."""
    seen, todo = {row.id}, list(children.get(row.id, ()))
    while todo:
        found = todo.pop()
        if found.id not in seen:
            seen.add(found.id)
            yield found.budget
            todo.extend(children.get(found.id, ()))


def ledger_faults(row: Tcb) -> Iterator[str]:
    """What is wrong with a task's ledger; it may have more than a result says: spending goes on in a turn."""
    result = result_of(row)
    if result is None:
        return
    for noun, said, kept in (
        ("turns", result.turns_used, row.budget.turns),
        ("tokens", result.total_tokens_used, row.budget.total_tokens),
    ):
        if said > kept:
            yield f"its result says {said} {noun}, but its ledger has {kept}"
