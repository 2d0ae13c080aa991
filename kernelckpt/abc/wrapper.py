"""A storage that stands before another one and passes every call on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Generic, TypeVar

from msgspec import Struct
from typing_extensions import override

from kernelckpt.abc.storage import BlobInfo, Claim, EntryInfo, PostedMessage, StorageBackend

T = TypeVar("T")


class StorageCall(Struct, Generic[T], frozen=True):
    """A call on its way to a storage.

    Attributes:
        method: the name of the method of `StorageBackend`.
        send: makes the call; again each time it is called.
        size: how many bytes it brings along to be kept.
    """

    method: str
    send: Callable[[], Awaitable[T]]
    size: int = 0


class StorageWrapper(StorageBackend):
    """Passes each call on to another storage, through `pass_on`: override that alone.

    Its name, its notes and whether it is durable are those of the other storage, which is closed with it.
    """

    def __init__(self, storage: StorageBackend) -> None:
        """Stand before a storage."""
        self._storage = storage

    async def pass_on(self, call: StorageCall[T]) -> T:
        """Have a call made, or refuse it; the answer is the caller's."""
        return await call.send()

    @property
    @override
    def name(self) -> str:  # type: ignore[override]  # nobody sets it
        return self._storage.name

    @property
    @override
    def durable(self) -> bool:  # type: ignore[override]
        return self._storage.durable

    @property
    @override
    def notes(self) -> Sequence[str]:  # type: ignore[override]
        return self._storage.notes

    @override
    async def acquire(self, run_id: str, holder: str, *, takeover: bool = False) -> Claim:
        send = partial(self._storage.acquire, run_id, holder, takeover=takeover)
        return await self.pass_on(StorageCall("acquire", send))

    @override
    async def acquire_as(self, run_id: str, holder: str, claim: Claim) -> None:
        send = partial(self._storage.acquire_as, run_id, holder, claim)
        await self.pass_on(StorageCall("acquire_as", send))

    @override
    async def release(self, run_id: str, epoch: int) -> None:
        await self.pass_on(StorageCall("release", partial(self._storage.release, run_id, epoch)))

    @override
    async def append(
        self, run_id: str, epoch: int, sequence: int, entry: Sequence[bytes], meta: bytes
    ) -> None:
        send = partial(self._storage.append, run_id, epoch, sequence, entry, meta)
        await self.pass_on(StorageCall("append", send, sum(map(len, entry)) + len(meta)))

    @override
    async def list_entries(self, run_id: str, *, after: int = 0, limit: int = 1000) -> Sequence[EntryInfo]:
        send = partial(self._storage.list_entries, run_id, after=after, limit=limit)
        return await self.pass_on(StorageCall("list_entries", send))

    @override
    async def list_newest(self, run_id: str, *, limit: int = 1000) -> Sequence[EntryInfo]:
        send = partial(self._storage.list_newest, run_id, limit=limit)
        return await self.pass_on(StorageCall("list_newest", send))

    @override
    async def read(
        self, run_id: str, epoch: int, sequence: int, *, offset: int = 0, length: int | None = None
    ) -> bytes:
        send = partial(self._storage.read, run_id, epoch, sequence, offset=offset, length=length)
        return await self.pass_on(StorageCall("read", send))

    @override
    async def write_part(self, run_id: str, epoch: int, name: str, index: int, data: Sequence[bytes]) -> None:
        send = partial(self._storage.write_part, run_id, epoch, name, index, data)
        await self.pass_on(StorageCall("write_part", send, sum(map(len, data))))

    @override
    async def finish_blob(self, run_id: str, epoch: int, name: str) -> BlobInfo:
        send = partial(self._storage.finish_blob, run_id, epoch, name)
        return await self.pass_on(StorageCall("finish_blob", send))

    @override
    async def read_blob(self, run_id: str, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        send = partial(self._storage.read_blob, run_id, name, offset=offset, length=length)
        return await self.pass_on(StorageCall("read_blob", send))

    @override
    async def list_blobs(self, run_id: str) -> Sequence[BlobInfo]:
        return await self.pass_on(StorageCall("list_blobs", partial(self._storage.list_blobs, run_id)))

    @override
    async def overview(
        self, run_id: str, *, limit: int = 1000
    ) -> tuple[Sequence[EntryInfo], Sequence[BlobInfo]]:
        send = partial(self._storage.overview, run_id, limit=limit)
        return await self.pass_on(StorageCall("overview", send))

    @override
    async def delete(
        self, run_id: str, epoch: int, *, entries: Sequence[EntryInfo] = (), blobs: Sequence[str] = ()
    ) -> None:
        send = partial(self._storage.delete, run_id, epoch, entries=entries, blobs=blobs)
        await self.pass_on(StorageCall("delete", send))

    @override
    async def post(self, run_id: str, message_id: str, data: bytes) -> bool:
        send = partial(self._storage.post, run_id, message_id, data)
        return await self.pass_on(StorageCall("post", send, len(data)))

    @override
    async def posted(self, run_id: str) -> Sequence[PostedMessage]:
        return await self.pass_on(StorageCall("posted", partial(self._storage.posted, run_id)))

    @override
    async def delete_posted(self, run_id: str, message_ids: Sequence[str]) -> None:
        send = partial(self._storage.delete_posted, run_id, message_ids)
        await self.pass_on(StorageCall("delete_posted", send))

    @override
    async def list_runs(self) -> Sequence[str]:
        return await self.pass_on(StorageCall("list_runs", self._storage.list_runs))

    @override
    async def delete_run(self, run_id: str) -> None:
        await self.pass_on(StorageCall("delete_run", partial(self._storage.delete_run, run_id)))

    @override
    async def aclose(self) -> None:
        await self.pass_on(StorageCall("aclose", self._storage.aclose))
