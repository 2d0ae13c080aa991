"""How full a context is: its tokens, its pressure, and the handle table recreated from its history."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property

from kernelckpt.codec.record import PARTITIONS
from kernelckpt.kernel.cell import Cell
from kernelckpt.kernel.context.handle_table import COLLAPSE_PRESSURE, HandleTable
from kernelckpt.kernel.context.pressure import effective_pressure, raw_pressure, total_tokens
from kernelckpt.kernel.context.tally import Tally, ToolResultSeen
from kernelckpt.model.context import Context, ContextMeter
from kernelckpt.model.handle import Collapsed


class Measure:
    """What was measured of a context.

    Attributes:
        tokens: of all partitions and the plan.
        history_tokens: of the history alone.
        pressure: how full it is; 1.0 is full.
    """

    def __init__(
        self,
        context: Context,
        meter: ContextMeter | None,
        tallies: Mapping[str, Sequence[Tally]],
        spooled: Mapping[str, int],
    ) -> None:
        """Measure a context whose messages are counted.

        Args:
            context: the context.
            meter: what the provider counted.
            tallies: the counted messages of each partition, in one or more parts.
            spooled: how many results of a call id lie beside the history.
        """
        sums = {partition: sum(tally.tokens for tally in tallies[partition]) for partition in PARTITIONS}
        self.history_tokens = sums["history"]
        self.tokens = total_tokens(sums["system"], sums["knowledge"], sums["history"], context.plan)
        self._max_tokens = context.max_tokens
        self._observed = meter.observed_tokens if meter is not None else None
        self.pressure = raw_pressure(self.tokens, self._max_tokens, self._observed)
        self._results = [(tally.results, len(tally.results)) for tally in tallies["history"]]
        self._spooled = spooled

    @cached_property
    def handles(self) -> HandleTable:
        """One for each tool result of the history."""
        seen = [result for results, length in self._results for result in results[:length]]
        return HandleTable.rebuild(seen, _surely_spooled(seen, self._spooled), self.pressure)

    @cached_property
    def effective_pressure(self) -> float:
        """The pressure without the results that are shown as previews while it is high.

        The original took off spooled results too; but their previews lie in the history, and only these are
        counted.
        """
        if self.pressure < COLLAPSE_PRESSURE:
            return self.pressure  # nothing is collapsed: there is no need to go through the results
        collapsed = sum(item.tokens for item in self.handles if isinstance(item.residency, Collapsed))
        return effective_pressure(self.tokens, self._max_tokens, collapsed, self._observed)


def spooled_calls(cell: Cell, without: Collection[int] = ()) -> dict[str, int]:
    """How many results of each call id lie beside the history, but for those of some numbers."""
    if not cell.spools:
        return {}
    return Counter(result.call_id for number, result in cell.spools.items() if number not in without)


def _surely_spooled(seen: Sequence[ToolResultSeen], spooled: Mapping[str, int]) -> set[str]:
    """The call ids all of whose results are spooled.

    Where results that are whole share their id with one that is not, all of them count as resident.
    """
    if not spooled:
        return set()
    times = Counter(result.call_id for result in seen)
    return {call_id for call_id, number in spooled.items() if times[call_id] <= number}
