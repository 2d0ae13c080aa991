"""Coming back: what a restored state needs, what is mended in it, and the report of both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec
from msgspec.structs import replace

from kernelckpt.abc import RestoredState
from kernelckpt.errors import InvalidValueError, KernelCkptError, RestoreError
from kernelckpt.kernel.answering import suspend_in_doubt
from kernelckpt.kernel.calls.request import calls_of
from kernelckpt.kernel.core import Core
from kernelckpt.kernel.events.cross_check import differences
from kernelckpt.kernel.governance import governing
from kernelckpt.kernel.intake import upgrade_state
from kernelckpt.kernel.kept_call import call_faults
from kernelckpt.kernel.phase import tracker_of
from kernelckpt.kernel.question import PHASE_KEY, effect_number_of
from kernelckpt.kernel.state import KernelState
from kernelckpt.model.task_state import StateKind, TaskState
from kernelckpt.model.tcb import Tcb
from kernelckpt.model.wait import WaitKind

_FOR_CALLS = frozenset({WaitKind.TOOL, WaitKind.APPROVAL})
"""What a task waits for whose calls are being made, or held until a human has answered."""


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
        in_doubt: effects that may have happened, as "task: name"; they wait for approve or deny.
        upgraded: tasks whose program state was brought to a newer version.
        recreated: what is not kept and was made anew.
        cleared: what is not kept and starts empty.
        notes: what the log had to say: a torn tail dropped, damage set aside.
        differences: where the rows and the event log contradict each other; the rows are what counts.
        downtime_ms: wall time since the restored checkpoint; None when unknown. It is not charged.
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


def rehearse(core: Core, state: RestoredState) -> list[str]:
    """What this scheduler lacks to go on from a state, in words; the state itself is not taken over."""
    shadow = KernelState(lambda _: None)
    shadow.load(state)
    return _missing(core, shadow)


def _missing(core: Core, shadow: KernelState) -> list[str]:
    found: list[str] = list(governing.lacking(core, shadow))
    programs: dict[str, list[str]] = {}
    for row in shadow.table.live():
        if row.program not in core.programs:
            programs.setdefault(row.program, []).append(row.id)
        else:
            found.extend(_state_faults(core, shadow, row))
        found.extend(_row_faults(shadow, row))
        found.extend(_tool_faults(core, shadow, row))
        found.extend(_request_faults(shadow, row))
        found.extend(call_faults(row.id, shadow.cell(row.id)))
        found.extend(_milestone_faults(shadow, row))
    for name, tasks in programs.items():
        more = f" and {len(tasks) - 3} more" if len(tasks) > 3 else ""
        found.append(f"program {name!r} (tasks {', '.join(tasks[:3])}{more})")
    return list(dict.fromkeys(found))


def _state_faults(core: Core, shadow: KernelState, row: Tcb) -> Iterator[str]:
    program = core.programs[row.program]
    state, given = shadow.cell(row.id).state, shadow.cell(row.id).input
    try:
        if state is not None:
            program.upgraded(state.data, state.version, f"state[{row.id!r}]")
        if given is not None:
            program.input.decode(given.data, f"input[{row.id!r}]")
    except KernelCkptError as error:
        yield str(error)


def _row_faults(shadow: KernelState, row: Tcb) -> Iterator[str]:
    if row.parent is not None and row.parent not in shadow.table:
        yield f"parent {row.parent!r} of task {row.id!r}"
    waiting = row.state.kind in {StateKind.SUSPENDED, StateKind.BLOCKED}
    if waiting and row.wait is None:
        yield f"what {row.state.label()} task {row.id!r} waits for"
    for child in row.wait.children if row.wait is not None else ():
        if child not in shadow.table:
            yield f"task {child!r} that {row.id!r} waits for"


def _tool_faults(core: Core, shadow: KernelState, row: Tcb) -> Iterator[str]:
    for effect in shadow.cell(row.id).effects.values():
        if effect.call_id and effect.runs and not effect.decided and effect.name not in core.tools:
            yield f"tool {effect.name!r} (task {row.id})"


def _request_faults(shadow: KernelState, row: Tcb) -> Iterator[str]:
    cell = shadow.cell(row.id)
    waits = row.wait is not None and row.wait.kind is WaitKind.TOOL
    if cell.request is None and (waits or calls_of(cell)):
        yield f"the reply whose tool calls task {row.id!r} waits for"
    if cell.request is not None and not (row.wait is not None and row.wait.kind in _FOR_CALLS):
        yield f"the wait of task {row.id!r} for the calls of its reply"


def _milestone_faults(shadow: KernelState, row: Tcb) -> Iterator[str]:
    try:
        if tracker_of(shadow, row.id).current is None and _asks_about_phase(shadow, row):
            yield f"the phase that task {row.id!r} asks about"
    except RestoreError as error:
        yield from error.missing
    except InvalidValueError as error:
        yield f"a contract of task {row.id!r} without fault ({error.message})"


def _asks_about_phase(shadow: KernelState, row: Tcb) -> bool:
    approvals = shadow.cell(row.id).approvals.values()
    return any(item.pending and item.key.startswith(PHASE_KEY) for item in approvals)


def _recreated(core: Core) -> tuple[str, ...]:
    governed = ("governance closures",) if core.gate.governance is not None else ()
    return ("timers", "ready queue", *governed, "milestone trackers", "handle tables")


def take_over(
    core: Core, run_id: str, state: RestoredState, downtime_ms: int | None, notes: Sequence[str]
) -> RestoreReport:
    """Make a restored state the kernel's, mend what the crash left half-way, and report.

    Raises:
        RestoreError: something is missing.
        DecodeError: a record is not what it should be.
    """
    core.state.load(state)
    lacking = _missing(core, core.state)
    if lacking:
        message = f"run {run_id!r} cannot go on here; missing: {'; '.join(lacking)}"
        hint = "register what is missing with the Scheduler; nothing was changed"
        raise RestoreError(message, missing=lacking, hint=hint)
    totals = core.state.totals
    core.set_work_ms(totals.clock_ms)
    said = governing.recreate(core)
    differing = _compare(core)
    mended = _Mended()
    for row in core.state.table.all():
        if row.state.is_terminal():
            if row.parent is None:
                core.removal.note_done(row.id)
        else:
            _mend(core, row, mended)
    core.touch_totals()
    core.state.commit()
    kinds = Counter(key[0] for key in state.records)
    kinds.update({kind: len(items) for (kind, _, _), items in state.streams.items()})
    return RestoreReport(
        run_id=run_id,
        turn=totals.turn,
        tasks=len(core.state.table),
        live=core.state.table.live_count,
        restored=dict(kinds),
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


def _compare(core: Core) -> tuple[str, ...]:
    found = tuple(differences(core.state.table, core.state.log.view(), core.state.totals.turn))
    if found:
        core.events.alarm("log_differs", differences=found)
    return found


class _Mended:
    def __init__(self) -> None:
        self.interrupted: list[str] = []
        self.woken: list[str] = []
        self.in_doubt: list[str] = []
        self.upgraded: list[str] = []


def _mend(core: Core, row: Tcb, mended: _Mended) -> None:
    if row.parent is None:
        core.live_roots[row.id] = None
    _upgrade(core, row, mended)
    row = core.state.row(row.id)
    if row.state.kind is StateKind.RUNNING:
        mended.interrupted.append(row.id)
        row = replace(row, state=TaskState.READY)
        core.state.put_row(row)
    asked = suspend_in_doubt(core, row)
    if asked:
        effects = core.cell(row.id).effects
        mended.in_doubt.extend(f"{row.id}: {effects[effect_number_of(key)].name}" for key in asked)
        return
    if row.wait is not None and row.wait.kind is WaitKind.SIGNAL:
        core.signal_waiters[row.id] = None
    if row.wait is not None and row.wait.kind is WaitKind.SUB_AGENT_JOIN:
        if not core.joining.begin(row, row.wait.children):
            mended.woken.append(row.id)
            core.wake(row)
    elif core.can_run(row):
        core.push(row.id)


def _upgrade(core: Core, row: Tcb, mended: _Mended) -> None:
    if upgrade_state(core, row):
        mended.upgraded.append(row.id)
    version = core.programs[row.program].version
    if row.version != version:
        core.state.put_row(replace(row, version=version))
