"""What a kernel tells whoever listens: drafts, commits, waits, endings, troubles."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any, Self
from weakref import ref

import anyio
from msgspec import Struct, field

from kernelckpt.kernel.trouble_log import log_trouble

_BACKLOG = 10_000


class KernelEvent(Struct, frozen=True):
    """Something that happened.

    Attributes:
        kind: "started", "draft", "committed", "discarded", "rolled_back", "retrying", "compacted",
            "waiting", "evaluate", "ended", "signal", "restored", "stopping", "checkpoint_failed",
            "log_differs", ...
            or "lagged" (this listener was too slow; `data["lost"]`).
        task_id: the task it concerns; "" for the kernel.
        turn: that task's turn.
        data: more about it.
        commit: the commit that made it so; it is told once that is durable. 0 for what no commit makes.
    """

    kind: str
    task_id: str = ""
    turn: int = 0
    data: dict[str, Any] = field(default_factory=dict)
    commit: int = 0


class EventBus:
    """Hands events to listeners; a slow listener loses the oldest and is told so."""

    def __init__(self, run_id: str, shown: Callable[[Any], Any] = lambda value: value) -> None:
        """`shown` gives what listeners are shown of a value."""
        self._run_id = run_id
        self._shown = shown
        self._listeners: dict[ref[Listener], None] = {}  # one that nobody iterates any more is forgotten
        self._closed = False

    def emit(self, kind: str, task_id: str = "", turn: int = 0, *, commit: int = 0, **data: Any) -> None:
        """Tell every listener."""
        if not self._listeners:
            return
        event = KernelEvent(kind, task_id, turn, self._all_shown(data), commit)
        for listener in self._all():
            listener.push(event)

    def alarm(self, kind: str, **data: Any) -> None:
        """Log a trouble of the kernel, and tell every listener of it ahead of what is not durable yet."""
        shown = self._all_shown(data)
        facts = ", ".join(f"{name}: {value}" for name, value in shown.items())
        log_trouble("run %r: %s (%s)", self._run_id, kind.replace("_", " "), facts)
        for listener in self._all():
            listener.alarm(KernelEvent(kind, data=dict(shown)))

    def _all_shown(self, data: dict[str, Any]) -> dict[str, Any]:
        return {name: self._shown(value) for name, value in data.items()}

    def listen(self, task_id: str | None) -> Listener:
        """Events from now on, of one task or of all; they end when the kernel stops."""
        listener = Listener(task_id)
        self._listeners[ref(listener, self._forget)] = None
        if self._closed:
            listener.close()
        return listener

    def close(self) -> None:
        """Let every listener end after what is left."""
        self._closed = True
        for listener in self._all():
            listener.close()

    @property
    def heard(self) -> bool:
        """Whether anybody listens."""
        return bool(self._listeners)

    def _all(self) -> list[Listener]:
        found = [listener() for listener in self._listeners]
        return [listener for listener in found if listener is not None]

    def _forget(self, listener: ref[Listener]) -> None:
        self._listeners.pop(listener, None)


class Listener:
    """An async iterator over the events since it was made."""

    def __init__(self, task_id: str | None) -> None:
        self._task_id = task_id
        self._events: deque[KernelEvent] = deque()
        self._alarms: deque[KernelEvent] = deque(maxlen=_BACKLOG)
        self._lost = 0
        self._closed = False
        self._durable = False
        self._news = anyio.Event()

    def push(self, event: KernelEvent) -> None:
        """Take an event, if it is of the task listened to."""
        if self._task_id is not None and event.task_id != self._task_id:
            return
        if len(self._events) >= _BACKLOG:
            self._events.popleft()
            self._lost += 1
        self._events.append(event)
        self._news.set()

    def alarm(self, event: KernelEvent) -> None:
        """Take a trouble of the kernel; one who listens to a single task is spared it."""
        if self._task_id is None:
            self._alarms.append(event)
            self._news.set()

    def go_on(self) -> None:
        """What was waited for in `until_durable` is durable, or never will be."""
        self._durable = True
        self._news.set()

    async def until_durable(self) -> AsyncIterator[KernelEvent]:
        """The troubles there are until `go_on` is called."""
        self._durable = False
        while not self._durable:
            while self._alarms:
                yield self._alarms.popleft()
            if not self._durable:
                await self._wait()

    def close(self) -> None:
        """End after what is left."""
        self._closed = True
        self._news.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> KernelEvent:
        while True:
            if self._lost:
                lost, self._lost = self._lost, 0
                return KernelEvent("lagged", data={"lost": lost})
            if self._alarms:
                return self._alarms.popleft()
            if self._events:
                return self._events.popleft()
            if self._closed:
                raise StopAsyncIteration
            await self._wait()

    async def _wait(self) -> None:
        if self._news.is_set():
            self._news = anyio.Event()
        await self._news.wait()
