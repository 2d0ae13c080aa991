"""What the kernel tells an agent in words: notes in its inbox, and directives in its plan."""

from __future__ import annotations

from msgspec.structs import replace

from kernelckpt.kernel.state import KernelState
from kernelckpt.model.inbox import InboxEntry

NOTES_KEPT = 64
"""How many notes that no turn has read a task's inbox holds: a program that reads none must not fill it."""


def add_note(state: KernelState, task_id: str, text: str) -> None:
    """Put a line into a task's inbox; it stays until a turn that has read it is committed.

    Of those that nobody reads the newest `NOTES_KEPT` stay.
    """
    cell = state.cell(task_id)
    unread = sorted(number for number, entry in cell.inbox.items() if entry.note is not None)
    for number in unread[: max(0, len(unread) + 1 - NOTES_KEPT)]:
        state.remove(("inbox", task_id, number))
    state.put(("inbox", task_id, cell.take_number()), InboxEntry(note=text))


def add_directive(state: KernelState, task_id: str, text: str) -> None:
    """Add to the standing instructions in a task's plan."""
    context = state.cell(task_id).context
    plan = context.plan.with_directive(text)
    if plan != context.plan:
        state.put(("context", task_id, 0), replace(context, plan=plan))
