"""Waits: for each there is something that can end it.

Signals, messages, resumes and the clock come from outside the state; everything else must lie in it.
"""

from __future__ import annotations

from collections.abc import Iterator

from kernelckpt.checkpoint.decoded_run import DecodedRun
from kernelckpt.model.approval import Approval
from kernelckpt.model.effect import Effect
from kernelckpt.model.task_state import StateKind
from kernelckpt.model.tcb import Tcb
from kernelckpt.model.wait import WaitKind, WaitReason

_WAITING = frozenset({StateKind.BLOCKED, StateKind.SUSPENDED})

_ENDED_ONLY_IN = {
    WaitKind.TOOL: StateKind.BLOCKED,
    WaitKind.APPROVAL: StateKind.SUSPENDED,
    WaitKind.SIGNAL: StateKind.SUSPENDED,
    WaitKind.EXTERNAL: StateKind.SUSPENDED,
}
"""The state in which the kernel ends a wait; it ends those for children and judgements in either."""


def wait_faults(run: DecodedRun, row: Tcb) -> Iterator[str]:
    """Why nothing can end a task's wait."""
    if row.state.kind not in _WAITING:
        return
    if row.wait is None:
        yield f"it is {row.state.label()}, but waits for nothing"
        return
    needed = _ENDED_ONLY_IN.get(row.wait.kind, row.state.kind)
    if needed is not row.state.kind:
        yield f"its wait ({row.wait.label()}) ends only while it is {needed.value}; it is {row.state.label()}"
    yield from _waker_faults(run, row, row.wait)


def _waker_faults(run: DecodedRun, row: Tcb, wait: WaitReason) -> Iterator[str]:
    if wait.kind is WaitKind.SUB_AGENT_JOIN:
        yield from _join_faults(run, row, wait.children)
    elif wait.kind is WaitKind.APPROVAL:
        if not any(item.pending for item in run.records("approval", row.id, Approval).values()):
            yield "it waits for an answer, but asked nothing"
    elif wait.kind is WaitKind.TOOL and not any(
        effect.call_id for effect in run.records("effect", row.id, Effect).values()
    ):
        yield "it waits for tool calls, but none is open"


def _join_faults(run: DecodedRun, row: Tcb, children: tuple[str, ...]) -> Iterator[str]:
    if not children:
        yield "it waits for tasks, but names none"
    for name in children:
        child = run.rows.get(name)
        if name not in run.known:
            yield f"it waits for task {name!r}, which has no row"
        elif child is not None and child.parent != row.id and not child.state.is_terminal():
            yield f"it waits for task {name!r}, which is no child of it: that it ends wakes nobody"
