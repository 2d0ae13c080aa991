"""A storage that remembers what it has read, for those who read a run many times over."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from functools import partial

from typing_extensions import override

from kernelckpt.abc import StorageBackend, StorageWrapper

_REMEMBERED_BYTES = 64 * 1024 * 1024


class RememberingStorage(StorageWrapper):
    """Reads the same bytes of an entry or a blob once, as long as it remembers them; neither ever changes."""

    def __init__(self, storage: StorageBackend, limit: int = _REMEMBERED_BYTES) -> None:
        """Remember at most so many bytes: those that were asked for last."""
        super().__init__(storage)
        self._left = limit
        self._known: OrderedDict[Hashable, bytes] = OrderedDict()

    @override
    async def read(
        self, run_id: str, epoch: int, sequence: int, *, offset: int = 0, length: int | None = None
    ) -> bytes:
        key = (run_id, epoch, sequence, offset, length)
        return await self._once(
            key, partial(super().read, run_id, epoch, sequence, offset=offset, length=length)
        )

    @override
    async def read_blob(self, run_id: str, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        key = (run_id, name, offset, length)
        read = partial(super().read_blob, run_id, name, offset=offset, length=length)
        return await self._once(key, read)

    async def _once(self, key: Hashable, read: Callable[[], Awaitable[bytes]]) -> bytes:
        """What was read under a key, or is now."""
        known = self._known.get(key)
        if known is not None:
            self._known.move_to_end(key)
            return known
        data = await read()
        self._left -= len(data) - len(self._known.pop(key, b""))
        self._known[key] = data
        while self._left < 0:
            self._left += len(self._known.popitem(last=False)[1])
        return data
