"""The part of the scheduler that looks at the kernel and waits for what happens in it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

from msgspec.structs import replace

from kernelckpt.codec.record import unshared
from kernelckpt.errors import SchedulerStopped
from kernelckpt.kernel.core import result_of
from kernelckpt.kernel.event import KernelEvent, Listener
from kernelckpt.kernel.events.event_log import EventLog
from kernelckpt.kernel.host import End, Host
from kernelckpt.kernel.restore import RestoreReport
from kernelckpt.kernel.snapshot import snapshot_of
from kernelckpt.kernel.table import TaskTable
from kernelckpt.kernel.view import ContextView, TableView
from kernelckpt.model.result import LoopResult
from kernelckpt.model.snapshot import KernelSnapshot
from kernelckpt.model.tcb import Tcb


class Watched(Host):
    """A host whose tasks can be waited for, and whose state can be looked at."""

    # waiting and looking

    async def join(self, task_id: str | None = None) -> Any:
        """Wait until a task has ended; its result, durable. Without an id: all roots, as a mapping.

        Raises:
            UnknownTaskError: no such task.
            SchedulerStopped: the kernel stopped first.
        """
        if task_id is not None:
            row = self._core.state.row(task_id)
            result = await self._ended(row, self._end_of(row))
            await self._durable(self.commit_number)
            return self._handed_out(row, result)
        ends: dict[str, tuple[Tcb, End]] = {}
        results: dict[str, LoopResult] = {}
        while roots := [row for row in self._core.state.table.children_of(None) if row.id not in ends]:
            ends.update((row.id, (row, self._end_of(row))) for row in roots)
            for row in roots:
                results[row.id] = await self._ended(*ends[row.id])
        await self._durable(self.commit_number)
        return {root: self._handed_out(ends[root][0], result) for root, result in results.items()}

    def _end_of(self, row: Tcb) -> End:
        """Where a task's result is or will be found, even if the task is forgotten meanwhile."""
        result = result_of(row)
        return self._ends.setdefault(row.id, End()) if result is None else End(result)

    async def _ended(self, row: Tcb, end: End) -> LoopResult:
        if end.result is None and not self._stopped.is_set():
            await end.event.wait()
        if end.result is None:
            raise SchedulerStopped(f"the kernel stopped before {row.id!r} ended") from self._failure
        return end.result

    def _handed_out(self, row: Tcb, result: LoopResult) -> LoopResult:
        result = unshared(result)
        if result.output is None or row.program not in self._core.programs:
            return result
        return replace(result, output=self._core.programs[row.program].output_of(result.output))

    async def idle(self) -> None:
        """Return when only events from outside can wake anything.

        Raises:
            SchedulerStopped: the kernel stopped first.
        """
        while self._core.active or self._core.ready or self._core.state.table.next_timer() is not None:
            if self._stopped.is_set():
                raise SchedulerStopped("the kernel stopped before it was idle") from self._failure
            await self._news()
        await self._durable(self.commit_number)

    @property
    def tasks(self) -> TaskTable:
        """The table as it is at any moment, to look at."""
        return TableView(self._core.state.table)

    def context(self, task_id: str) -> ContextView:
        """The context of a task as it is now.

        Raises:
            UnknownTaskError: no such task.
            ContextNotLoadedError: it was not loaded since the start; see `load_contexts`.
        """
        self._core.state.row(task_id)
        self._core.contexts.refuse_unread(task_id)
        return ContextView(self._core.cell(task_id))

    async def load_contexts(
        self, *task_ids: str, on_progress: Callable[[int, int], None] | None = None
    ) -> None:
        """Return when these contexts are loaded; without ids, when all are.

        The contexts of a large run are loaded after its start: a task's before its next turn, the others one
        after the other as they are read fastest. Those of a small run are loaded from the start.

        Args:
            task_ids: whose.
            on_progress: told now and then how many of them are loaded, and how many there are.

        Raises:
            UnknownTaskError: no such task.
            SchedulerStopped: the kernel stopped first; it is halted when a context turns out to be damaged.
        """
        for task_id in task_ids:
            self._core.state.row(task_id)
        try:
            if task_ids:
                await self._core.contexts.load(task_ids, on_progress)
            else:
                await self._core.contexts.load_all(on_progress)
        except SchedulerStopped as error:
            raise error from self._failure

    @property
    def event_log(self) -> EventLog:
        """What rows and signals did over the life of the run, and what it amounts to (`view()`).

        The view is kept in the run and is the same after a restore. Of the events themselves, those since the
        log was last folded are kept with it, so a restored kernel begins with these; in memory are the newest
        1000 that this process has seen. `counts` counts those too, and those that came after them.
        """
        return self._core.state.log

    def snapshot(self) -> KernelSnapshot:
        """The kernel's state at this instant.

        Raises:
            ContextNotLoadedError: not all contexts were loaded since the start; see `load_contexts`.
        """
        self._core.contexts.refuse_unread()
        return snapshot_of(self._core.state)

    @property
    def restored(self) -> RestoreReport | None:
        """What was restored on start; None for a new run."""
        return self._restored

    def events(self, task_id: str | None = None) -> AsyncIterator[KernelEvent]:
        """What happens from now on, to one task or to all; ends when the kernel stops.

        What a commit has made so comes once that commit is durable; troubles of the kernel do not wait.
        """
        return self._durably(self._core.events.listen(task_id))

    async def _durably(self, listener: Listener) -> AsyncIterator[KernelEvent]:
        with suppress(SchedulerStopped):
            async for event in listener:
                if event.commit > self._confirmed and not self._stopped.is_set():
                    self.start_soon(self._confirm, event.commit, listener.go_on)
                    async for trouble in listener.until_durable():
                        yield trouble
                if event.commit:
                    await self._durable(event.commit)
                yield event
