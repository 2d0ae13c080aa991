"""The goal/plan record in words, as the agent is shown it, and the notes of compressions in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from msgspec.structs import replace

from kernelckpt.model.context import CompressionNote, Plan, PlanStep

SHOWN_NOTES = 3
"""How many notes of compressions are shown, the newest ones."""

MAX_NOTES = 64
"""How many notes of compressions a plan keeps; older ones remain in the event log."""


def format_compact(plan: Plan) -> str:
    """The record in a few lines; "" when it has no goal, no steps and no progress."""
    if not (plan.goal or plan.plan or plan.progress):
        return ""
    return "\n".join((f"[TASK STATE] goal: {plan.goal}", *_lines(plan)))


def with_notes(plan: Plan, notes: Iterable[CompressionNote]) -> Plan:
    """The record with more notes of compressions, of which it keeps the newest `MAX_NOTES`."""
    return replace(plan, compression_log=(*plan.compression_log, *notes)[-MAX_NOTES:])


def _lines(plan: Plan) -> Iterator[str]:
    yield from _joined("criteria", plan.criteria)
    yield from _listed("active_directives", [f"- {text}" for text in plan.directives])
    yield from _listed("plan", [_step(plan, index, step) for index, step in enumerate(plan.plan)])
    yield from _joined("progress", [plan.progress] if plan.progress else [])
    yield from _joined("blocked_on", plan.blocked_on)
    yield from _joined("scratchpad", [plan.scratchpad] if plan.scratchpad else [])
    newest = plan.compression_log[-SHOWN_NOTES:]
    yield from _listed("compressed", [f"- {note.action}: {note.summary}" for note in newest])


def _joined(name: str, texts: Sequence[str]) -> Iterator[str]:
    if texts:
        yield f"{name}: {'; '.join(texts)}"


def _listed(name: str, lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield f"{name}:"
        yield from lines


def _step(plan: Plan, index: int, step: PlanStep) -> str:
    marker = "done" if step.done else "active" if index == plan.current_step else "todo"
    return f"{index + 1}. [{marker}] {step.label}"
