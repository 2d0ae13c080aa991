"""The contexts that are not loaded yet: who needs one waits for it, the others are loaded meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import anyio

from kernelckpt.abc import Key, Unread
from kernelckpt.errors import ContextNotLoadedError, SchedulerStopped
from kernelckpt.kernel.state import KernelState

OnProgress = Callable[[int, int], None]
"""Told how many contexts are loaded, and how many are to be."""


class Contexts:
    """Loads the streams that a restore has left unread: first those of tasks that somebody waits for."""

    def __init__(self, state: KernelState) -> None:
        """All are loaded."""
        self._state = state
        self._unread: Unread | None = None
        self._wanted: dict[str, None] = {}
        self._news = anyio.Event()
        self._stop: anyio.CancelScope | None = None
        self._stopped = False

    def begin(self, unread: Unread | None) -> None:
        """Load these from now on, once `run` runs."""
        self._unread = unread

    def __contains__(self, task_id: str) -> bool:
        """Whether a context is not loaded yet."""
        return task_id in self._state.unread

    def refuse_unread(self, *task_ids: str) -> None:
        """Raise `ContextNotLoadedError` if one of these is not loaded yet; if any is not, without ids."""
        unread = self._state.unread
        if not unread:
            return
        found = next((task for task in task_ids or unread if task in unread), None)
        if found is not None:
            more = "" if task_ids else f" and {len(unread) - 1} more"
            raise ContextNotLoadedError(
                f"the context of task {found!r}{more} was not loaded since the start",
                hint=f"await kernel.load_contexts({found!r})" if task_ids else "await kernel.load_contexts()",
            )

    async def load(self, task_ids: Collection[str], on_progress: OnProgress | None = None) -> None:
        """Return when these are loaded.

        Raises:
            SchedulerStopped: the kernel stopped first.
        """
        wanted = [task for task in task_ids if task in self]
        self._wanted.update(dict.fromkeys(wanted))
        await self._until(lambda: sum(task not in self for task in wanted), len(wanted), on_progress)

    async def load_all(self, on_progress: OnProgress | None = None) -> None:
        """Return when all are loaded.

        Raises:
            SchedulerStopped: the kernel stopped first.
        """
        total = len(self._state.unread)
        await self._until(lambda: total - len(self._state.unread), total, on_progress)

    async def _until(self, loaded: Callable[[], int], total: int, on_progress: OnProgress | None) -> None:
        while (done := loaded()) < total:
            if self._stopped:
                raise SchedulerStopped("the kernel stopped before the context was loaded")
            if on_progress is not None:
                on_progress(done, total)
            await self._news.wait()
        if on_progress is not None:
            on_progress(total, total)

    async def run(self) -> None:
        """Load until all are loaded, or the kernel stops.

        Raises:
            CorruptionError: one is damaged.
            EncryptionError, StorageError: one cannot be read.
        """
        try:
            with anyio.CancelScope() as self._stop:
                while self._unread is not None and not self._stopped:
                    await self._load_some(self._unread)
        finally:
            self.stop()

    def stop(self) -> None:
        """Load no more; who waits is told so."""
        self._stopped = True
        if self._stop is not None:
            self._stop.cancel()
        self._tell()

    async def _load_some(self, unread: Unread) -> None:
        if self._wanted:
            wanted, self._wanted = self._wanted, {}
            self._fill(await unread.read([key for task in wanted for key in self._keys(task)]))
            self._state.unread.difference_update(wanted)
        else:
            part = await unread.read_on()
            self._fill(part or {})
            if part is None:
                self._unread = None
                self._state.unread.clear()
        self._tell()

    def _keys(self, task: str) -> list[Key]:
        cell = self._state.find_cell(task)
        return [] if cell is None else [(kind, task, cell.generation(kind)) for kind in cell.unread()]

    def _fill(self, part: Mapping[Key, Sequence[bytes]]) -> None:
        find_cell, unread = self._state.find_cell, self._state.unread
        for (kind, task, generation), items in part.items():
            cell = find_cell(task)
            if cell is not None and generation == cell.generation(kind) and cell.fill(kind, items):
                unread.discard(task)

    def _tell(self) -> None:
        news, self._news = self._news, anyio.Event()
        news.set()
