"""Local files as a storage: a folder a run, segments of entries, one thread for all of it.

Everything is done by one thread, in the order of the calls: a cancelled call is finished by the thread or
never begun, and what the thread knows of heads and offsets stays right.

    kernelckpt                  marks the folder as ours, with the version of its layout
    <slug>-<digest of run id>/  one folder a run
        run                     the run's id
        owner.<epoch>           who claimed that epoch (the lock on it says whether it is alive), and the
                                head and the newest segment at which it began; one that left epochs out has
                                a second name, the epoch after that of the owner before it
        seg.<epoch>.<n>         entries; only ever written by the owner that made it
        blob.<name>             a blob, once it is whole
        inbox.<digest of id>    a posted message
        head                    the newest acknowledged and the newest deleted entry
        tmp.<random>            a file that has no name yet; left over when nobody holds its lock

An entry counts when no later epoch began below it or before its segment, and no later segment of its owner
begins at or below it.
"""

# ruff: noqa: D102 - the contract is written once, in abc.py

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from aiofiles.os import wrap
from anyio import move_on_after

from kernelckpt.abc import BlobInfo, Claim, EntryInfo, PostedMessage, StorageBackend
from kernelckpt.errors import FencedError, StorageUnavailableError
from kernelckpt.storage.check import check_entry, check_name, check_page, check_range
from kernelckpt.storage.file.claim import RunClaim, claim_run, claim_run_as, owned_error, refuse_behind
from kernelckpt.storage.file.error import storage_error
from kernelckpt.storage.file.medium import medium_notes, refuse_network
from kernelckpt.storage.file.ops import FileOps
from kernelckpt.storage.file.root import RootFolder, run_digest
from kernelckpt.storage.file.run import RunFolder
from kernelckpt.storage.fork import leave_to_parent
from kernelckpt.storage.url import local_url, open_local

T = TypeVar("T")

_CLOSE_SECONDS = 10.0
"""How long closing waits for a call that the disk has not answered."""


async def open_file(url: str) -> FileStorage:
    """Open the storage of a `file:` URL; the folder is made by the first run.

    Raises:
        StorageUrlError: the URL names no folder.
        StorageUnavailableError: the folder cannot be read, is not a storage of ours, or lies on a network
            file system that was not allowed.
        UnsupportedVersionError: a newer version made it.
    """
    return await open_local(url, FileStorage)


def _one_thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="kernelckpt-file")


class FileStorage(StorageBackend):
    """Runs kept in a local folder. Safe against `kill -9` and power loss on a local file system.

    A forked child that inherits one can read with it, but owns nothing: `FencedError` on the first write.
    """

    durable = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        allow_network_fs: bool = False,
        ops: FileOps | None = None,
    ) -> None:
        """Touch nothing yet.

        Args:
            path: the folder; made when the first run is.
            allow_network_fs: use it even on a network file system, or one in user space.
            ops: the file system's calls, to be replaced in tests.
        """
        self.path = str(Path(path).absolute())
        self.name = local_url("file", self.path)
        self._ops = ops or FileOps()
        self._allow_network_fs = allow_network_fs
        self._root = RootFolder(self._ops, self.path)
        self._runs: dict[str, RunFolder] = {}
        self._claims: dict[str, RunClaim] = {}
        self._thread = _one_thread()
        self._closed = False
        leave_to_parent(self)

    def after_fork(self) -> None:
        """In a forked child: own nothing, and work with a thread of the child's own."""
        for claim in self._claims.values():
            claim.leave_to_parent()
        self._claims, self._runs = {}, {}
        self._thread = _one_thread()

    async def check(self) -> None:
        """Raise unless the folder is ours, empty or not there yet, on a file system that can be relied on."""
        await self._call(self._look_at_medium)
        await self._call(self._root.check)

    async def acquire(self, run_id: str, holder: str, *, takeover: bool = False) -> Claim:
        check_name(run_id, "run id")
        return await self._call(self._acquire, run_id, holder, takeover)

    async def acquire_as(self, run_id: str, holder: str, claim: Claim) -> None:
        check_name(run_id, "run id")
        await self._call(self._acquire_as, run_id, holder, claim)

    async def release(self, run_id: str, epoch: int) -> None:
        await self._call(self._release, run_id, epoch)

    async def append(
        self, run_id: str, epoch: int, sequence: int, entry: Sequence[bytes], meta: bytes
    ) -> None:
        check_entry(entry, meta)
        await self._call(lambda: self._claim(run_id, epoch).append(sequence, entry, meta))

    async def list_entries(self, run_id: str, *, after: int = 0, limit: int = 1000) -> Sequence[EntryInfo]:
        check_page(after, limit)
        return await self._call(self._list_entries, run_id, after, limit)

    async def list_newest(self, run_id: str, *, limit: int = 1000) -> Sequence[EntryInfo]:
        check_page(0, limit)
        return await self._call(self._list_newest, run_id, limit)

    async def read(
        self, run_id: str, epoch: int, sequence: int, *, offset: int = 0, length: int | None = None
    ) -> bytes:
        check_range(offset, length)
        return await self._call(lambda: self._run(run_id).read(epoch, sequence, offset, length))

    async def write_part(self, run_id: str, epoch: int, name: str, index: int, data: Sequence[bytes]) -> None:
        check_name(name, "blob name")
        await self._call(lambda: self._claim(run_id, epoch).write_part(name, index, data))

    async def finish_blob(self, run_id: str, epoch: int, name: str) -> BlobInfo:
        return await self._call(lambda: self._claim(run_id, epoch).finish_blob(name))

    async def read_blob(self, run_id: str, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        check_range(offset, length)
        return await self._call(lambda: self._run(run_id).read_blob(name, offset, length))

    async def list_blobs(self, run_id: str) -> Sequence[BlobInfo]:
        return await self._call(lambda: self._run(run_id).list_blobs())

    async def overview(
        self, run_id: str, *, limit: int = 1000
    ) -> tuple[Sequence[EntryInfo], Sequence[BlobInfo]]:
        check_page(0, limit)
        return await self._call(lambda: (self._list_newest(run_id, limit), self._run(run_id).list_blobs()))

    async def delete(
        self, run_id: str, epoch: int, *, entries: Sequence[EntryInfo] = (), blobs: Sequence[str] = ()
    ) -> None:
        await self._call(lambda: self._claim(run_id, epoch).delete(entries, blobs))

    async def post(self, run_id: str, message_id: str, data: bytes) -> bool:
        check_name(message_id, "message id")
        return await self._call(lambda: self._run(run_id).post(message_id, data))

    async def posted(self, run_id: str) -> Sequence[PostedMessage]:
        return await self._call(lambda: self._run(run_id).posted())

    async def delete_posted(self, run_id: str, message_ids: Sequence[str]) -> None:
        await self._call(lambda: self._run(run_id).delete_posted(message_ids))

    async def list_runs(self) -> Sequence[str]:
        return await self._call(self._root.list_runs)

    async def delete_run(self, run_id: str) -> None:
        await self._call(self._delete_run, run_id)

    async def aclose(self) -> None:
        if self._closed:
            return
        self._closed = True
        release = asyncio.create_task(self._in_thread(self._release_all))
        try:
            with move_on_after(_CLOSE_SECONDS):  # a disk that never answers keeps its thread, not its user
                await asyncio.shield(release)  # cancelled or not, the runs are let go
        finally:
            self._thread.shutdown(wait=False)

    async def _call(self, function: Callable[..., T], *arguments: object) -> T:
        if self._closed:
            raise StorageUnavailableError(f"{self.name} is closed", hint="open it again")
        return await self._in_thread(function, *arguments)

    async def _in_thread(self, function: Callable[..., T], *arguments: object) -> T:
        """Run a function in the storage's thread; errors of the system leave it typed."""

        def work() -> T:
            try:
                return function(*arguments)
            except OSError as error:
                raise storage_error(error, self.path) from error

        return await wrap(work)(executor=self._thread)

    def _look_at_medium(self) -> None:
        kind = self._ops.file_system(self.path)
        if not self._allow_network_fs:
            refuse_network(kind, self.path)
        self.notes = medium_notes(kind, self.path)

    def _run(self, run_id: str, *, doomed: bool = False) -> RunFolder:
        """The folder of a run that exists; what is remembered of it goes when it was made anew."""
        known = self._runs.get(run_id)
        if known is not None and known.is_same():
            return known
        self._runs.pop(run_id, None)
        find = self._root.find_doomed if doomed else self._root.find_run
        return self._open_run(run_id, find(run_id))

    def _open_run(self, run_id: str, path: str) -> RunFolder:
        run = self._runs[run_id] = RunFolder(self._ops, path, run_digest(run_id))
        return run

    def _list_entries(self, run_id: str, after: int, limit: int) -> Sequence[EntryInfo]:
        return self._acknowledged(run_id, self._run(run_id).looker.entries(after, limit))

    def _list_newest(self, run_id: str, limit: int) -> Sequence[EntryInfo]:
        found = self._run(run_id).looker.newest(limit + 1)  # one may have failed
        return self._acknowledged(run_id, found)[-limit:]

    def _acknowledged(self, run_id: str, found: Sequence[EntryInfo]) -> Sequence[EntryInfo]:
        claim = self._claims.get(run_id)
        return found if claim is None else claim.without_failed(found)

    def _claim(self, run_id: str, epoch: int) -> RunClaim:
        claim = self._claims.get(run_id)
        if claim is None or claim.epoch != epoch:
            raise FencedError(
                f"{self.name}: epoch {epoch} of run {run_id[:200]!r} is not held here",
                hint="acquire the run, then use the epoch that was granted",
            )
        return claim

    def _acquire(self, run_id: str, holder: str, takeover: bool) -> Claim:
        run = self._made_run(run_id)
        self._let_go(run_id)
        claim = RunClaim(run, *claim_run(run, run_id, holder, takeover=takeover))
        self._begin(run_id, claim)
        return Claim(claim.epoch, claim.head)

    def _acquire_as(self, run_id: str, holder: str, claim: Claim) -> None:
        run = self._made_run(run_id)
        refuse_behind(run, run_id, claim)
        self._let_go(run_id)
        fd = claim_run_as(run, run_id, holder, claim)
        self._begin(run_id, RunClaim(run, claim.epoch, fd), claim.head)

    def _made_run(self, run_id: str) -> RunFolder:
        self._look_at_medium()
        self._root.make_run(run_id)
        return self._run(run_id)

    def _let_go(self, run_id: str) -> None:
        if own := self._claims.pop(run_id, None):
            own.release()

    def _begin(self, run_id: str, claim: RunClaim, head: int | None = None) -> None:
        try:
            claim.begin()
            if head is not None:
                refuse_behind(claim.run, run_id, Claim(claim.epoch, head))
                claim.skip_to(head)
        except FencedError as error:
            claim.release()
            raise owned_error(claim.run, run_id, claim.epoch + 1) from error
        except BaseException:
            claim.release()
            raise
        self._claims[run_id] = claim

    def _release(self, run_id: str, epoch: int) -> None:
        with suppress(FencedError):
            self._claim(run_id, epoch).release()
            del self._claims[run_id]

    def _release_all(self) -> None:
        while self._claims:
            self._claims.popitem()[1].release()

    def _delete_run(self, run_id: str) -> None:
        run = self._run(run_id, doomed=True)
        _, fd = claim_run(run, run_id, "a deletion of the run", doomed=True)
        try:
            self._root.remove_run(run.path)
        finally:
            self._ops.close(fd)
        self._runs.pop(run_id, None)
        self._let_go(run_id)
