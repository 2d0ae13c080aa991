"""Coming back: what a restored state needs, what is mended in it, and the report of both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice

import msgspec
from msgspec.structs import replace

from kernelckpt.abc import Commit, Key, PartlyRead, RestoredState, Unread
from kernelckpt.errors import RestoreError
from kernelckpt.kernel.answering import suspend_in_doubt
from kernelckpt.kernel.core import Core
from kernelckpt.kernel.events.cross_check import comparing
from kernelckpt.kernel.governance import governing
from kernelckpt.kernel.intake import upgrade_state
from kernelckpt.kernel.missing import missing_for
from kernelckpt.kernel.spending import note_overspent
from kernelckpt.kernel.state import KernelState
from kernelckpt.kernel.steps import Steps
from kernelckpt.model.task_state import StateKind, TaskState
from kernelckpt.model.tcb import Tcb
from kernelckpt.model.wait import WaitKind

_MENDED_AT_ONCE = 100
"""So many changes are one commit at most, but for those of one task."""

_COUNTED_AT_ONCE = 32
"""So many records are counted in one step: each takes a fraction of what a step of its own would."""


class RestoreReport(msgspec.Struct, frozen=True):
    """What a restore found and did.

    Attributes:
        run_id: the run.
        turn: kernel turns committed.
        tasks: rows restored.
        live: those that have not ended.
        restored: how many records of each kind.
        interrupted: tasks that were in a turn; they run it again.
        woken: tasks whose wait was over already.
        in_doubt: effects that may have happened, as "task: name"; what is done about each is said by its
            policy: those for a human wait for approve or deny.
        upgraded: tasks whose program state was brought to a newer version.
        recreated: what is not kept and was made anew.
        cleared: what is not kept and starts empty.
        notes: what the log had to say: a torn tail dropped, damage set aside.
        differences: where the rows and the event log contradict each other; the rows are what counts.
        downtime_ms: wall time since the restored checkpoint; None when unknown. It is charged to tasks whose
            budgets say so.
    """

    run_id: str
    turn: int
    tasks: int
    live: int
    restored: dict[str, int]
    interrupted: tuple[str, ...]
    woken: tuple[str, ...]
    in_doubt: tuple[str, ...]
    upgraded: tuple[str, ...]
    recreated: tuple[str, ...]
    cleared: tuple[str, ...]
    notes: tuple[str, ...]
    differences: tuple[str, ...]
    downtime_ms: int | None


class Rehearsal(msgspec.Struct, frozen=True):
    """A state as it was loaded, to be gone on from.

    Attributes:
        state: what was loaded; nobody else has it.
        missing: what this scheduler lacks to go on from it, in words.
        kinds: how many records of each kind there are, and how many items of each kind of stream.
        unread: streams that were not read yet; None if all were.
    """

    state: KernelState
    missing: list[str]
    kinds: dict[str, int]
    unread: Unread | None


def rehearse(core: Core, state: RestoredState) -> Steps[Rehearsal]:
    """Load a state and find out what this scheduler lacks to go on from it; the kernel is not changed.

    Raises:
        RestoreError: records of a task that has no row.
        DecodeError: a record is not what it should be.
    """
    shadow = KernelState(_drop)
    yield from shadow.loading(state)
    missing = yield from missing_for(core, shadow)
    kinds: Counter[str] = Counter()
    unread = state.unread if isinstance(state, PartlyRead) else None
    yield from _count(kinds, ((key, 1) for key in state.records))
    yield from _count(kinds, ((key, len(items)) for key, items in state.streams.items()))
    if unread is not None:
        yield from _count(kinds, unread.counts())
    return Rehearsal(shadow, [core.redactor.text(item) for item in missing], dict(kinds), unread)


def _count(kinds: Counter[str], counts: Iterator[tuple[Key, int]]) -> Steps[None]:
    while part := list(islice(counts, _COUNTED_AT_ONCE)):
        for (kind, _, _), count in part:
            kinds[kind] += count
        yield


def _drop(_: Commit) -> None:
    """A state that is only looked at commits nothing."""


def _recreated(core: Core) -> tuple[str, ...]:
    governed = ("governance closures",) if core.gate.governance is not None else ()
    return ("timers", "ready queue", *governed, "milestone trackers", "handle tables")


def take_over(
    core: Core, run_id: str, rehearsal: Rehearsal, downtime_ms: int | None, notes: Sequence[str]
) -> Steps[RestoreReport]:
    """Make a rehearsed state the kernel's, mend what the crash left half-way, and report.

    What is mended is committed piece by piece, so that the state between two steps is a committed one.

    Raises:
        RestoreError: something is missing.
    """
    lacking = rehearsal.missing
    if lacking:
        message = f"run {run_id!r} cannot go on here; missing: {'; '.join(lacking)}"
        hint = "register what is missing with the Scheduler; nothing was changed"
        raise RestoreError(message, missing=lacking, hint=hint)
    core.state.adopt(rehearsal.state)
    core.contexts.begin(rehearsal.unread)
    totals = core.state.totals
    core.set_work_ms(totals.clock_ms)
    differing = yield from _compare(core)
    said = governing.recreate(core)
    mended = _Mended(downtime_ms or 0)
    for row in core.state.table.scan():
        note_overspent(core, row)
        if not row.state.is_terminal():
            _mend(core, row, mended)
        elif row.parent is None:
            core.removal.note_done(row.id)
        if core.state.uncommitted > _MENDED_AT_ONCE:
            mended.count_downtime(core)
            core.state.commit()
            yield
        elif not core.state.uncommitted:
            yield
    mended.count_downtime(core)
    core.state.commit()
    return RestoreReport(
        run_id=run_id,
        turn=totals.turn,
        tasks=len(core.state.table),
        live=core.state.table.live_count,
        restored=rehearsal.kinds,
        interrupted=tuple(mended.interrupted),
        woken=tuple(mended.woken),
        in_doubt=tuple(mended.in_doubt),
        upgraded=tuple(mended.upgraded),
        recreated=_recreated(core),
        cleared=("signal deduplication",),
        notes=(*notes, *said),
        differences=differing,
        downtime_ms=downtime_ms,
    )


def _compare(core: Core) -> Steps[tuple[str, ...]]:
    state = core.state
    found = tuple((yield from comparing(state.table.scan(), state.log.view(), state.totals.turn)))
    if found:
        core.events.alarm("log_differs", differences=found)
    return found


class _Mended:
    def __init__(self, downtime_ms: int) -> None:
        self._downtime_ms = downtime_ms
        self.interrupted: list[str] = []
        self.woken: list[str] = []
        self.in_doubt: list[str] = []
        self.upgraded: list[str] = []

    def count_downtime(self, core: Core) -> None:
        """Note the clock, and the downtime in the first commit: a crash from then on loses none of it."""
        core.touch_totals(downtime_ms=self._downtime_ms)
        self._downtime_ms = 0


def _mend(core: Core, row: Tcb, mended: _Mended) -> None:
    if row.parent is None:
        core.live_roots[row.id] = None
    row = _upgraded(core, row, mended)
    if row.state.kind is StateKind.RUNNING:
        mended.interrupted.append(row.id)
        core.events.emit("discarded", row.id, row.budget.turns + 1)
        row = replace(row, state=TaskState.READY)
        core.state.put_row(row)
    if effects := core.cell(row.id).effects:
        mended.in_doubt += [f"{row.id}: {effect.name}" for effect in effects.values() if effect.in_doubt]
        if suspend_in_doubt(core, row):
            return
    wait = row.wait
    if wait is not None and wait.kind is WaitKind.SIGNAL:
        core.signal_waiters[row.id] = None
    if wait is not None and wait.kind is WaitKind.SUB_AGENT_JOIN:
        if not core.joining.begin(row, wait.children):
            mended.woken.append(row.id)
            core.wake(row)
    elif core.can_run(row):
        core.push(row.id)


def _upgraded(core: Core, row: Tcb, mended: _Mended) -> Tcb:
    """The row at the version of its program, as is its state."""
    if upgrade_state(core, row):
        mended.upgraded.append(row.id)
    version = core.programs[row.program].version
    return row if row.version == version else core.state.put_row(replace(row, version=version))
