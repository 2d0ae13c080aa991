"""The live rows compared with what the event log says of them: neither is written from the other.

Compared are: each child with its record in the log (its parent's session; running, joined or failed; the
kernel turn of the last such change), which children there are, and their order; that the log knows of a
suspension when a row is suspended, and that one is when the log ends in a suspension; that nothing in the
log is later than the kernel's turn.

Not compared, because the log's view does not say it: the states of roots; which of several tasks was
suspended last, and what it waits for; how a child failed (its row knows the reason, the record only that it
did); limits and signals, of which the view names the newest only; the counters, which nothing else counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kernelckpt.kernel.steps import Steps, finished
from kernelckpt.model.os_snapshot import OsSnapshot, ProcessRecord
from kernelckpt.model.process import ProcessState
from kernelckpt.model.task_state import StateKind
from kernelckpt.model.tcb import Tcb


def differences(rows: Iterable[Tcb], view: OsSnapshot, turn: int | None = None) -> list[str]:
    """What the rows and the replayed log do not agree on, in words; empty when they agree.

    Args:
        rows: all rows, in order of insertion.
        view: what the event log amounts to.
        turn: kernel turns so far; None when unknown.
    """
    return finished(comparing(rows, view, turn))


def comparing(rows: Iterable[Tcb], view: OsSnapshot, turn: int | None = None) -> Steps[list[str]]:
    """The same in steps, a row each."""
    live: dict[str, ProcessRecord] = {}
    waiting = None
    for row in rows:
        if row.proc is not None:
            state = ProcessState.of(row.state).value
            live[row.id] = ProcessRecord(row.changed_turn, row.id, row.proc.parent_session_id, state)
        if row.state.kind is StateKind.SUSPENDED and row.wait is not None:
            waiting = row.id
        yield
    found = []
    for difference in _children(live, view):
        if difference:
            found.append(difference)
        else:
            yield
    found += _suspension(waiting, view)
    return found if turn is None else [*found, *_turns(turn, view)]


def _children(live: dict[str, ProcessRecord], view: OsSnapshot) -> Iterator[str]:
    """How each child differs; nothing of one that does not."""
    logged = {record.agent_id: record for record in view.process_by_agent}
    for agent, record in live.items():
        if agent not in logged:
            yield f"task {agent!r} is not in the event log"
        elif record != logged[agent]:
            yield f"task {agent!r} is {_named(record)}, but by the event log {_named(logged[agent])}"
        else:
            yield ""
    for agent, record in logged.items():
        if agent not in live:
            yield f"the event log knows task {agent!r} as {_named(record)}, but no child of that id has a row"
    first_seen = [agent for agent in logged if agent in live]
    for agent, other in zip((agent for agent in live if agent in logged), first_seen, strict=True):
        if agent != other:
            yield f"task {agent!r} comes before {other!r}, but after it in the event log"
            return


def _named(record: ProcessRecord) -> str:
    return f"{record.state} since turn {record.turn} for session {record.parent_session_id!r}"


def _suspension(waiting: str | None, view: OsSnapshot) -> Iterator[str]:
    if waiting is not None and view.last_suspend is None:
        yield f"task {waiting!r} is suspended, but the event log knows of no suspension"
    if waiting is None and view.suspended:
        yield "the event log ends in a suspension, but no task is suspended"


def _turns(turn: int, view: OsSnapshot) -> Iterator[str]:
    turns = [record.turn for record in view.process_by_agent]
    turns += [record.turn for record in view.budget_exceeded]
    turns += [record.turn for record in view.signals]
    turns += [view.last_suspend.turn] if view.last_suspend is not None else []
    turns += [view.last_resumed_turn] if view.last_resumed_turn is not None else []
    newest = max(turns, default=0)
    if newest > turn:
        yield f"the event log knows of turn {newest}, later than the kernel's {turn}"
