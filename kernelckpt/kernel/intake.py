"""What comes from outside: submissions, messages, signals, answers, cancellations - each one commit."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from kernelckpt.errors import DecodeError, TaskMismatchError, UsageError
from kernelckpt.kernel import limits
from kernelckpt.kernel.answering import drop_questions, is_in_doubt
from kernelckpt.kernel.argument import check_text, checked_message, kept
from kernelckpt.kernel.core import MESSAGE, Core
from kernelckpt.kernel.new_task import Spawn, put_new_task
from kernelckpt.kernel.phase import is_judged
from kernelckpt.kernel.rollback import go_on, undo_request
from kernelckpt.kernel.spending import note_overspent
from kernelckpt.model.approval import ApprovalStatus
from kernelckpt.model.budget import SchedulerBudget
from kernelckpt.model.inbox import InboxEntry, SentKey
from kernelckpt.model.kernel import Value
from kernelckpt.model.message import Message
from kernelckpt.model.rollback import RollbackReason
from kernelckpt.model.task_state import StateKind
from kernelckpt.model.tcb import Tcb
from kernelckpt.model.termination import OUT_OF_BUDGET, TerminationReason
from kernelckpt.model.wait import WaitKind


def submit(core: Core, spawn: Spawn) -> None:
    """Add a root task, or find that it is there already.

    Raises:
        TaskMismatchError: the id is taken by another program, input or run_spec.
    """
    core.programs[spawn.program]
    present = core.state.table.get(spawn.task_id)
    if present is None:
        put_new_task(core, spawn, parent=None)
        core.state.commit()
        return
    other = _difference(core, spawn, present)
    if other:
        message = f"task {spawn.task_id!r} exists with another {other}"
        raise TaskMismatchError(message, hint="use another task id, or forget the finished task first")


def _difference(core: Core, spawn: Spawn, present: Tcb) -> str:
    """What a task that is there has otherwise than it is asked for; "" if it is the same."""
    if present.program != spawn.program:
        return "program"
    if not _same_input(core, spawn):
        return "input"
    spec = core.cell(present.id).spec
    same = spawn.spec is None or (spec is not None and spawn.spec == core.redactor.record(spec))
    return "" if same else "run_spec"


def _same_input(core: Core, spawn: Spawn) -> bool:
    """Whether the input is the one kept, as values: bytes differ with the order of a dict, or a new field."""
    value = core.cell(spawn.task_id).input
    kept_data = None if value is None else core.redactor.encoded(value.data, "input")
    if kept_data == spawn.input or kept_data is None or spawn.input is None:
        return kept_data == spawn.input
    codec = core.programs[spawn.program].input
    try:
        return bool(codec.decode(kept_data, "input") == codec.decode(spawn.input, "input"))
    except DecodeError:  # what was kept is not of today's type
        return False


def send(core: Core, task_id: str, message: Message | str, key: str | None) -> bool:
    """Put a user message into a task's inbox; false if one of its key was there, and nothing was changed.

    Raises:
        UsageError: the task has ended.
        InvalidValueError: the message or the key cannot be kept exactly.
    """
    row = core.state.row(task_id)
    cell = core.cell(task_id)
    if key is not None:
        check_text(key, "key")
        core.redactor.refuse(key, "key")
        if key in cell.sent_keys:
            return False
    _refuse_ended(row, "send to")
    given = Message.user(message) if isinstance(message, str) else message
    entry = InboxEntry(message=core.redactor.admitted(checked_message(given, "message"), "message"))
    core.state.put(("inbox", task_id, cell.take_number()), entry)
    if key is not None:
        core.state.put(("sent", task_id, cell.take_number()), SentKey(key))
    if core.waits_for(row, WaitKind.EXTERNAL, MESSAGE):
        core.wake(row)
    core.state.commit()
    return True


def fire_timers(core: Core) -> None:
    """Wake the tasks whose time has come, end those whose deadline has; an expired question is denied."""
    now = core.clock.wall_ms()
    fired = False
    for due in core.state.table.due(now):
        fired = True
        row = core.state.row(due.id)  # the end of one before it may have woken it
        if row.budget.is_late(now):
            limits.end_by_limit(core, row, limits.Reached("deadline", row.id))
        elif row.state.kind is StateKind.SUSPENDED:
            _expire(core, row, now)
        else:
            core.wake(row)
    if fired:
        core.state.commit(urgent=False)


def _expire(core: Core, row: Tcb, now: int) -> None:
    for number, item in list(core.cell(row.id).approvals.items()):
        if item.pending and item.expires_at_ms is not None and item.expires_at_ms <= now:
            denied = replace(item, status=ApprovalStatus.DENIED, reason="nobody answered in time")
            core.state.put(("approval", row.id, number), denied)
    core.wake(row)


def resume(core: Core, task_id: str) -> None:
    """End an external wait.

    Raises:
        UsageError: the task waits for something else, or for nothing.
    """
    row = core.state.row(task_id)
    if (
        row.state.kind is not StateKind.SUSPENDED
        or row.wait is None
        or row.wait.kind is not WaitKind.EXTERNAL
    ):
        waits = row.wait.label() if row.wait else "nothing"
        message = f"task {task_id!r} is {row.state.label()} and waits for {waits}, not for a resume"
        raise UsageError(message, hint="approve, deny, send or signal end the other waits")
    core.wake(row)
    core.state.commit()


def roll_back(
    core: Core, task_id: str, reason: RollbackReason, undo: Callable[[str, RollbackReason], bool]
) -> None:
    """Undo what a task is at.

    Args:
        core: the kernel.
        task_id: the task.
        reason: why.
        undo: undoes what a task is at and breaks it off; false if it is not at work.

    Raises:
        UsageError: the task has ended, or a human must decide first.
    """
    row = core.state.row(task_id)
    _refuse_ended(row, "roll back")
    if undo(task_id, reason):
        return
    if core.cell(task_id).request is not None:
        drop_questions(core, task_id)
        undo_request(core, row, reason)
        return
    if is_judged(core, task_id) or is_in_doubt(core, task_id):
        message = f"task {task_id!r} waits for a word on what may have happened"
        raise UsageError(message, hint="approve, deny or judge it first")
    drop_questions(core, task_id)
    go_on(core, row, reason)
    core.state.commit(waits=True)


def cancel(core: Core, task_id: str, reason: str) -> list[str]:
    """End a task and its descendants, children first; the ids that were ended.

    Raises:
        InvalidValueError: the reason is no text.
    """
    check_text(reason, "reason")
    ended = []
    for stale in core.removal.subtree(task_id):
        row = core.state.row(stale.id)
        if not row.state.is_terminal():
            core.end(row, TerminationReason.USER_ABORT, error=reason)
            ended.append(row.id)
    if ended:
        core.state.commit()
    return ended


def extend(core: Core, task_id: str, budget: SchedulerBudget) -> None:
    """Give a task other limits; one that was ended by its budget goes on.

    Raises:
        UsageError: it ended otherwise.
        InvalidValueError: the limits are none.
    """
    row = core.state.row(task_id)
    extended = replace(row, budget=limits.under(core, row, kept(budget, SchedulerBudget, "budget")))
    if not row.state.is_terminal():
        core.state.put_row(extended)
    elif row.state.reason in OUT_OF_BUDGET:
        core.programs[row.program]  # an unknown one is the caller's error, not the kernel's end
        core.joining.refuse_consumed(row)
        upgrade_state(core, row)
        core.reopen(replace(extended, version=core.programs[row.program].version))
    else:
        reason = row.state.reason.value if row.state.reason else ""
        raise UsageError(f"task {task_id!r} ended by {reason}, not by its budget", hint="submit a new task")
    note_overspent(core, core.state.row(task_id))
    core.state.commit()


def upgrade_state(core: Core, row: Tcb) -> bool:
    """Bring the state of a task to the version of its program; whether it was older."""
    program = core.programs[row.program]
    value = core.cell(row.id).state
    if value is None or value.version == program.version:
        return False
    path = f"state[{row.id!r}]"
    data = core.redactor.typed(program.state, program.upgraded(value.data, value.version, path), path)
    core.state.put(("state", row.id, 0), Value(data, program.version))
    return True


def _refuse_ended(row: Tcb, what: str) -> None:
    if row.state.is_terminal():
        hint = "submit a new task, or extend one that its budget ended"
        raise UsageError(f"cannot {what} task {row.id!r}: it has ended", hint=hint)
