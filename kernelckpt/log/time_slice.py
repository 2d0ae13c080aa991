"""A share of the event loop: work until it is used up, then let others run."""

from __future__ import annotations

from time import perf_counter, thread_time

from anyio import sleep
from anyio.lowlevel import checkpoint

from kernelckpt.log.options import LogStats

_NOTICED_SECONDS = 0.0002
"""Others want the loop if they worked for longer than this while it was given away."""

_QUIET_SECONDS = 0.05
"""Nobody wants the loop who did not work for so long: what waits for the disk is back before."""

_CREDIT_SECONDS = 0.02
"""So much of what others take at one go, beyond what they are owed, is made up for."""

READ_SECONDS = 0.002
"""How long reading a run holds the event loop: longer than writing, which goes on all the time."""


class TimeSlice:
    """Told of progress often, it yields to the event loop once its time is used up.

    One with a `rest` then leaves the loop alone for that many times as long as it worked, while others want
    it: it takes the share 1 / (1 + rest) of the loop's time, and never less than one slice in each pass of
    the loop, so that what it is used for ends. When nobody else wants the loop it goes on at once.
    """

    def __init__(self, seconds: float, stats: LogStats, *, rest: float = 0.0) -> None:
        """Yield after so many seconds; note the longest stretch in `stats`."""
        self._seconds = self._limit = seconds
        self._longest = self._others = 0.0
        self._stats = stats
        self._rest = rest
        self._owed = 0.0
        self._began = perf_counter()
        self._wanted = self._began - _QUIET_SECONDS

    def begin(self) -> None:
        """Start counting anew: called after an await that gave the loop away."""
        self._began = perf_counter()

    def begin_work(self, longest: float) -> None:
        """Begin something that may hold the loop for longer where others do as well.

        It may for half as long as they did when it was last given away, were it for earlier work. Who waits
        for them does not notice so much more.

        Args:
            longest: no longer than so many seconds.
        """
        self._longest = longest
        self._set_limit()
        self.begin()

    def _set_limit(self) -> None:
        self._limit = max(self._seconds, min(self._longest, self._others / 2))

    @property
    def over(self) -> bool:
        """Whether the time is used up."""
        return perf_counter() - self._began >= self._limit

    def note(self) -> None:
        """Count the stretch that ends here: called before an await that gives the loop away."""
        self._stats.longest_slice_seconds = max(
            self._stats.longest_slice_seconds, perf_counter() - self._began
        )

    async def rest(self) -> None:
        """Let others run."""
        self.note()
        ended, worked = perf_counter(), thread_time()
        self._owed += self._rest * (ended - self._began)
        await checkpoint()
        self._take_back(ended, worked)
        if self._owed > 0 and self._began - self._wanted < _QUIET_SECONDS:
            due, worked = self._began + self._owed, thread_time()
            await sleep(self._owed)
            self._owed = 0.0
            self._take_back(due, worked)
        self._owed = min(self._owed, 0.0)

    def _take_back(self, given: float, worked: float) -> None:
        """Begin anew: what passed since the loop was given away, others have had of what they are owed.

        Whether they want it is told by the processor's time of the loop's thread, which a busy machine, a
        timer that is late and the storage's thread do not add to.
        """
        self.begin()
        self._owed = max(self._owed - (self._began - given), -_CREDIT_SECONDS)
        self._others = thread_time() - worked
        if self._others > _NOTICED_SECONDS:
            self._wanted = self._began
        self._set_limit()
