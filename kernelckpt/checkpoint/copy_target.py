"""The receiving side of a copy: owned as the entries ask for, and marked until all of it is there."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence

from kernelckpt.abc import BlobInfo, Claim, EntryInfo, PostedMessage, StorageBackend
from kernelckpt.checkpoint.copy_source import ENDLESS, blob_parts, list_up_to
from kernelckpt.checkpoint.holder import holder
from kernelckpt.errors import FencedError, InvalidValueError, NotFoundError, UnknownOutcomeError, UsageError
from kernelckpt.log.unfinished_copy import MARK, source_of_unfinished

_TRIES = 5


def is_same(one: EntryInfo, other: EntryInfo) -> bool:
    """Whether two storages list the same entry, sound in both."""
    facts = ((entry.epoch, entry.sequence, entry.size, entry.meta, entry.damage) for entry in (one, other))
    return next(facts) == next(facts)


class CopyTarget:
    """A run as it is copied to a storage; what is added has the epochs and numbers that it has elsewhere."""

    def __init__(self, storage: StorageBackend, run_id: str, source: str) -> None:
        """Change nothing yet; `source` is the name of the storage that the run comes from."""
        self.storage = storage
        self.run_id = run_id
        self._source = source
        self._claim: Claim | None = None
        self._asked: Claim | None = None

    async def exists(self) -> bool:
        """Whether there is a run of that id."""
        try:
            await self.storage.list_entries(self.run_id, limit=1)
        except NotFoundError:
            return False
        return True

    async def mark(self) -> str | None:
        """Where the run comes from, if copying it was begun and not finished."""
        return await source_of_unfinished(self.storage, self.run_id)

    async def is_finished(self, messages: Sequence[PostedMessage]) -> bool:
        """Whether there is a run, without a mark and with just these messages in its inbox."""
        if not await self.exists() or await self.mark() is not None:
            return False
        return await self._inbox() == {message.message_id: message.data for message in messages}

    async def entries(self) -> AsyncIterator[EntryInfo]:
        """The entries there are."""
        if await self.exists():
            async for entry in list_up_to(self.storage, self.run_id, ENDLESS):
                yield entry

    async def blobs(self) -> dict[str, int]:
        """The size of each blob there is, by its name."""
        found = await self.storage.list_blobs(self.run_id) if await self.exists() else ()
        return {blob.name: blob.size for blob in found}

    async def begin(self, claim: Claim) -> None:
        """Own the run, and mark it.

        Raises:
            UsageError: the run has had an owner of its own since.
            RunOwnedError: it has one.
        """
        await self._own(claim)
        if await self.mark() is None:
            text = self._source.encode("utf-8", "replace")
            await self.storage.write_part(self.run_id, claim.epoch, MARK, 0, [text])
            await self.storage.finish_blob(self.run_id, claim.epoch, MARK)

    async def add_entry(self, entry: EntryInfo, data: bytes) -> None:
        """Add an entry under its own epoch and number; where the answer is lost, look whether it is there."""
        for left in reversed(range(_TRIES)):
            await self._own(Claim(entry.epoch, entry.sequence - 1))
            try:
                await self.storage.append(self.run_id, entry.epoch, entry.sequence, [data], entry.meta)
            except (UnknownOutcomeError, FencedError):
                self._claim = None
                if await self._has(entry):
                    return
                if not left:
                    raise
            else:
                self._claim = Claim(entry.epoch, entry.sequence)
                return

    async def add_blob(self, blob: BlobInfo, parts: AsyncIterator[bytes]) -> None:
        """Add a whole blob."""
        assert self._asked is not None
        epoch, index = self._asked.epoch, 0
        async for part in parts:
            await self.storage.write_part(self.run_id, epoch, blob.name, index, [part])
            index += 1
        await self.storage.finish_blob(self.run_id, epoch, blob.name)

    async def set_inbox(self, messages: Sequence[PostedMessage]) -> None:
        """Have these messages in the inbox and no others: what was taken in the source is not done again."""
        present = await self._inbox()
        wanted = {message.message_id: message.data for message in messages}
        gone = [name for name, data in present.items() if wanted.get(name) != data]
        if gone:
            await self.storage.delete_posted(self.run_id, gone)
        for name, data in wanted.items():
            if present.get(name) != data:
                await self.storage.post(self.run_id, name, data)

    async def digest(self, entry: EntryInfo) -> bytes:
        """The digest of an entry, read back."""
        return hashlib.sha256(await self.storage.read(self.run_id, entry.epoch, entry.sequence)).digest()

    async def blob_digest(self, blob: BlobInfo) -> bytes:
        """The digest of a blob, read back."""
        digest = hashlib.sha256()
        async for part in blob_parts(self.storage, self.run_id, blob):
            digest.update(part)
        return digest.digest()

    async def finish(self) -> None:
        """Take the mark away: all is there."""
        if self._asked is not None:
            await self.storage.delete(self.run_id, self._asked.epoch, blobs=[MARK])

    async def release(self) -> None:
        """Let the run go if it is owned here."""
        if self._asked is not None:
            await self.storage.release(self.run_id, self._asked.epoch)

    async def _own(self, claim: Claim) -> None:
        if claim == self._claim:
            return
        self._asked = claim  # also when this is cancelled: it may have been granted
        try:
            await self.storage.acquire_as(self.run_id, holder("a copy"), claim)
        except InvalidValueError as error:
            raise UsageError(
                f"run {self.run_id[:200]!r} in {self.storage.name} was started there, or an earlier try to "
                f"copy it came further: {error.message}",
                hint="delete it there, or copy to another storage",
            ) from error
        self._claim = claim

    async def _inbox(self) -> dict[str, bytes]:
        return {message.message_id: message.data for message in await self.storage.posted(self.run_id)}

    async def _has(self, entry: EntryInfo) -> bool:
        found = await self.storage.list_entries(self.run_id, after=entry.sequence - 1, limit=1)
        return bool(found) and is_same(found[0], entry)
