"""How a turn becomes one commit, over the records as they are by then."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from kernelckpt.errors import GovernanceError, TaskMismatchError
from kernelckpt.kernel import attention
from kernelckpt.kernel.capability_change import change_capabilities
from kernelckpt.kernel.context.change import apply_context
from kernelckpt.kernel.core import Core
from kernelckpt.kernel.governance.gate import refusal_of
from kernelckpt.kernel.governance.quota import SPAWN
from kernelckpt.kernel.new_task import put_new_task
from kernelckpt.kernel.phase import tracker_of
from kernelckpt.kernel.rollback import undo_refused, undo_turn
from kernelckpt.kernel.turn import ending
from kernelckpt.kernel.turn.apply_ending import apply_ending
from kernelckpt.kernel.turn.staged import Staged
from kernelckpt.model.governance import AskUser, GovernedCall
from kernelckpt.model.rollback import GovernanceRefusal
from kernelckpt.model.task_state import TaskState
from kernelckpt.model.tcb import Tcb


class _Asked(msgspec.Struct, frozen=True):
    """What governance says of a turn: why it is refused, or which calls a human must allow."""

    refusal: GovernanceError | None = None
    gated: dict[str, str] = {}


_NOTHING = _Asked()
_JUDGED = (ending.Rollback, ending.Join, ending.Request)
"""Endings that may come to nothing; the others are committed as they are."""


def commit_turn(core: Core, row: Tcb, staged: Staged, what_next: ending.Next) -> None:
    """Apply a turn in one commit; one that governance refuses, or that its program takes back, is undone.

    Args:
        core: the kernel.
        row: the task's row as it is by now.
        staged: what the turn has staged.
        what_next: how it ended.

    Raises:
        TaskMismatchError: a spawned id was taken meanwhile; nothing was changed.
        UnknownTaskError: a child to be joined was forgotten meanwhile; nothing was changed.
    """
    if not staged.spawns and not isinstance(what_next, _JUDGED):
        _commit(core, row, staged, what_next, _NOTHING.gated)
        return
    if isinstance(what_next, ending.Rollback):
        core.events.emit("discarded", row.id, row.budget.turns + 1)
        undo_turn(core, row, what_next.reason)
        return
    if staged.spawns or isinstance(what_next, ending.Join):
        _refuse_lost(core, staged, what_next)
    asked = _ask_governance(core, row, what_next) if isinstance(what_next, ending.Request) else _NOTHING
    if asked.refusal is None and not (staged.spawns and core.gate.crowded(len(staged.spawns))):
        _commit(core, row, staged, what_next, asked.gated)
        return
    core.events.emit("discarded", row.id, row.budget.turns + 1)
    if asked.refusal is not None:
        undo_refused(core, row, asked.refusal)
    else:
        undo_turn(core, row, GovernanceRefusal(SPAWN, "too many children run by now"))


def _ask_governance(core: Core, row: Tcb, request: ending.Request) -> _Asked:
    """All calls of a request are judged; a refusal of one refuses them all, before any human is asked."""
    refusal, gated = None, {}
    for call in request.reply.tool_calls:
        verdict = core.gate.judge(row, GovernedCall(call.name, call.id, call.arguments))
        refusal = refusal or refusal_of(verdict, call.name)
        if isinstance(verdict, AskUser):
            gated[call.id] = verdict.reason
    return _Asked(refusal, gated)


def _commit(core: Core, row: Tcb, staged: Staged, what_next: ending.Next, gated: dict[str, str]) -> None:
    task_id, state = row.id, core.state
    core.count_turn()
    row = _counted(row, len(staged.spawns))
    cell = state.cell(task_id)
    plan = cell.context.plan if staged.plan else None
    if staged.read or cell.effects:
        _drop_consumed(core, task_id, staged)
    if staged.value is not None:
        state.put(("state", task_id, 0), staged.value)
    apply_context(state, task_id, staged)
    if staged.capabilities:
        row = change_capabilities(state, row, staged.capabilities)
    for spawn in staged.spawns.values():
        put_new_task(core, spawn, parent=row)
    if state.queued and not _ends(core, task_id, what_next):
        attention.take_at_turn_end(core, row, waits=isinstance(what_next, ending.WaitSignal))
    apply_ending(core, row, what_next, gated=gated, plan=plan)
    if core.urged:
        attention.end_wait_if_urged(core, task_id)
    wait = None if what_next is ending.AGAIN else state.row(task_id).wait
    if core.events.heard:
        core.tell("committed", task_id, row.budget.turns, kernel_turn=state.totals.turn)
        if wait is not None:
            core.tell("waiting", task_id, row.budget.turns, wait=wait.label(), note=wait.note)
    state.commit(ended_turn=True, waits=wait is not None)


def _counted(row: Tcb, spawned: int) -> Tcb:
    """The row of a task whose turn has ended, as it is when nothing keeps it from the next one."""
    budget = replace(row.budget, turns=row.budget.turns + 1)
    if row.failed:
        row = replace(row, failed=0, failure="")
    ready = TaskState.READY
    return replace(row, state=ready, budget=budget, attempt=0, spawned=row.spawned + spawned, joined=())


def _ends(core: Core, task_id: str, what_next: ending.Next) -> bool:
    """Whether the task ends with this turn; one that takes a phase for done does not."""
    if isinstance(what_next, ending.Complete):
        return tracker_of(core.state, task_id).is_complete
    return isinstance(what_next, ending.Fail)


def _refuse_lost(core: Core, staged: Staged, what_next: ending.Next) -> None:
    """Refuse what the outside has made impossible since it was staged, before anything is changed."""
    for child in staged.spawns:
        if child in core.state.table:
            raise TaskMismatchError(f"task {child!r} exists already", hint="spawn under another task_id")
    for child in what_next.children if isinstance(what_next, ending.Join) else ():
        if child not in staged.spawns:
            core.state.row(child)


def _drop_consumed(core: Core, task_id: str, staged: Staged) -> None:
    for number in sorted(staged.read):
        core.state.remove(("inbox", task_id, number))
    if core.programs[core.state.row(task_id).program].keeps_calls:
        return
    for number in list(core.cell(task_id).effects):
        core.state.remove(("effect", task_id, number))
