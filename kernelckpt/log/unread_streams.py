"""Streams of a run that are still to be read: first those that are asked for, then the rest as it lies."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from typing import TypeAlias, TypeVar

import anyio

from kernelckpt.abc import Key
from kernelckpt.errors import CorruptionError, FormatError, KernelCkptError, NotFoundError
from kernelckpt.log.stream_reader import Extent, StreamReader, Streams
from kernelckpt.log.stream_references import StreamReferences

NewPass: TypeAlias = Callable[[Mapping[Key, Extent], Callable[[Key], bool]], StreamReader]
"""Makes a reader that goes over streams once, and says of each when it is its turn whether it is wanted."""

T = TypeVar("T")

_TRIES = 4
_HINT = 'to go on from the last good checkpoint as a new branch, start with on_corruption="fall_back"'


class UnreadStreams:
    """Reads each stream once; see `Unread`.

    A base may move items, and pruning removes where they lay: what is gone there is looked for where the
    stream's references say by now. A stream that the client has removed meanwhile is not read any more.

    Attributes:
        done: set once all are read.
    """

    def __init__(
        self,
        run_id: str,
        unread: dict[Key, Extent],
        live: Mapping[Key, StreamReferences],
        new_pass: NewPass,
    ) -> None:
        """These are unread.

        Args:
            run_id: the run.
            unread: what is unread.
            live: the streams that the client has, at any moment.
            new_pass: reads.
        """
        self.done = anyio.Event()
        self._run_id = run_id
        self._unread = unread
        self._live = live
        self._new_pass = new_pass
        self._rest: StreamReader | None = None
        self._misses = 0

    def counts(self) -> Iterator[tuple[Key, int]]:
        """See `Unread.counts`."""
        return ((key, extent.items) for key, extent in self._unread.items())

    async def read(self, keys: Collection[Key]) -> Streams:
        """See `Unread.read`."""

        async def read() -> Streams:
            wanted = {key: self._unread[key] for key in keys if self._is_unread(key)}
            return await self._new_pass(wanted, self._is_unread).read_all()

        return self._taken(await self._tried(read))

    async def read_on(self) -> Streams | None:
        """See `Unread.read_on`."""

        async def read() -> Streams | None:
            if self._rest is None:
                self._rest = self._new_pass(self._unread, self._is_unread)
            return await self._rest.next()

        part = await self._tried(read)
        if part is not None:
            return self._taken(part)
        self._rest = None
        self.done.set()
        return None

    async def _tried(self, read: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                return await read()
            except NotFoundError as error:
                self._rest = None
                self._misses += 1
                if self._misses == _TRIES:
                    raise self._damaged(error) from error
            except FormatError as error:
                raise self._damaged(error) from error

    def _is_unread(self, key: Key) -> bool:
        extent = self._unread.get(key)
        return extent is not None and self._live.get(key) is extent.references

    def _taken(self, streams: Streams) -> Streams:
        """These are read; those that the client has removed by now are left out."""
        kept = {key: items for key, items in streams.items() if self._is_unread(key)}
        for key in streams:
            self._unread.pop(key, None)
            self._misses = 0
        return kept

    def _damaged(self, error: KernelCkptError) -> CorruptionError:
        message = f"run {self._run_id!r}: items of its streams cannot be read: {error.message}"
        return CorruptionError(message, hint=_HINT)
