"""The lines in which the kernel tells an agent what has happened: signals, refusals, rollbacks, phases."""

from __future__ import annotations

from msgspec.structs import replace

from kernelckpt.kernel.state import KernelState


def add_line(state: KernelState, task_id: str, line: str, *, directive: str = "") -> None:
    """Add a line to a task's context, and its text to the standing instructions if it is one.

    A line stays until a turn that has read it is committed, or the context is renewed.
    """
    context = state.cell(task_id).context
    plan = context.plan.with_directive(directive) if directive else context.plan
    state.put(("context", task_id, 0), replace(context, signals=(*context.signals, line), plan=plan))
