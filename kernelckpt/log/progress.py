"""Who waits for which commit to be durable."""

from __future__ import annotations

import heapq
from itertools import count

import anyio


class Progress:
    """The newest durable commit, and the waiters for later ones.

    Attributes:
        durable: the newest commit that is durable, with all before it.
        failure: why no further commit will ever be; None while all is well.
    """

    def __init__(self) -> None:
        """Nothing is durable, nobody waits."""
        self.durable = 0
        self.failure: BaseException | None = None
        self._waiters: list[tuple[int, int, anyio.Event]] = []
        self._order = count()

    def advance(self, commit: int) -> None:
        """Everything up to this commit is durable."""
        self.durable = max(self.durable, commit)
        while self._waiters and self._waiters[0][0] <= self.durable:
            heapq.heappop(self._waiters)[2].set()

    def fail(self, error: BaseException) -> None:
        """No further commit will be durable; the first reason given stays."""
        if self.failure is None:
            self.failure = error
        for _, _, event in self._waiters:
            event.set()
        self._waiters = []

    def check(self) -> None:
        """Raise the failure, if there is one."""
        if self.failure is not None:
            raise self.failure.with_traceback(None)

    async def wait(self, commit: int) -> None:
        """Return when the commit is durable; raise the failure if it never will be."""
        if commit <= self.durable:
            return
        self.check()
        event = anyio.Event()
        heapq.heappush(self._waiters, (commit, next(self._order), event))
        await event.wait()
        if commit > self.durable:
            self.check()
