"""Signals: routed, acted on, and delivered to a task's inbox or queued until a task can take them."""

from __future__ import annotations

from itertools import islice

from msgspec.structs import replace

from kernelckpt.codec.plain import check_plain
from kernelckpt.errors import UsageError
from kernelckpt.kernel.answering import is_held
from kernelckpt.kernel.argument import kept
from kernelckpt.kernel.core import Core
from kernelckpt.kernel.lines import add_directive
from kernelckpt.model.os_event import SignalDisposed
from kernelckpt.model.signal import Disposition, QueuedSignal, RuntimeSignal
from kernelckpt.model.task_state import StateKind
from kernelckpt.model.tcb import Tcb
from kernelckpt.model.wait import WaitKind

_REFUSED = frozenset({Disposition.IGNORE, Disposition.DROPPED})
_INTERRUPTS = frozenset({Disposition.INTERRUPT, Disposition.INTERRUPT_NOW})
_WAKES = frozenset({*_INTERRUPTS, Disposition.RUN})


def route(core: Core, raw: RuntimeSignal, task_id: str | None) -> Disposition:
    """Route a signal, and act on it, deliver it or queue it; what the router decided."""
    disposition = take(core, raw, task_id)
    core.state.commit(urgent=disposition not in _REFUSED)
    return disposition


def take(core: Core, raw: RuntimeSignal, task_id: str | None) -> Disposition:
    """Do what `route` does; the caller commits."""
    given = kept(raw, RuntimeSignal, "signal")
    check_plain(raw.payload, "signal.payload")
    item = core.redactor.admitted(given, "signal")
    target = core.state.row(task_id) if task_id is not None else _target(core)
    if target is not None and target.state.is_terminal():
        hint = "signal another task, or none by name"
        raise UsageError(f"task {target.id!r} has ended and takes no signal", hint=hint)
    number = core.state.totals.signals + 1
    direct = target is not None and core.waits_for(target, WaitKind.SIGNAL)
    if target is None and core.router.depth >= core.router.max_queue:
        disposition = Disposition.DROPPED
    else:
        running = target is not None and target.state.kind is not StateKind.READY
        disposition = core.router.ingest(item, running, number, keep=not direct)
    event = SignalDisposed(core.state.totals.turn, item.id, disposition.value, core.router.depth)
    core.state.note(event)
    if disposition in _REFUSED:
        return disposition
    if target is not None and (direct or disposition is not Disposition.QUEUE):
        _deliver(core, target, item, disposition)
    else:
        _enqueue(core, QueuedSignal(item, task_id), number, disposition)
    return disposition


def _deliver(core: Core, target: Tcb, item: RuntimeSignal, disposition: Disposition) -> None:
    core.deliver(target.id, item, interrupts=disposition in _INTERRUPTS)
    if disposition is not Disposition.QUEUE:
        add_directive(core.state, target.id, item.summary)
    if core.waits_for(target, WaitKind.SIGNAL):
        core.take_queued(target.id, unaddressed=True)
        core.wake(target)
    elif disposition in _WAKES:
        _give_turn(core, target)
    if disposition is Disposition.INTERRUPT_NOW:
        core.on_interrupt(target.id)


def _give_turn(core: Core, row: Tcb) -> None:
    """Give a turn to a task that waits by its own choice; begun work and open questions are not cut off.

    One that is in a turn already has another after it, whatever wait that turn ends in: it cannot have read
    the signal.
    """
    kind = row.state.kind
    if kind is StateKind.RUNNING:
        core.urged.add(row.id)
        return
    if kind is StateKind.BLOCKED or (kind is StateKind.SUSPENDED and is_held(core, row.id)):
        return
    if kind is StateKind.SUSPENDED or row.deferred_until is not None:
        core.wake(row)
    core.push_first(row.id)


def end_wait_if_urged(core: Core, task_id: str) -> None:
    """End the wait that a turn has just ended in, if an interrupt came during it; the caller commits."""
    row = core.state.row(task_id)
    if task_id in core.urged and not row.state.is_terminal():
        _give_turn(core, row)


def _enqueue(core: Core, queued: QueuedSignal, number: int, disposition: Disposition) -> None:
    if disposition is not Disposition.QUEUE:  # nobody can take it now; a task to come will
        core.router.push(number, queued.signal)
    core.state.totals = replace(core.state.totals, signals=number)
    core.touch_totals()
    core.state.put(("signal", "", number), queued)


def take_at_turn_end(core: Core, row: Tcb, *, waits: bool) -> None:
    """Give a task the queued signals it may take now that its turn ends.

    Those are its own; and those for nobody in particular when it waits for one, or when it would be given
    them if they came now.
    """
    taker = row if waits else _target(core)
    core.take_queued(row.id, unaddressed=taker is not None and taker.id == row.id)


def _target(core: Core) -> Tcb | None:
    """Who takes a signal that names nobody: the first task waiting for one, else the first live root."""
    for task_id in (*islice(core.signal_waiters, 1), *islice(core.live_roots, 1)):
        return core.state.row(task_id)
    return None
