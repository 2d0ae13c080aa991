"""What must hold within a snapshot before a kernel goes on from it: what its parts say of each other."""

from __future__ import annotations

from collections.abc import Iterator

from kernelckpt.model.budget import BudgetLedger
from kernelckpt.model.context import Context
from kernelckpt.model.context_snapshot import ContextSnapshot
from kernelckpt.model.inbox import lines_of
from kernelckpt.model.json_form import undecodable
from kernelckpt.model.row_snapshot import TcbSnapshot
from kernelckpt.model.snapshot import KernelSnapshot
from kernelckpt.model.snapshot_part import BY_NUMBER, BY_TASK, BY_TASK_AND_NUMBER
from kernelckpt.model.task_state import StateKind

_WAITING = frozenset({StateKind.SUSPENDED, StateKind.BLOCKED})
_NOT_WAITING = frozenset({StateKind.RUNNING, StateKind.DONE})

_MAX_NUMBER = 2**63 - 1

_Fault = tuple[str, str]
"""The path of a place, and what is wrong there."""


def check_whole(snapshot: KernelSnapshot) -> None:
    """Raise for the first thing in a snapshot that contradicts another, or belongs to nothing.

    Raises:
        DecodeError: there is one; the path names it.
    """
    for path, text in _faults(snapshot):
        raise undecodable(text, path)


def _faults(snapshot: KernelSnapshot) -> Iterator[_Fault]:
    rows = {row.id: row for row in snapshot.tasks}
    yield from _ids(snapshot)
    for index, row in enumerate(snapshot.tasks):
        for name, text in (*_lineage(row, rows), *_standing(row), *_result(row)):
            yield f"tasks[{index}].{name}", text
        if row.changed_turn > snapshot.turn:
            yield f"tasks[{index}].changed_turn", f"later than the kernel's turn {snapshot.turn}"
    yield from _cycles(snapshot)
    yield from _owners(snapshot, rows)
    yield from _numbers(snapshot)
    yield from _told_twice(snapshot)
    yield from _totals(snapshot)


def _ids(snapshot: KernelSnapshot) -> Iterator[_Fault]:
    seen: set[str] = set()
    for index, row in enumerate(snapshot.tasks):
        if not row.id or row.id in seen:
            yield f"tasks[{index}].id", "the id of an earlier row" if row.id else "empty"
        seen.add(row.id)


def _cycles(snapshot: KernelSnapshot) -> Iterator[_Fault]:
    parents = {row.id: row.parent for row in snapshot.tasks}
    rooted: set[str | None] = {None}
    for index, row in enumerate(snapshot.tasks):
        path: dict[str | None, None] = {}
        task: str | None = row.id
        while task not in rooted:
            if task in path:
                yield f"tasks[{index}].parent", "its own descendant, or that of an ancestor"
                break
            path[task] = None
            task = parents.get(task) if task is not None else None
        rooted.update(path)


def _lineage(row: TcbSnapshot, rows: dict[str, TcbSnapshot]) -> Iterator[_Fault]:
    if row.parent is not None and row.parent not in rows:
        yield "parent", f"no task {row.parent!r}"
    if (row.parent is None) != (row.proc is None):
        yield "proc", "a root with a child's identity" if row.proc else "a child without its identity"
    for index, child in enumerate(row.wait_children or ()):
        if child not in rows:
            yield f"wait_children[{index}]", f"no task {child!r}"


def _standing(row: TcbSnapshot) -> Iterator[_Fault]:
    if row.state.kind in _WAITING and row.wait_reason is None:
        yield "wait_reason", f"missing, though the task is {row.state.label()}"
    if row.state.kind in _NOT_WAITING and row.wait_reason is not None:
        yield "wait_reason", f"there, though the task is {row.state.label()}"


def _result(row: TcbSnapshot) -> Iterator[_Fault]:
    name = "result" if row.proc is None else "proc.result"
    result = row.result if row.proc is None else row.proc.result
    if (result is None) == row.state.is_terminal():
        yield name, "there, though the task has not ended" if result else "missing, though the task has ended"
    elif result is not None and result.termination is not row.state.reason:
        yield f"{name}.termination", f"not the reason in the task's state, {row.state.reason}"
    if (
        row.proc is not None
        and row.proc.result is not None
        and row.proc.result.agent_id not in {None, row.id}
    ):
        yield f"{name}.agent_id", "another task"


def _owners(snapshot: KernelSnapshot, rows: dict[str, TcbSnapshot]) -> Iterator[_Fault]:
    for name in ("contexts", *BY_TASK.values(), *BY_TASK_AND_NUMBER.values(), "audits"):
        for task in getattr(snapshot, name):
            if task not in rows:
                yield f'{name}["{task}"]', "no such task"
    for task, items in snapshot.approvals.items():
        for number, item in items.items():
            if item.task_id != task:
                yield f'approvals["{task}"][{number}].task_id', "another task"
    for task, process in snapshot.processes.items():
        if process.agent_id != task:
            yield f'processes["{task}"].agent_id', "another task"


def _numbers(snapshot: KernelSnapshot) -> Iterator[_Fault]:
    numbered = {name: getattr(snapshot, name) for name in BY_NUMBER.values()}
    for name in BY_TASK_AND_NUMBER.values():
        numbered.update({f'{name}["{task}"]': items for task, items in getattr(snapshot, name).items()})
    for path, items in numbered.items():
        for number in items:
            if not 0 <= number <= _MAX_NUMBER:
                yield f"{path}[{number}]", "not a number of a record"


def _told_twice(snapshot: KernelSnapshot) -> Iterator[_Fault]:
    """The original's fields tell of the first root what ours tell of every task."""
    root = snapshot.first_root()
    if root is None:
        if not _is_blank(snapshot.context):
            yield "context", "that of no task"
        if snapshot.spec is not None:
            yield "run_spec", "that of no task"
        return
    if snapshot.contexts.get(root, snapshot.context) != snapshot.context:
        yield "context", f'not contexts["{root}"], though {root!r} is the first root'
    for task, inbox in snapshot.inbox.items():
        context = snapshot.contexts.get(task)
        if context is not None and context.signals != lines_of(inbox):
            yield f'contexts["{task}"].signals', "not the lines of the inbox"
    if snapshot.specs.get(root, snapshot.spec) != snapshot.spec:
        yield "run_spec", f'not specs["{root}"], though {root!r} is the first root'


def _is_blank(context: ContextSnapshot) -> bool:
    """Whether nothing is lost without it."""
    messages = context.system_messages or context.knowledge_messages or context.history_messages
    return (
        not messages and not context.signals and context.context() == Context(max_tokens=context.max_tokens)
    )


def _totals(snapshot: KernelSnapshot) -> Iterator[_Fault]:
    totals = snapshot.totals
    if totals is None:
        return
    for name in ("turn", "total_tokens"):
        if getattr(totals, name) != getattr(snapshot, name):
            yield f"totals.{name}", f"not the snapshot's {name}"
    used = _used(snapshot)
    for name, least in (
        ("turn", used.turns),
        ("total_tokens", used.total_tokens),
        ("cost_micros", used.cost_micros),
    ):
        if getattr(totals, name) < least:
            yield f"totals.{name}", f"the tasks together used {least}"
    for number in snapshot.queued_signals:
        if number > totals.signals:
            yield f"queued_signals[{number}]", f"only {totals.signals} signals were queued so far"


def _used(snapshot: KernelSnapshot) -> BudgetLedger:
    rows = snapshot.tasks
    return BudgetLedger(
        turns=sum(row.turns for row in rows),
        total_tokens=sum(row.total_tokens for row in rows),
        cost_micros=sum(row.cost_micros for row in rows),
    )
