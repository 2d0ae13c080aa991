"""The giving side of a copy: a state of the run that hangs together, though its owner goes on writing."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence

from msgspec import Struct

from kernelckpt.abc import PART_BYTES, BlobInfo, EntryInfo, PostedMessage, StorageBackend
from kernelckpt.errors import CorruptionError, NotFoundError, StorageError

ENDLESS = 1 << 62
"""No entry has such a number."""

_PAGE = 1000
_TRIES = 20
_NAMED = 5


class VanishedError(Exception):
    """Something was pruned since it was listed."""


class Cut(Struct, frozen=True):
    """A run as it was at one time.

    Attributes:
        newest: the number of its newest entry; 0 when there is none.
        entries: how many there are.
        entry_bytes: their size.
        blobs: the whole blobs.
        messages: the inbox.
    """

    newest: int
    entries: int
    entry_bytes: int
    blobs: Sequence[BlobInfo]
    messages: Sequence[PostedMessage]

    @property
    def size(self) -> int:
        """All bytes but those of the inbox."""
        return self.entry_bytes + sum(blob.size for blob in self.blobs)


async def list_up_to(
    storage: StorageBackend, run_id: str, newest: int, *, after: int = 0
) -> AsyncIterator[EntryInfo]:
    """The entries above `after` and up to `newest`, fetched a page at a time."""
    while after < newest:
        page = await storage.list_entries(run_id, after=after, limit=_PAGE)
        for entry in page:
            if entry.sequence > newest:
                return
            yield entry
        if not page:
            return
        after = page[-1].sequence


async def blob_parts(storage: StorageBackend, run_id: str, blob: BlobInfo) -> AsyncIterator[bytes]:
    """The bytes of a blob, in parts that another storage takes; one empty part of an empty blob."""
    offset = 0
    while True:
        part = await storage.read_blob(run_id, blob.name, offset=offset, length=PART_BYTES)
        yield part
        offset += len(part)
        if offset >= blob.size or not part:
            return


class CopySource:
    """A run as it is copied from a storage; the digests of what was read are remembered."""

    def __init__(self, storage: StorageBackend, run_id: str) -> None:
        """Read nothing yet."""
        self.storage = storage
        self.run_id = run_id
        self._entries: dict[int, bytes] = {}
        self._blobs: dict[str, bytes] = {}

    async def take_cut(self) -> Cut:
        """Look at the run.

        A command is in the inbox of the cut, or what it did is in its entries, or it came later: none that
        was there when this began was taken from the inbox before the entries had been listed.

        Raises:
            NotFoundError: no such run.
            CorruptionError: some of it is damaged.
            StorageError: the inbox changes all the time, or the storage cannot be used.
        """
        for _ in range(_TRIES):
            before = await self.storage.posted(self.run_id)
            found = await self._look(before)
            after = {message.message_id for message in await self.storage.posted(self.run_id)}
            if all(message.message_id in after for message in before):
                return found
        raise StorageError(
            f"run {self.run_id[:200]!r}: its inbox changes faster than it can be copied",
            hint="try again later",
        )

    async def _look(self, messages: Sequence[PostedMessage]) -> Cut:
        listed = await self.storage.list_newest(self.run_id, limit=1)
        newest = listed[-1].sequence if listed else 0
        damaged = [f"a message of the inbox: {message.damage}" for message in messages if message.damage]
        entries = size = 0
        async for entry in self.entries(newest):
            entries, size = entries + 1, size + entry.size
            if entry.damage:
                damaged.append(f"entry {entry.sequence} of epoch {entry.epoch}: {entry.damage}")
        if damaged:
            raise self._damaged(damaged)
        # After the entries: what they refer to is there, or was pruned with them.
        return Cut(newest, entries, size, await self.storage.list_blobs(self.run_id), messages)

    def entries(self, newest: int, *, after: int = 0) -> AsyncIterator[EntryInfo]:
        """The entries above `after` and up to `newest`."""
        return list_up_to(self.storage, self.run_id, newest, after=after)

    async def read(self, entry: EntryInfo) -> bytes:
        """The bytes of an entry.

        Raises:
            VanishedError: it was pruned since.
            CorruptionError: they are damaged.
        """
        try:
            data = await self.storage.read(self.run_id, entry.epoch, entry.sequence)
        except NotFoundError as error:
            raise VanishedError from error
        except CorruptionError as error:
            raise self._damaged([error.message]) from error
        self._entries[entry.sequence] = hashlib.sha256(data).digest()
        return data

    async def parts(self, blob: BlobInfo) -> AsyncIterator[bytes]:
        """The bytes of a blob.

        Raises:
            VanishedError: it was pruned since.
            CorruptionError: they are fewer or more than were listed.
        """
        digest, size = hashlib.sha256(), 0
        try:
            async for part in blob_parts(self.storage, self.run_id, blob):
                digest.update(part)
                size += len(part)
                yield part
        except NotFoundError as error:
            raise VanishedError from error
        if size != blob.size:
            raise self._damaged([f"blob {blob.name!r}: {size} bytes of {blob.size}"])
        self._blobs[blob.name] = digest.digest()

    async def digest(self, entry: EntryInfo) -> bytes:
        """The digest of an entry; it is read unless it was."""
        if entry.sequence not in self._entries:
            await self.read(entry)
        return self._entries[entry.sequence]

    async def blob_digest(self, blob: BlobInfo) -> bytes:
        """The digest of a blob; it is read unless it was."""
        if blob.name not in self._blobs:
            async for _ in self.parts(blob):
                pass
        return self._blobs[blob.name]

    def _damaged(self, damaged: Sequence[str]) -> CorruptionError:
        more = f" and {len(damaged) - _NAMED} more" if len(damaged) > _NAMED else ""
        return CorruptionError(
            f"run {self.run_id[:200]!r} is damaged and not copied: {'; '.join(damaged[:_NAMED])}{more}",
            hint="`kernelckpt verify` tells what rests on it; all of a run is copied, or nothing",
            lost=tuple(damaged),
        )
