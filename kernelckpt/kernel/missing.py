"""What a scheduler lacks to go on from a restored state, in words."""

from __future__ import annotations

from collections.abc import Iterator

from kernelckpt.errors import InvalidValueError, KernelCkptError, RestoreError
from kernelckpt.kernel.calls.request import calls_of
from kernelckpt.kernel.cell import Cell
from kernelckpt.kernel.core import Core
from kernelckpt.kernel.governance import governing
from kernelckpt.kernel.kept_call import call_faults
from kernelckpt.kernel.phase import tracker_of
from kernelckpt.kernel.question import PHASE_KEY
from kernelckpt.kernel.state import KernelState
from kernelckpt.kernel.steps import Steps
from kernelckpt.model.effect import Effect
from kernelckpt.model.task_state import StateKind
from kernelckpt.model.tcb import Tcb
from kernelckpt.model.wait import WaitKind

_WAITING = frozenset({StateKind.SUSPENDED, StateKind.BLOCKED})
_FOR_CALLS = frozenset({WaitKind.TOOL, WaitKind.APPROVAL})
"""What a task waits for whose calls are being made, or held until a human has answered."""


def missing_for(core: Core, shadow: KernelState) -> Steps[list[str]]:
    """All that is missing; empty when nothing is."""
    found: list[str] = list(governing.lacking(core, shadow))
    programs: dict[str, list[str]] = {}
    for row in shadow.table.scan():
        if row.state.is_terminal():
            continue
        cell = shadow.cell(row.id)
        if row.program not in core.programs:
            programs.setdefault(row.program, []).append(row.id)
        elif cell.state is not None or cell.input is not None:
            found.extend(_state_faults(core, cell, row))
        wait = row.wait
        if row.parent is not None or (row.state.kind in _WAITING if wait is None else wait.children):
            found.extend(_row_faults(shadow, row))
        if cell.effects or cell.request is not None or (wait is not None and wait.kind is WaitKind.TOOL):
            found.extend(_tool_faults(core, cell, row))
            found.extend(_request_faults(cell, row))
        if cell.effects or cell.approvals or cell.milestone is not None or cell.spec is not None:
            found.extend(call_faults(row.id, cell))
            found.extend(_milestone_faults(shadow, row))
        yield
    for name, tasks in programs.items():
        more = f" and {len(tasks) - 3} more" if len(tasks) > 3 else ""
        found.append(f"program {name!r} (tasks {', '.join(tasks[:3])}{more})")
    return list(dict.fromkeys(found))


def _state_faults(core: Core, cell: Cell, row: Tcb) -> Iterator[str]:
    program = core.programs[row.program]
    state, given = cell.state, cell.input
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
    if row.state.kind in _WAITING and row.wait is None:
        yield f"what {row.state.label()} task {row.id!r} waits for"
    for child in row.wait.children if row.wait is not None else ():
        if child not in shadow.table:
            yield f"task {child!r} that {row.id!r} waits for"


def _tool_faults(core: Core, cell: Cell, row: Tcb) -> Iterator[str]:
    for effect in cell.effects.values():
        if effect.name not in core.tools and _needs_tool(effect, cell, row):
            yield f"tool {effect.name!r} (task {row.id})"


def _needs_tool(effect: Effect, cell: Cell, row: Tcb) -> bool:
    """Whether a call must find its tool: it is to be made yet, or the turn that is run again asks for it.

    A function that a program called comes with the program; what is within a call that is done is not asked
    for, nor is what a human has let a turn go on without. What an undone turn did may never be asked for.
    """
    if effect.call_id:
        return effect.runs > 0 and not effect.decided
    outer = cell.effects.get(effect.within)
    if not effect.is_registered or effect.is_left or (outer is not None and outer.decided):
        return False
    return not effect.decided or effect.turn > row.budget.turns


def _request_faults(cell: Cell, row: Tcb) -> Iterator[str]:
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
