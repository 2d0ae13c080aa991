"""Checking the state of one checkpoint: each record, the records among each other, and who could go on."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from kernelckpt.checkpoint.consistency import inconsistencies, unmet_by_kernel
from kernelckpt.checkpoint.decoded_run import DecodedRun
from kernelckpt.checkpoint.finding import Finding, FindingKind
from kernelckpt.checkpoint.rehearsal import lacking
from kernelckpt.checkpoint.rule.governance import rate_notes
from kernelckpt.errors import FormatError, RestoreError
from kernelckpt.kernel.scheduler import Scheduler
from kernelckpt.kernel.snapshot import snapshot_of
from kernelckpt.kernel.state import KernelState
from kernelckpt.log import LoadedRun
from kernelckpt.model.kernel import KernelTotals


class StateCheck(Struct, frozen=True, kw_only=True):
    """What one state holds, and what is wrong with it.

    Attributes:
        records: how many records it has.
        messages: how many messages its contexts hold.
        tasks: how many tasks it has.
        live: how many of them have not ended.
        totals: the kernel's totals; zeros when they are lost.
        findings: what is wrong.
        notes: what is not wrong, but worth knowing.
    """

    records: int
    messages: int
    tasks: int
    live: int
    totals: KernelTotals
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]


def check_state(loaded: LoadedRun, scheduler: Scheduler | None) -> StateCheck:
    """Check a state, and let go of it.

    Args:
        loaded: the checkpoint.
        scheduler: who is to go on from it; None to ask nobody.
    """
    run = DecodedRun(loaded)
    findings = [*run.findings, *inconsistencies(run, loaded.turn)]
    findings += _as_kernel(loaded, scheduler, is_sound=not findings)
    check = StateCheck(
        records=len(loaded.records),
        messages=run.messages,
        tasks=len(run.rows),
        live=sum(not row.state.is_terminal() for row in run.rows.values()),
        totals=run.totals or KernelTotals(),
        findings=tuple(replace(found, checkpoint=loaded.sequence) for found in findings),
        notes=tuple(rate_notes(run, loaded.wall_ms or 0)),
    )
    loaded.drop_state()
    return check


def _as_kernel(loaded: LoadedRun, scheduler: Scheduler | None, *, is_sound: bool) -> Iterator[Finding]:
    """What is found by loading a state as a kernel does; one that cannot be loaded was found fault with."""
    state = KernelState(lambda _: None)
    try:
        state.load(loaded)
        yield from unmet_by_kernel(state)
        snapshot_of(state)
    except (FormatError, RestoreError) as error:
        if is_sound:
            yield Finding(FindingKind.STATE, f"checkpoint {loaded.sequence}", error.message)
        return
    if scheduler is not None:
        yield from lacking(scheduler, loaded)
