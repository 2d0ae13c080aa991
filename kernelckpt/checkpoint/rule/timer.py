"""Timers: whoever waits for a time is in the timer index of a kernel that has loaded the state."""

from __future__ import annotations

from collections.abc import Iterator

from kernelckpt.kernel.question import KERNEL_KEYS
from kernelckpt.kernel.state import KernelState
from kernelckpt.model.tcb import Tcb
from kernelckpt.model.wait import WaitKind


def timer_faults(state: KernelState) -> Iterator[tuple[str, str]]:
    """Tasks that wait for a time and that no timer wakes, each with what it waits for."""
    live = state.table.live()
    latest = max((row.deferred_until for row in live if row.deferred_until is not None), default=0)
    armed = {row.id for row in state.table.due(latest)}
    for row in live:
        if row.id in armed:
            continue
        if row.deferred_until is not None:
            yield row.id, f"it is deferred until {row.deferred_until}, but no timer wakes it"
        elif _expires(state, row):
            yield row.id, "its question expires, but no timer ends the wait"


def _expires(state: KernelState, row: Tcb) -> bool:
    """Whether all that a task waits for is an answer that is not waited for without end.

    A question of the kernel itself holds a task without end, and so does one beside the others that does.
    """
    if row.wait is None or row.wait.kind is not WaitKind.APPROVAL:
        return False
    pending = [item for item in state.cell(row.id).approvals.values() if item.pending]
    is_held = any(item.key.startswith(KERNEL_KEYS) for item in pending)
    return bool(pending) and not is_held and all(item.expires_at_ms is not None for item in pending)
