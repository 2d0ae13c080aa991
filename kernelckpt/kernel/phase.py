"""Phases in a live kernel: a task that takes one for done waits until that is judged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from kernelckpt.codec.record import encode_record
from kernelckpt.errors import UsageError
from kernelckpt.kernel.capability_change import change_capabilities
from kernelckpt.kernel.lines import add_note
from kernelckpt.kernel.milestone import (
    Advanced,
    Blocked,
    MilestoneEvaluation,
    MilestoneTracker,
    note_of_block,
    note_of_next,
)
from kernelckpt.kernel.question import PHASE_KEY, phase_question
from kernelckpt.kernel.rollback import go_on
from kernelckpt.kernel.state import KernelState
from kernelckpt.model.message import Message
from kernelckpt.model.milestone import HumanApproval, MilestoneCheckResult, RollbackPolicy
from kernelckpt.model.os_event import MilestoneAdvanced, MilestoneBlocked, MilestoneEvidence
from kernelckpt.model.rollback import MalformedReplay
from kernelckpt.model.task_state import TaskState
from kernelckpt.model.tcb import Tcb
from kernelckpt.model.termination import TerminationReason
from kernelckpt.model.wait import WaitReason

if TYPE_CHECKING:
    from kernelckpt.kernel.core import Core

_PLAIN = msgspec.msgpack.Decoder()


def tracker_of(state: KernelState, task_id: str) -> MilestoneTracker:
    """The tracker of a task, rebuilt from its contract and what is kept of its place in it.

    Raises:
        RestoreError: the contract does not have the phase.
    """
    cell = state.cell(task_id)
    contract = cell.spec.milestones if cell.spec is not None else None
    return MilestoneTracker.restore(contract, cell.milestone)


def take_for_done(core: Core, row: Tcb, text: str, output: bytes | None) -> bool:
    """Have the phase judged that a task takes for done; False when none is left, and it is really done."""
    tracker = tracker_of(core.state, row.id)
    phase = tracker.current
    if phase is None:
        return False
    core.state.put(("milestone", row.id, 0), tracker.claimed(text, output).progress)
    if isinstance(phase.verifier, HumanApproval):
        question = phase_question(row.id, phase, row.budget.turns, text, core.clock.wall_ms())
        core.state.put(("approval", row.id, core.cell(row.id).take_number()), question)
        state, wait = TaskState.SUSPENDED, WaitReason.approval()
    else:
        state, wait = TaskState.BLOCKED, WaitReason.milestone()
    core.state.put_row(replace(row, state=state, wait=wait, deferred_until=None))
    core.ask(row.id)
    core.tell("evaluate", row.id, row.budget.turns, phase_id=phase.id)
    return True


def is_judged(core: Core, task_id: str) -> bool:
    """Whether a task takes a phase for done, and waits until that is judged."""
    progress = core.cell(task_id).milestone
    return progress is not None and progress.text is not None


def evaluations(state: KernelState) -> Iterator[MilestoneEvaluation]:
    """What is to be judged now, of all tasks."""
    for row in state.table.live():
        if state.cell(row.id).milestone is not None:
            evaluation = tracker_of(state, row.id).evaluation(row.id)
            if evaluation is not None:
                yield evaluation


def judge(core: Core, task_id: str, result: MilestoneCheckResult, evidence: Sequence[str] = ()) -> None:
    """Act on what was judged of the phase that a task takes for done; the caller commits.

    Raises:
        UsageError: the task takes no phase for done, or another one.
    """
    row = core.state.row(task_id)
    tracker = tracker_of(core.state, task_id)
    if tracker.text is None:
        message = f"task {task_id!r} takes no phase for done"
        raise UsageError(message, hint="evaluations() lists what is to be judged")
    judged = tracker.judged(result)
    if evidence:
        core.state.note(MilestoneEvidence(core.state.totals.turn, result.phase_id, tuple(evidence)))
    core.state.put(("milestone", task_id, 0), judged.tracker.progress)
    _drop_question(core, task_id)
    if isinstance(judged, Advanced):
        _advance(core, row, judged, tracker.text, tracker.output)
    else:
        _block(core, row, judged, tracker.text)


def settle_phase(core: Core, task_id: str, *, passed: bool, reason: str) -> None:
    """Act on a human's word about a phase; the caller commits."""
    phase = tracker_of(core.state, task_id).current
    assert phase is not None, "the question is dropped when the phase is judged"
    judge(core, task_id, MilestoneCheckResult(phase.id, passed, None if passed else reason))


def _drop_question(core: Core, task_id: str) -> None:
    for number, item in list(core.cell(task_id).approvals.items()):
        if item.pending and item.key.startswith(PHASE_KEY):
            core.state.remove(("approval", task_id, number))


def _advance(core: Core, row: Tcb, judged: Advanced, text: str, output: bytes | None) -> None:
    turn = core.state.totals.turn
    row = change_capabilities(
        core.state,
        row,
        [lambda manifest: manifest.upsert(*judged.unlocked)],
        mounted_by=f"milestone:{judged.phase.id}",
        reason="phase_advance",
    )
    unlocked = tuple(entry.display for entry in judged.unlocked)
    core.state.note(MilestoneAdvanced(turn, judged.phase.id, unlocked))
    if judged.next_phase is None:
        plain = None if output is None else _PLAIN.decode(output)
        core.end(row, TerminationReason.COMPLETED, text=text, output=plain)
        return
    _keep_text(core, row, text)
    add_note(core.state, row.id, note_of_next(judged.next_phase))
    core.retry(row)


def _block(core: Core, row: Tcb, judged: Blocked, text: str) -> None:
    core.state.note(MilestoneBlocked(core.state.totals.turn, judged.phase.id, judged.reason))
    if judged.policy is RollbackPolicy.TERMINATE:
        core.end(row, TerminationReason.MILESTONE_EXCEEDED, text=text, error=judged.reason)
        return
    note = note_of_block(judged.phase, judged.reason)
    if judged.policy is RollbackPolicy.ROLLBACK:
        go_on(core, row, MalformedReplay(note.removeprefix("[MILESTONE] ")))
        return
    _keep_text(core, row, text)
    add_note(core.state, row.id, note)
    core.retry(row)


def _keep_text(core: Core, row: Tcb, text: str) -> None:
    if text:
        core.state.append(row.id, "history", [encode_record(Message.assistant(text))])
