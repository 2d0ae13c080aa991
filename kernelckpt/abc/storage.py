"""What a storage must promise."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from msgspec import Struct

PART_BYTES = 8 * 1024 * 1024
"""The largest part of a blob, in bytes."""

META_BYTES = 512
"""The largest metadata of an entry, in bytes."""


class Claim(Struct, frozen=True):
    """Ownership of a run, as `StorageBackend.acquire` grants it.

    Attributes:
        epoch: the owner's number; higher than every one granted before.
        head: the sequence of the newest entry that belongs to the run; 0 when there is none.
    """

    epoch: int
    head: int


class EntryInfo(Struct, frozen=True):
    """What `StorageBackend.list_entries` says of an entry without reading it.

    Attributes:
        epoch: the owner that wrote it.
        sequence: its number in the run.
        size: its length in bytes.
        meta: at most 512 bytes that the writer gave.
        segment: entries of one segment are deleted together; "" where each stands alone.
        damage: empty, or why it cannot be read although it had been acknowledged.
    """

    epoch: int
    sequence: int
    size: int
    meta: bytes
    segment: str = ""
    damage: str = ""


class BlobInfo(Struct, frozen=True):
    """A whole blob: its name and its length in bytes."""

    name: str
    size: int


class PostedMessage(Struct, frozen=True):
    """Something put into a run's inbox from outside.

    Attributes:
        message_id: its id; "" where damage hides it.
        order: says how to sort them.
        data: what was posted.
        damage: empty, or why it cannot be read; it hides no other message.
    """

    message_id: str
    order: int
    data: bytes
    damage: str = ""


class StorageBackend(ABC):
    """Where bytes live, and who may add to them. Policy (chains, bases, retention) lives above.

    A backend serves many runs and many concurrent callers of one process. A run id is any non-empty text;
    it never appears unescaped in a path, a statement or a name. A call on a closed backend raises
    `StorageUnavailableError`.

    Cancellation: a cancelled call either had no effect or has its whole effect, now or a little later; it
    never leaves half of one. A caller that was cancelled in `append` must read the number back.
    """

    name: str
    """The storage's URL without credentials, for messages."""

    durable: bool
    """Whether what is acknowledged survives the end of this process and power loss."""

    notes: Sequence[str] = ()
    """What somebody should know who relies on what is kept here, in words; known once it is opened."""

    @abstractmethod
    async def acquire(self, run_id: str, holder: str, *, takeover: bool = False) -> Claim:
        """Become the run's owner, creating the run when it does not exist.

        On return every entry and blob that listing shows is durable (synced by this call if need be), the
        new epoch is durable, and every entry that an older epoch adds from now on is void: never listed.
        An owner that acquired the run through this very object is not asked: it is fenced.

        Args:
            run_id: the run.
            holder: who asks, for the error message of others.
            takeover: do not refuse although the present owner seems alive; it will be fenced.

        Raises:
            RunOwnedError: the owner is alive (its lock or session is held) and `takeover` is false.
            StorageError: the storage cannot be used.
        """

    @abstractmethod
    async def acquire_as(self, run_id: str, holder: str, claim: Claim) -> None:
        """Become the owner under this very claim, to add the entries of a copy as another store has them.

        The next entry is numbered `claim.head` + 1, and listed under `claim.epoch`; the numbers between the
        run's head and that one are as if deleted. A later `acquire` is granted a higher epoch. The run is
        created when it does not exist. What `acquire` says holds for everything else; an owner that acquired
        the run through this very object is not asked.

        Raises:
            InvalidValueError: the claim lies behind the newest epoch granted, or behind the head.
            RunOwnedError: the owner is alive.
            StorageError: the storage cannot be used.
        """

    @abstractmethod
    async def release(self, run_id: str, epoch: int) -> None:
        """Give up ownership so that others need not wait; nothing happens if it was lost already."""

    @abstractmethod
    async def append(
        self, run_id: str, epoch: int, sequence: int, entry: Sequence[bytes], meta: bytes
    ) -> None:
        """Add one entry, given in pieces to be written without joining; durable on return.

        Atomic: it is there whole or not at all. One call at a time per run. A torn entry that was never
        acknowledged is dropped silently by later listings.

        Args:
            run_id: the run.
            epoch: the caller's epoch.
            sequence: must be the head + 1.
            entry: pieces of one entry.
            meta: at most 512 bytes, returned by `list_entries`.

        Raises:
            FencedError: the epoch is not the newest one, or the sequence is not head + 1; nothing was
                acknowledged. Checked after the sync, before returning.
            StorageFullError: no space; not added. The same number may be tried again.
            SyncFailedError: not acknowledged; the same number may be tried again and goes elsewhere.
            UnknownOutcomeError: it may or may not be there; list before trying again.
        """

    @abstractmethod
    async def list_entries(self, run_id: str, *, after: int = 0, limit: int = 1000) -> Sequence[EntryInfo]:
        """The entries numbered above `after`, in order of sequence, at most `limit`; no entry is read whole.

        Void entries (of an older epoch, past the point where a newer one began) and torn ones are not
        listed. Damaged entries are, with `damage` set. Numbers may be missing where entries were deleted.
        May be called by anyone at any time.

        Raises:
            NotFoundError: no such run.
            UnsupportedVersionError: the storage was written by a newer version.
        """

    async def list_newest(self, run_id: str, *, limit: int = 1000) -> Sequence[EntryInfo]:
        """The newest entries, in order of sequence: at most `limit`, and not none unless there are none.

        What may be listed, and the errors, are those of `list_entries`. A backend that can read its listing
        from the end may do so; here the end is found with a few probes, and fewer than `limit` may come.
        """
        low = 0
        width = step = max(limit, 1)  # `list_entries` says what is wrong with another
        while await self.list_entries(run_id, after=low + step, limit=1):
            low, step = low + step, 2 * step
        while step > width:
            step //= 2
            if await self.list_entries(run_id, after=low + step, limit=1):
                low += step
        return await self.list_entries(run_id, after=low, limit=limit)

    @abstractmethod
    async def read(
        self, run_id: str, epoch: int, sequence: int, *, offset: int = 0, length: int | None = None
    ) -> bytes:
        """Bytes of one entry from `offset`; fewer than `length` only at its end.

        Raises:
            NotFoundError: it is not there (any more): list again.
            CorruptionError: it is there but damaged.
        """

    @abstractmethod
    async def write_part(self, run_id: str, epoch: int, name: str, index: int, data: Sequence[bytes]) -> None:
        """Add part `index` (0, 1, ...) of blob `name`, at most 8 MiB; parts come in order."""

    @abstractmethod
    async def finish_blob(self, run_id: str, epoch: int, name: str) -> BlobInfo:
        """Make the blob whole and durable; only then it can be listed and read.

        Raises:
            FencedError: the epoch is not the newest one.
            StorageError: as for `append`; the blob is not there and its name must not be used again.
        """

    @abstractmethod
    async def read_blob(self, run_id: str, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        """Bytes of a blob from `offset`; fewer than `length` only at its end.

        Raises:
            NotFoundError: it is not there (any more).
        """

    @abstractmethod
    async def list_blobs(self, run_id: str) -> Sequence[BlobInfo]:
        """The whole blobs of a run, by name. Unfinished ones of dead owners are not listed."""

    async def overview(
        self, run_id: str, *, limit: int = 1000
    ) -> tuple[Sequence[EntryInfo], Sequence[BlobInfo]]:
        """The newest entries as `list_newest` gives them, then the blobs: those of the listed entries too.

        A backend that pays for each call may answer both in one; here they are two.
        """
        entries = await self.list_newest(run_id, limit=limit)
        return entries, await self.list_blobs(run_id)

    @abstractmethod
    async def delete(
        self, run_id: str, epoch: int, *, entries: Sequence[EntryInfo] = (), blobs: Sequence[str] = ()
    ) -> None:
        """Remove entries (all those of a segment together) and blobs; missing ones are no error.

        The head and the epoch stay what they were, even when everything is removed. Left-overs of
        unfinished blobs are removed as well.

        Raises:
            FencedError: the epoch is not the newest one.
        """

    @abstractmethod
    async def post(self, run_id: str, message_id: str, data: bytes) -> bool:
        """Put a message into the run's inbox, durably; anyone may, owner or not.

        Returns:
            False when a message of this id is there already: nothing was changed.

        Raises:
            NotFoundError: no such run.
        """

    @abstractmethod
    async def posted(self, run_id: str) -> Sequence[PostedMessage]:
        """The run's inbox, oldest first.

        Nothing is listed without what had been acknowledged before it was posted, unless that was deleted.
        Damaged messages are listed, before the others, with `damage` set.
        """

    @abstractmethod
    async def delete_posted(self, run_id: str, message_ids: Sequence[str]) -> None:
        """Remove messages from the inbox, durably; missing ones are no error."""

    @abstractmethod
    async def list_runs(self) -> Sequence[str]:
        """The ids of all runs, sorted.

        Raises:
            DamagedRunsError: some cannot be listed; it holds the ids of all others, and what is wrong.
        """

    @abstractmethod
    async def delete_run(self, run_id: str) -> None:
        """Remove a run with everything in it; also one that is damaged.

        A deletion that failed, or whose process ended, left the run as it was, or can be called again.

        Raises:
            RunOwnedError: its owner is alive.
            NotFoundError: no such run.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Release ownerships, threads, files; calling it again does nothing."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
