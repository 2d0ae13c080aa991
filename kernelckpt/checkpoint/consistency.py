"""What must hold among the records of a state: lineage, waits that can end, results, totals, event log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from kernelckpt.checkpoint.decoded_run import DecodedRun
from kernelckpt.checkpoint.finding import Finding, FindingKind
from kernelckpt.codec.record import path_of
from kernelckpt.kernel.core import result_of
from kernelckpt.kernel.events.cross_check import differences
from kernelckpt.kernel.question import EFFECT_KEY
from kernelckpt.model.approval import Approval
from kernelckpt.model.effect import Effect
from kernelckpt.model.signal import QueuedSignal
from kernelckpt.model.task_state import StateKind
from kernelckpt.model.tcb import Tcb
from kernelckpt.model.wait import WaitKind, WaitReason

_WAITING = frozenset({StateKind.BLOCKED, StateKind.SUSPENDED})


def inconsistencies(run: DecodedRun, turn: int) -> Iterator[Finding]:
    """All that contradicts itself in a state.

    Args:
        run: its records.
        turn: kernel turns so far, as the checkpoint is listed.
    """
    yield from _totals(run, turn)
    yield from _lineage_cycles(run)
    children = Counter(row.parent for row in run.rows.values())
    for row in run.rows.values():
        where = path_of(("task", row.id, 0))
        faults = (*_lineage(run, row, children[row.id]), *_standing(run, row), *_questions(run, row))
        yield from (Finding(FindingKind.STATE, where, fault) for fault in faults)
    yield from _endless_joins(run)
    yield from _queue(run)
    yield from _log(run)


def _totals(run: DecodedRun, turn: int) -> Iterator[Finding]:
    if run.totals is None:
        yield Finding(FindingKind.STATE, "kernel", "the totals are missing")
        return
    if run.totals.turn != turn:
        yield _in_totals(f"turn {run.totals.turn}, but the checkpoint is listed as of turn {turn}")
    ledgers = [row.budget for row in run.rows.values()]
    sums = {
        "turn": sum(ledger.turns for ledger in ledgers),
        "total_tokens": sum(ledger.total_tokens for ledger in ledgers),
        "cost_micros": sum(ledger.cost_micros for ledger in ledgers),
    }
    for name, used in sums.items():
        total: int = getattr(run.totals, name)
        if total < used:  # it may be more: forgotten tasks stay counted
            yield _in_totals(f"{name} is {total}, but the tasks together used {used}")


def _in_totals(text: str) -> Finding:
    return Finding(FindingKind.STATE, "kernel", text)


def _lineage(run: DecodedRun, row: Tcb, children: int) -> Iterator[str]:
    if row.parent is not None and row.parent not in run.known:
        yield f"its parent {row.parent!r} has no row"
    if (row.proc is None) != (row.parent is None):
        yield "it is a root with a child's identity" if row.proc else "it is a child without its identity"
    if row.proc is not None and row.proc.result is not None and row.proc.result.agent_id != row.id:
        yield f"its result is that of {row.proc.result.agent_id!r}"
    if children > row.spawned:
        yield f"it has {children} children, but spawned {row.spawned}"
    if run.totals is not None and row.changed_turn > run.totals.turn:
        yield f"it changed in turn {row.changed_turn}, later than the kernel's {run.totals.turn}"


def _lineage_cycles(run: DecodedRun) -> Iterator[Finding]:
    parents = {row.id: [row.parent] if row.parent is not None else [] for row in run.rows.values()}
    for cycle in _cycles(parents):
        yield Finding(FindingKind.STATE, path_of(("task", cycle, 0)), "it is its own ancestor")


def _standing(run: DecodedRun, row: Tcb) -> Iterator[str]:
    result = result_of(row)
    if row.state.is_terminal():
        if result is None:
            yield "it has ended without a result"
        elif result.termination is not row.state.reason:
            yield f"it ended by {row.state.reason}, but its result says {result.termination.value}"
        if row.wait is not None or row.deferred_until is not None:
            yield "it has ended, but waits"
        return
    if result is not None:
        yield "it has a result, but has not ended"
    if row.state.kind not in _WAITING:
        return
    if row.wait is None:
        yield f"it is {row.state.label()}, but waits for nothing"
    else:
        yield from _waker_faults(run, row, row.wait)


def _waker_faults(run: DecodedRun, row: Tcb, wait: WaitReason) -> Iterator[str]:
    """Signals, resumes and timers come from outside the state; everything else must lie in it."""
    if wait.kind is WaitKind.SUB_AGENT_JOIN:
        for child in wait.children:
            if child not in run.known:
                yield f"it waits for task {child!r}, which has no row"
        if not wait.children:
            yield "it waits for tasks, but names none"
    elif wait.kind is WaitKind.APPROVAL:
        if not any(item.pending for item in run.records("approval", row.id, Approval).values()):
            yield "it waits for an answer, but asked nothing"
    elif wait.kind is WaitKind.TOOL and not any(
        effect.call_id for effect in run.records("effect", row.id, Effect).values()
    ):
        yield "it waits for tool calls, but none is open"


def _questions(run: DecodedRun, row: Tcb) -> Iterator[str]:
    effects = run.records("effect", row.id, Effect)
    approvals = run.records("approval", row.id, Approval).values()
    if row.state.is_terminal() and (effects or any(item.pending for item in approvals)):
        yield "it has ended, but has open calls or questions"
    for key, count in Counter(item.key for item in approvals).items():
        if count > 1:
            yield f"it asked {count} times under {key!r}"
    for call_id, count in Counter(effect.call_id for effect in effects.values()).items():
        if call_id and count > 1:
            yield f"{count} calls have the id {call_id!r}"
    for item in approvals:
        if item.task_id != row.id:
            yield f"the question {item.key!r} is that of task {item.task_id!r}"
        number = item.key.removeprefix(EFFECT_KEY).partition(".")[0]
        if (
            item.pending
            and item.key.startswith(EFFECT_KEY)
            and not (number.isdecimal() and int(number) in effects)
        ):
            yield f"the question {item.key!r} is about a call that is not there"


def _endless_joins(run: DecodedRun) -> Iterator[Finding]:
    waits = {
        row.id: [child for child in row.wait.children if child in run.rows]
        for row in run.rows.values()
        if row.wait is not None and not row.state.is_terminal()
    }
    for task in _cycles(waits):
        text = "it waits for tasks that wait for it: nothing inside can end this"
        yield Finding(FindingKind.STATE, path_of(("task", task, 0)), text)


def _queue(run: DecodedRun) -> Iterator[Finding]:
    queued = run.records("signal", "", QueuedSignal)
    for number in queued:
        if run.totals is not None and number > run.totals.signals:
            where = path_of(("signal", "", number))
            yield Finding(FindingKind.STATE, where, f"only {run.totals.signals} signals were queued so far")


def _log(run: DecodedRun) -> Iterator[Finding]:
    view = run.log_view()
    turn = run.totals.turn if run.totals is not None else None
    for text in differences(run.rows.values(), view, turn) if view is not None else ():
        yield Finding(FindingKind.STATE, "event log", text)


def _cycles(edges: dict[str, list[str]]) -> Iterator[str]:
    """One node of each cycle, found without recursion: chains of tasks can be long."""
    done: set[str] = set()
    for start in edges:
        path: dict[str, Iterator[str]] = {}
        node: str | None = start if start not in done else None
        while node is not None:
            path[node] = path.get(node) or iter(edges.get(node, ()))
            after = next((n for n in path[node] if n not in done), None)
            if after is None:
                done.add(node)
                del path[node]
                node = next(reversed(path), None)
            elif after in path:
                yield after
            else:
                node = after
