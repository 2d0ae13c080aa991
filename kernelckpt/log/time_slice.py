"""A share of the event loop: work until it is used up, then let others run."""

from __future__ import annotations

from time import perf_counter

import anyio
import anyio.lowlevel

from kernelckpt.log.options import LogStats


class TimeSlice:
    """Told of progress often, it yields to the event loop once its time is used up."""

    def __init__(self, seconds: float, stats: LogStats) -> None:
        """Yield after so many seconds; note the longest stretch in `stats`."""
        self._seconds = seconds
        self._stats = stats
        self._began = perf_counter()

    def begin(self) -> None:
        """Start counting anew: called after an await that gave the loop away."""
        self._began = perf_counter()

    @property
    def over(self) -> bool:
        """Whether the time is used up."""
        return perf_counter() - self._began >= self._seconds

    def note(self) -> None:
        """Count the stretch that ends here: called before an await that gives the loop away."""
        self._stats.longest_slice_seconds = max(
            self._stats.longest_slice_seconds, perf_counter() - self._began
        )

    async def rest(self) -> None:
        """Let others run."""
        self.note()
        await anyio.lowlevel.checkpoint()
        self.begin()
