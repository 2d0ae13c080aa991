"""A clock whose time is that of a simulated loop, and whose wall clock can be set."""

from __future__ import annotations

import anyio

from kernelckpt.testing.sim_loop import SimLoop


class SimClock:
    """A `Clock` on a `SimLoop`; each host of a simulation may have its own, which shows what it likes."""

    def __init__(self, loop: SimLoop, wall_ms: int = 1_700_000_000_000) -> None:
        """Show a time.

        Args:
            loop: gives the time that passes.
            wall_ms: what the wall clock shows when the loop's time is 0, in milliseconds since 1970.
        """
        self._loop = loop
        self._wall_ms = wall_ms

    def wall_ms(self) -> int:
        """Milliseconds since 1970."""
        return self._wall_ms + int(self._loop.time() * 1000)

    def monotonic(self) -> float:
        """Seconds since the loop was made."""
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        """Return after so many seconds of the loop."""
        await anyio.sleep(seconds)

    def jump(self, milliseconds: int) -> None:
        """Set the wall clock forward or back, as an administrator would; nobody's sleep changes."""
        self._wall_ms += milliseconds
