"""What the kernel tells an agent in words: notes in its inbox, and directives in its plan."""

from __future__ import annotations

from msgspec.structs import replace

from kernelckpt.kernel.state import KernelState
from kernelckpt.model.inbox import InboxEntry


def add_note(state: KernelState, task_id: str, text: str) -> None:
    """Put a line into a task's inbox; it stays until a turn that has read it is committed."""
    state.put(("inbox", task_id, state.cell(task_id).take_number()), InboxEntry(note=text))


def add_directive(state: KernelState, task_id: str, text: str) -> None:
    """Add to the standing instructions in a task's plan."""
    context = state.cell(task_id).context
    plan = context.plan.with_directive(text)
    if plan != context.plan:
        state.put(("context", task_id, 0), replace(context, plan=plan))
