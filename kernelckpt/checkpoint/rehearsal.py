"""Rehearsal: whether a scheduler could go on from a state, found out without running anything."""

from __future__ import annotations

from collections.abc import Iterator

from kernelckpt.abc import RestoredState
from kernelckpt.checkpoint.finding import Finding, FindingKind
from kernelckpt.errors import UsageError
from kernelckpt.kernel.scheduler import Scheduler


def check_scheduler(scheduler: Scheduler | None) -> None:
    """Raise `UsageError` for what is no scheduler."""
    if scheduler is not None and not isinstance(scheduler, Scheduler):
        named = scheduler.__name__ if isinstance(scheduler, type) else f"a {type(scheduler).__name__}"
        raise UsageError(f"scheduler: {named}", hint="pass a Scheduler as it is made, before it is entered")


def lacking(scheduler: Scheduler, state: RestoredState) -> Iterator[Finding]:
    """What a scheduler lacks to go on from a state: what a start with it would be refused for.

    The state is loaded into a kernel of its own. No program is run, but upgrades are tried.
    """
    for text in scheduler.rehearse(state):
        yield Finding(FindingKind.MISSING, "in this scheduler", text)
