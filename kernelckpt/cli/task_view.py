"""One task as the command line shows it: its row, what is open, and its messages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import typer
from msgspec.structs import replace

from kernelckpt.cli.display import cost_text, data_text, shown, shown_lines, time_text
from kernelckpt.cli.table import first
from kernelckpt.errors import NotFoundError
from kernelckpt.model.context_snapshot import ContextSnapshot
from kernelckpt.model.message import Message
from kernelckpt.model.row_snapshot import TcbSnapshot
from kernelckpt.model.snapshot import KernelSnapshot
from kernelckpt.model.snapshot_part import BY_TASK, BY_TASK_AND_NUMBER

_PARTS = {
    "contexts": "context",
    **{name: kind for kind, name in BY_TASK.items()},
    **{name: name for name in BY_TASK_AND_NUMBER.values()},
    "audits": "audit",
}
"""The parts of a snapshot that are kept by task, and what they are called in the form of one task."""

_LONGEST_WAIT = 60


def state_text(row: TcbSnapshot) -> str:
    """The state, with the reason of an ended task."""
    return f"done: {row.state.reason.value}" if row.state.reason is not None else row.state.label()


def wait_text(row: TcbSnapshot) -> str:
    """What the task waits for, and until when at most."""
    parts = []
    if row.wait_reason is not None:
        about = row.wait_note or ", ".join(row.wait_children or ())
        parts.append(f"{row.wait_reason.value} {shown(about, _LONGEST_WAIT)}".strip())
    if row.deferred_until is not None:
        parts.append(f"until {time_text(row.deferred_until)}")
    return ", ".join(parts)


def find_row(snapshot: KernelSnapshot, task_id: str) -> TcbSnapshot:
    """The row of a task.

    Raises:
        NotFoundError: the snapshot holds no such task.
    """
    for row in snapshot.tasks:
        if row.id == task_id:
            return row
    message = f"the checkpoint holds no task {task_id!r}"
    raise NotFoundError(message, hint="`kernelckpt show RUN` lists its tasks; finished ones may be forgotten")


def task_form(snapshot: KernelSnapshot, row: TcbSnapshot) -> dict[str, Any]:
    """All that a snapshot holds of a task, as JSON data in the snapshot's form; `task` is its row."""
    form = _of_task(snapshot, row).to_dict()
    parts = {own: form[name][row.id] for name, own in _PARTS.items() if name in form}
    return {"task": form["tasks"][0], **parts}


def print_task(snapshot: KernelSnapshot, row: TcbSnapshot, limit: int) -> None:
    """Print a task; of each partition of its context the newest messages."""
    children = [other.id for other in snapshot.tasks if other.parent == row.id]
    for name, text in (*_row_facts(row, children), *_open_facts(snapshot, row.id)):
        if text:
            typer.echo(f"{name:<10}  {text}")
    context = snapshot.contexts.get(row.id, ContextSnapshot())
    for title, messages in (
        ("system", context.system_messages),
        ("knowledge", context.knowledge_messages),
        ("history", context.history_messages),
    ):
        _print_messages(title, messages, limit)


def _of_task(snapshot: KernelSnapshot, row: TcbSnapshot) -> KernelSnapshot:
    """The snapshot without the other tasks."""
    parts = {name: getattr(snapshot, name) for name in _PARTS}
    own = {name: {row.id: part[row.id]} for name, part in parts.items() if row.id in part}
    empty = KernelSnapshot(snapshot.turn, snapshot.total_tokens, (row,), ContextSnapshot())
    return replace(empty, **own)


def _row_facts(row: TcbSnapshot, children: Sequence[str]) -> Iterator[tuple[str, str]]:
    result = row.result if row.proc is None else row.proc.result
    yield "task", shown(row.id)
    yield "parent", shown(row.parent or "")
    yield "children", ", ".join(map(shown, first(children, 20))) + (" ..." if len(children) > 20 else "")
    yield "program", f"{shown(row.program)} version {row.version}"
    yield "state", state_text(row)
    yield "waits for", wait_text(row)
    yield "goal", shown(row.goal)
    yield "turns", f"{row.turns:,} of {row.max_turns:,}"
    yield "tokens", f"{row.total_tokens:,} of {row.max_total_tokens:,}"
    yield "cost", _cost(row)
    yield "below it", _children_cost(row) if row.include_children else ""
    yield "deadline", time_text(row.budget().due_ms)
    yield "failed", f"{row.failed} times in a row, last by {shown(row.failure)}" if row.failed else ""
    yield "caps", ", ".join(map(shown, row.caps))
    if result is not None:
        yield "result", shown(result.final_message.text) if result.final_message else ""
        yield "output", shown(data_text(result.output)) if result.output is not None else ""
        yield "error", shown(result.error)


def _cost(row: TcbSnapshot) -> str:
    limit = "" if row.max_cost_micros is None else f" of {cost_text(row.max_cost_micros)}"
    return f"{cost_text(row.cost_micros)}{limit}" if row.cost_micros or limit else ""


def _children_cost(row: TcbSnapshot) -> str:
    return f"{row.children_tokens:,} tokens, cost {cost_text(row.children_cost_micros)}, in the same limits"


def _open_facts(snapshot: KernelSnapshot, task_id: str) -> Iterator[tuple[str, str]]:
    value = snapshot.states.get(task_id)
    yield "version", f"state of version {value.version}, {len(value.data):,} bytes" if value else ""
    for entry in snapshot.inbox.get(task_id, {}).values():
        content = entry.message.text if entry.message else entry.signal.summary if entry.signal else ""
        yield "inbox", f"{'message' if entry.message else 'signal'}: {shown(content)}"
    for item in snapshot.approvals.get(task_id, {}).values():
        yield "question", f"{shown(item.key)} ({item.status.value}): {shown(item.prompt)}"
    for effect in snapshot.effects.get(task_id, {}).values():
        yield "call", f"{shown(effect.name)} ({effect.status.value}), begun {effect.runs} times"


def _print_messages(title: str, messages: Sequence[Message], limit: int) -> None:
    if not messages:
        return
    begin = max(0, len(messages) - limit) if limit else 0
    typer.echo(typer.style(f"\n{title}", bold=True))
    if begin:
        typer.echo(f"... {begin:,} older messages; --limit 0 shows all")
    for index in range(begin, len(messages)):
        message = messages[index]
        typer.echo(f"[{index}] {typer.style(message.role.value, bold=True)}: {shown_lines(message.text)}")
        for call in message.tool_calls:
            typer.echo(
                f"    calls {shown(call.name)}({shown(data_text(call.arguments))}) as {shown(call.id)}"
            )
