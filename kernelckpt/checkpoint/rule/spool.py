"""Spools: what was put aside has its preview in the history."""

from __future__ import annotations

from collections.abc import Iterator

from kernelckpt.codec.record import decode_message
from kernelckpt.kernel.context.spooling import unneeded_spools
from kernelckpt.kernel.state import KernelState


def spool_faults(state: KernelState) -> Iterator[tuple[str, int, str]]:
    """Results put aside that no preview refers to: the task, the number, and what is wrong."""
    for row in state.table:
        cell = state.cell(row.id)
        if cell.spools:
            history = map(decode_message, cell.stream("history"))
            for number in sorted(unneeded_spools(cell, history)):
                call_id = cell.spools[number].call_id
                yield row.id, number, f"the history holds no preview of the result of call {call_id!r}"
