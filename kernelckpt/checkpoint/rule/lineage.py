"""Lineage: every child has a parent that knows of it, and nobody is its own ancestor."""

from __future__ import annotations

from collections.abc import Iterator

from kernelckpt.checkpoint.decoded_run import DecodedRun
from kernelckpt.model.tcb import Tcb


def lineage_faults(run: DecodedRun, row: Tcb, children: int) -> Iterator[str]:
    """What is wrong with a task's place among the others.

    Args:
        run: the records.
        row: the task.
        children: how many rows name it as their parent.
    """
    if row.parent is not None and row.parent not in run.known:
        yield f"its parent {row.parent!r} has no row"
    if (row.proc is None) != (row.parent is None):
        yield "it is a root with a child's identity" if row.proc else "it is a child without its identity"
    if row.proc is not None and row.proc.result is not None and row.proc.result.agent_id != row.id:
        yield f"its result is that of {row.proc.result.agent_id!r}"
    if children > row.spawned:
        yield f"it has {children} children, but spawned {row.spawned}"
    if run.totals is not None and row.changed_turn > run.totals.turn:
        yield f"it changed in turn {row.changed_turn}, later than the kernel's {run.totals.turn}"


def own_ancestors(run: DecodedRun) -> Iterator[str]:
    """One task of each circle of parents; found without recursion, for lineages can be long."""
    clear: set[str] = set()
    for start in run.rows:
        path: dict[str, None] = {}
        task: str | None = start
        while task is not None and task not in clear and task not in path:
            path[task] = None
            row = run.rows.get(task)
            task = row.parent if row is not None else None
        if task is not None and task in path:
            yield task
        clear.update(path)
