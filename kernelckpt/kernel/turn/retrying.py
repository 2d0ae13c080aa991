"""Turns that raised: run again after a pause if their program says so; the row keeps tries and time."""

from __future__ import annotations

import anyio
from msgspec.structs import replace

from kernelckpt.kernel.answering import suspend_in_doubt
from kernelckpt.kernel.core import Core
from kernelckpt.kernel.rollback import forget_failures
from kernelckpt.kernel.trouble_log import log_trouble
from kernelckpt.kernel.turn.turn import Turn
from kernelckpt.model.tcb import Tcb
from kernelckpt.model.termination import TerminationReason


async def quiet_before_retry(core: Core, row: Tcb, turn: Turn) -> None:
    """Let a turn that raised and is run again begin no call any more, and wait for those under way.

    Their outcomes are for the next try; without them they would be in doubt.
    """
    if core.programs[row.program].retry.attempts > 1:
        quiet = anyio.Event()
        turn.calls.close(quiet.set)
        await quiet.wait()


def retry_or_end(core: Core, row: Tcb, error: str) -> None:
    """Have a turn that raised run again when its program says so, or end the task. Commits.

    Calls that were declared idempotent and raised are made again by it; it gets the recorded outcomes of all
    others. A call in doubt is asked about first.

    Args:
        core: the kernel.
        row: the task's row, at the turn.
        error: what was raised.
    """
    retry = core.programs[row.program].retry
    if retry.attempts > 1:
        row = replace(row, failed=row.failed + 1, failure=error)
    told = f"run {core.settings.run_id!r}: task {row.id!r}, turn {row.budget.turns + 1}"
    if row.failed >= retry.attempts or retry.attempts == 1:
        log_trouble("%s: failed: %s", told, core.redactor.text(error))
        core.end(row, TerminationReason.ERROR, error=error)
        core.state.commit(waits=True)
        return
    pause_ms = retry.pause_ms(row.failed)
    until_ms = core.clock.wall_ms() + pause_ms
    tries = f"try {row.failed} of {retry.attempts}, again in {pause_ms / 1000:g} s"
    log_trouble("%s: raised (%s): %s", told, tries, core.redactor.text(error))
    core.tell("retrying", row.id, row.budget.turns + 1, failed=row.failed, error=error, until_ms=until_ms)
    forget_failures(core, row.id, repeatable=True)
    if suspend_in_doubt(core, row):
        core.ask(row.id)
        core.tell_asked(row)
    else:
        core.retry(row, until_ms if pause_ms else None)
    core.state.commit(waits=True)
