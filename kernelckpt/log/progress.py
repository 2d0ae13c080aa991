"""Who waits for which commit to be durable."""

from __future__ import annotations

import heapq

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
        self._awaited: list[int] = []
        self._events: dict[int, anyio.Event] = {}

    def advance(self, commit: int) -> None:
        """Everything up to this commit is durable."""
        self.durable = max(self.durable, commit)
        while self._awaited and self._awaited[0] <= self.durable:
            self._events.pop(heapq.heappop(self._awaited)).set()

    def fail(self, error: BaseException) -> None:
        """No further commit will be durable; the first reason given stays."""
        if self.failure is None:
            self.failure = error
        for event in self._events.values():
            event.set()
        self._awaited, self._events = [], {}

    def check(self) -> None:
        """Raise the failure, if there is one."""
        if self.failure is not None:
            raise self.failure.with_traceback(None)

    async def wait(self, commit: int) -> None:
        """Return when the commit is durable; raise the failure if it never will be."""
        if commit <= self.durable:
            return
        self.check()
        event = self._events.get(commit)
        if event is None:
            event = self._events[commit] = anyio.Event()
            heapq.heappush(self._awaited, commit)
        await event.wait()
        if commit > self.durable:
            self.check()
