"""Phases: a task's place is in its contract, and one that takes a phase for done waits for the judgement."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from kernelckpt.checkpoint.decoded_run import DecodedRun
from kernelckpt.checkpoint.rule.unreadable import is_unreadable
from kernelckpt.errors import InvalidValueError, RestoreError
from kernelckpt.kernel.milestone import MilestoneTracker
from kernelckpt.kernel.question import PHASE_KEY
from kernelckpt.model.approval import Approval
from kernelckpt.model.milestone import MilestoneProgress
from kernelckpt.model.run_spec import AgentRunSpec
from kernelckpt.model.tcb import Tcb
from kernelckpt.model.wait import WaitKind


def phase_faults(run: DecodedRun, row: Tcb) -> Iterator[str]:
    """What is wrong with a task's contract and its place in it."""
    if is_unreadable(run, ("spec", row.id, 0), ("milestone", row.id, 0)):
        return
    spec = run.records("spec", row.id, AgentRunSpec).get(0)
    progress = run.records("milestone", row.id, MilestoneProgress).get(0)
    try:
        tracker = MilestoneTracker.restore(spec.milestones if spec is not None else None, progress)
    except (RestoreError, InvalidValueError) as error:
        yield error.message
        return
    if tracker.text is None:
        yield from _needless_waits(run, row)
    elif tracker.current is None:
        yield "it takes a phase for done, but none is left"
    elif row.state.is_terminal():
        yield f"it has ended, but takes phase {tracker.current.id!r} for done"
    elif not _awaits_judgement(run, row, tracker.current.id):
        yield f"it takes phase {tracker.current.id!r} for done, but does not wait until that is judged"
    if tracker.output is not None and not _is_value(tracker.output):
        yield "the output that it would complete with cannot be read"


def _needless_waits(run: DecodedRun, row: Tcb) -> Iterator[str]:
    if row.wait is not None and row.wait.kind is WaitKind.MILESTONE:
        yield "it waits until a phase is judged, but takes none for done"
    for key in _phase_questions(run, row):
        yield f"the question {key!r} is about a phase that it does not take for done"


def _awaits_judgement(run: DecodedRun, row: Tcb, phase: str) -> bool:
    if row.wait is None:
        return False
    if row.wait.kind is WaitKind.MILESTONE:
        return True
    asked = {key.rpartition(".")[0] for key in _phase_questions(run, row)}
    return row.wait.kind is WaitKind.APPROVAL and f"{PHASE_KEY}{phase}" in asked


def _phase_questions(run: DecodedRun, row: Tcb) -> list[str]:
    asked = run.records("approval", row.id, Approval).values()
    return [item.key for item in asked if item.pending and item.key.startswith(PHASE_KEY)]


def _is_value(data: bytes) -> bool:
    try:
        msgspec.msgpack.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return False
    return True
