"""Signals: the queue holds none that has not been queued yet."""

from __future__ import annotations

from collections.abc import Iterator

from kernelckpt.checkpoint.decoded_run import DecodedRun
from kernelckpt.model.signal import QueuedSignal


def signals_to_come(run: DecodedRun) -> Iterator[tuple[int, str]]:
    """The numbers of queued signals that the kernel has not reached, and what is wrong with each."""
    if run.totals is None:
        return
    for number in run.records("signal", "", QueuedSignal):
        if number > run.totals.signals:
            yield number, f"only {run.totals.signals} signals were queued so far"
