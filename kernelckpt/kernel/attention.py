"""Signals: routed, then delivered to a task's inbox or queued until a task can take them."""

from __future__ import annotations

from msgspec.structs import replace

from kernelckpt.codec.plain import check_plain
from kernelckpt.codec.record import unshared
from kernelckpt.errors import UsageError
from kernelckpt.kernel.core import Core
from kernelckpt.model.inbox import InboxEntry
from kernelckpt.model.signal import Disposition, QueuedSignal, RuntimeSignal
from kernelckpt.model.task_state import StateKind
from kernelckpt.model.tcb import Tcb
from kernelckpt.model.wait import WaitKind


def route(core: Core, raw: RuntimeSignal, task_id: str | None) -> Disposition:
    """Route a signal, and deliver or queue it; what the router decided."""
    check_plain(raw.payload, "signal.payload")
    item = unshared(raw)
    target = core.state.row(task_id) if task_id is not None else _target(core)
    if target is not None and target.state.is_terminal():
        hint = "signal another task, or none by name"
        raise UsageError(f"task {target.id!r} has ended and takes no signal", hint=hint)
    if target is None and core.router.depth >= core.router.max_queue:
        return Disposition.DROPPED
    running = target is not None and target.state.kind is not StateKind.READY
    number = core.state.totals.signals + 1
    disposition = core.router.ingest(item, running, number)
    if disposition in {Disposition.IGNORE, Disposition.DROPPED}:
        return disposition
    if target is not None and disposition is not Disposition.QUEUE:
        _deliver(core, target.id, item)
    else:
        _enqueue(core, QueuedSignal(item, task_id), number, disposition)
    if target is not None and core.waits_for(target, WaitKind.SIGNAL):
        drain(core, target)
        core.wake(target)
    core.state.commit()
    return disposition


def _enqueue(core: Core, queued: QueuedSignal, number: int, disposition: Disposition) -> None:
    if disposition is not Disposition.QUEUE:  # nobody can take it now; a task to come will
        core.router.push(number, queued.signal)
    core.state.totals = replace(core.state.totals, signals=number)
    core.touch_totals()
    core.state.put(("signal", "", number), queued)


def _target(core: Core) -> Tcb | None:
    """Who takes a signal that names nobody: the first task waiting for one, else the first live root."""
    for task_id in list(core.signal_waiters):
        row = core.state.table.get(task_id)
        if row is not None and core.waits_for(row, WaitKind.SIGNAL):
            return row
        del core.signal_waiters[task_id]
    for task_id in list(core.live_roots):
        row = core.state.table.get(task_id)
        if row is not None and not row.state.is_terminal():
            return row
        del core.live_roots[task_id]
    return None


def drain(core: Core, row: Tcb) -> None:
    """Move the queued signals that this task may take into its inbox, in the router's order."""
    if not core.state.queued:
        return
    for number, item in core.router.queued:
        wanted = core.state.queued[number].task_id
        if wanted is None or wanted == row.id:
            core.router.discard(number)
            core.state.remove(("signal", "", number))
            _deliver(core, row.id, item)


def _deliver(core: Core, task_id: str, item: RuntimeSignal) -> None:
    core.state.put(("inbox", task_id, core.cell(task_id).take_number()), InboxEntry(signal=item))
