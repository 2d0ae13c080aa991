"""How full a context is: its tokens, its pressure, and the handle table recreated from its history."""

from __future__ import annotations

from collections.abc import Collection

from msgspec import Struct

from kernelckpt.codec.record import PARTITIONS
from kernelckpt.kernel.cell import Cell
from kernelckpt.kernel.context.handle_table import HandleTable
from kernelckpt.kernel.context.pressure import effective_pressure, raw_pressure, total_tokens
from kernelckpt.kernel.context.tally import Tally
from kernelckpt.model.context import Context, ContextMeter


class Measure(Struct, frozen=True):
    """What was measured of a context.

    Attributes:
        tokens: of all partitions and the plan.
        pressure: how full it is; 1.0 is full.
        effective_pressure: the same without what is shown as a preview only.
        handles: one for each tool result of the history.
    """

    tokens: int
    pressure: float
    effective_pressure: float
    handles: HandleTable


def measure(
    context: Context, meter: ContextMeter | None, tallies: dict[str, Tally], spooled: Collection[str]
) -> Measure:
    """Measure a context whose messages are counted.

    Args:
        context: the context.
        meter: what the provider counted.
        tallies: the counted messages of each partition.
        spooled: call ids of the results that lie beside the history.
    """
    system, knowledge, history = (tallies[partition].tokens for partition in PARTITIONS)
    total = total_tokens(system, knowledge, history, context.plan)
    observed = meter.observed_tokens if meter is not None else None
    pressure = raw_pressure(total, context.max_tokens, observed)
    handles = HandleTable.rebuild(tallies["history"].results, spooled, pressure)
    outside = handles.non_resident_tokens
    effective = effective_pressure(total, context.max_tokens, outside, observed)
    return Measure(total, pressure, effective, handles)


def measure_cell(cell: Cell) -> Measure:
    """Measure a task's context as it is now; messages that were counted before are not counted again."""
    tallies = {partition: cell.tally(partition) for partition in PARTITIONS}
    return measure(cell.context, cell.meter, tallies, spooled_ids(cell))


def spooled_ids(cell: Cell) -> set[str]:
    """The call ids of the results that lie beside the history."""
    return {result.call_id for result in cell.spools.values()}
