"""What must hold among the records of a state: the rules, each where its kind is, and what they find."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from kernelckpt.abc import Key
from kernelckpt.checkpoint.decoded_run import DecodedRun
from kernelckpt.checkpoint.finding import Finding, FindingKind
from kernelckpt.checkpoint.rule.budget import children_faults, ledger_faults, totals_faults
from kernelckpt.checkpoint.rule.call import call_faults
from kernelckpt.checkpoint.rule.governance import policy_faults
from kernelckpt.checkpoint.rule.lineage import lineage_faults, own_ancestors
from kernelckpt.checkpoint.rule.phase import phase_faults
from kernelckpt.checkpoint.rule.question import question_faults
from kernelckpt.checkpoint.rule.signal import signals_to_come
from kernelckpt.checkpoint.rule.spool import spool_faults
from kernelckpt.checkpoint.rule.standing import standing_faults
from kernelckpt.checkpoint.rule.timer import timer_faults
from kernelckpt.checkpoint.rule.wait import wait_faults
from kernelckpt.codec.record import path_of
from kernelckpt.kernel.events.cross_check import differences
from kernelckpt.kernel.state import GOVERNANCE, TOTALS, KernelState
from kernelckpt.model.tcb import Tcb


def inconsistencies(run: DecodedRun, turn: int) -> Iterator[Finding]:
    """All that contradicts itself in a state.

    Args:
        run: its records.
        turn: kernel turns so far, as the checkpoint is listed.
    """
    yield from (_found(TOTALS, fault) for fault in totals_faults(run, turn))
    yield from (_found(_task(task), "it is its own ancestor") for task in own_ancestors(run))
    yield from (_found(_task(task), fault) for task, fault in children_faults(run))
    children = Counter(row.parent for row in run.rows.values())
    for row in run.rows.values():
        yield from (_found(_task(row.id), fault) for fault in _row_faults(run, row, children[row.id]))
    yield from (_found(("signal", "", number), fault) for number, fault in signals_to_come(run))
    yield from (_found(GOVERNANCE, fault) for fault in policy_faults(run))
    yield from _log(run)


def unmet_by_kernel(state: KernelState) -> Iterator[Finding]:
    """What a kernel that has loaded a state would not do with it.

    Raises:
        DecodeError: a message of a history that it must look at is none.
    """
    yield from (_found(_task(task), fault) for task, fault in timer_faults(state))
    yield from (_found(("spool", task, number), fault) for task, number, fault in spool_faults(state))


def _row_faults(run: DecodedRun, row: Tcb, children: int) -> Iterator[str]:
    yield from lineage_faults(run, row, children)
    yield from standing_faults(run, row)
    yield from ledger_faults(row)
    yield from wait_faults(run, row)
    yield from call_faults(run, row)
    yield from question_faults(run, row)
    yield from phase_faults(run, row)


def _log(run: DecodedRun) -> Iterator[Finding]:
    view = run.log_view()
    turn = run.totals.turn if run.totals is not None else None
    for text in differences(run.rows.values(), view, turn) if view is not None else ():
        yield Finding(FindingKind.STATE, "event log", text)


def _task(task: str) -> Key:
    return ("task", task, 0)


def _found(key: Key, text: str) -> Finding:
    return Finding(FindingKind.STATE, path_of(key), text)
