"""A bucket of an object store as a storage: S3, Google Cloud Storage, Azure, and their like."""

# ruff: noqa: D102 - the contract is written once, in abc.py

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from kernelckpt.abc import BlobInfo, Claim, EntryInfo, PostedMessage, StorageBackend
from kernelckpt.errors import CorruptionError, KernelCkptError, StorageError, StorageUnavailableError
from kernelckpt.storage import refusal
from kernelckpt.storage.check import check_entry, check_name, check_page, check_range
from kernelckpt.storage.objects.blob import Blobs
from kernelckpt.storage.objects.cache import RecordCache
from kernelckpt.storage.objects.client import ObjectClient
from kernelckpt.storage.objects.inbox import Inbox
from kernelckpt.storage.objects.log import Log, Owned, Tail
from kernelckpt.storage.objects.owner import Heartbeat, announce, find_owner, living_holder
from kernelckpt.storage.objects.pause import waits
from kernelckpt.storage.objects.probe import Proof
from kernelckpt.storage.objects.process import check_threads, threads_are_gone
from kernelckpt.storage.objects.record import RELEASED
from kernelckpt.storage.objects.run import Place, Runs
from kernelckpt.storage.objects.url import connect

_TRIES = 200


async def open_objects(url: str) -> ObjectStorage:
    """Open the storage of an `s3://`, `gs://` or `az://` URL; its server is tried before the first write.

    Raises:
        StorageUrlError: the URL names no bucket, or has an option that does not exist.
        StorageUnavailableError: the bucket cannot be looked into.
    """
    return ObjectStorage(await connect(url))


class ObjectStorage(StorageBackend):
    """Runs kept in a bucket. An append is one conditional put; who owns a run is decided by nothing else.

    Reading writes nothing. Whatever changes something has the server tried first: one that ignores conditions
    is refused with `StorageUnavailableError` before anything of a run is written.
    """

    durable = True

    def __init__(
        self, client: ObjectClient, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        """Use a bucket; `sleep` is what passes between two heartbeats."""
        self.name, self.notes = client.name, client.notes
        self._client = client
        self._proof = Proof(client)
        self._id = os.urandom(16)
        self._runs = Runs(client)
        self._blobs = Blobs(client)
        self._cache = RecordCache()
        self._places: dict[str, Place] = {}
        self._logs: dict[str, Log] = {}
        self._inboxes: dict[str, Inbox] = {}
        self._owned: dict[str, Owned] = {}
        self._asked: set[str] = set()
        self._heartbeat = Heartbeat(client, self._id, lambda: list(self._owned.values()), sleep)
        self._closed = False

    async def acquire(self, run_id: str, holder: str, *, takeover: bool = False) -> Claim:
        self._check_open()
        check_name(run_id, "run id")
        owned = await self._acquire(run_id, holder, None, takeover=takeover)
        return Claim(owned.epoch, owned.head)

    async def acquire_as(self, run_id: str, holder: str, claim: Claim) -> None:
        self._check_open()
        check_name(run_id, "run id")
        await self._acquire(run_id, holder, claim, takeover=False)

    async def release(self, run_id: str, epoch: int) -> None:
        self._check_open()
        owned = self._owned.get(run_id)
        if owned is not None and owned.epoch == epoch:
            await self._give_up(owned)

    async def append(
        self, run_id: str, epoch: int, sequence: int, entry: Sequence[bytes], meta: bytes
    ) -> None:
        self._check_open()
        check_entry(entry, meta)
        owned = self._owner(run_id, epoch)
        await owned.log.append(owned, sequence, entry, meta)

    async def list_entries(self, run_id: str, *, after: int = 0, limit: int = 1000) -> Sequence[EntryInfo]:
        self._check_open()
        check_page(after, limit)
        known = self._places.get(run_id)
        if known is not None and (found := await self._log(known).list_entries(after, limit)):
            return found
        place = await self._place(run_id)  # whether there is such a run shows only now
        return [] if place == known else await self._log(place).list_entries(after, limit)

    async def list_newest(self, run_id: str, *, limit: int = 1000) -> Sequence[EntryInfo]:
        self._check_open()
        check_page(0, limit)
        log = self._log(await self._place(run_id))
        tail = await log.tail()
        width = limit
        while tail is not None:
            after = max(tail.head - width, 0)
            found = await log.list_entries(after, width)
            if found or not after:
                return found[-limit:]
            width *= 4
        return []

    async def read(
        self, run_id: str, epoch: int, sequence: int, *, offset: int = 0, length: int | None = None
    ) -> bytes:
        self._check_open()
        check_range(offset, length)
        place = self._places.get(run_id) or await self._place(run_id)
        return await self._log(place).read(epoch, sequence, offset, length)

    async def write_part(self, run_id: str, epoch: int, name: str, index: int, data: Sequence[bytes]) -> None:
        self._check_open()
        check_name(name, "blob name")
        owned = self._owner(run_id, epoch)
        await self._blobs.write_part(owned, _folder(owned), name, index, data)

    async def finish_blob(self, run_id: str, epoch: int, name: str) -> BlobInfo:
        self._check_open()
        owned = self._owner(run_id, epoch)
        return await self._blobs.finish(owned, _folder(owned), name)

    async def read_blob(self, run_id: str, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        self._check_open()
        check_range(offset, length)
        place = self._places.get(run_id) or await self._place(run_id)
        return await self._blobs.read(place.folder, name, offset, length)

    async def list_blobs(self, run_id: str) -> Sequence[BlobInfo]:
        self._check_open()
        return await self._blobs.infos((await self._current(run_id)).folder)

    async def delete(
        self, run_id: str, epoch: int, *, entries: Sequence[EntryInfo] = (), blobs: Sequence[str] = ()
    ) -> None:
        self._check_open()
        owned = self._owner(run_id, epoch)
        await owned.log.delete(owned, entries, self._id)
        await self._blobs.delete(owned, _folder(owned), blobs)

    async def post(self, run_id: str, message_id: str, data: bytes) -> bool:
        self._check_open()
        check_name(message_id, "message id")
        inbox = self._inbox(await self._current(run_id))
        await self._proof.ensure()
        return await inbox.post(message_id, data)

    async def posted(self, run_id: str) -> Sequence[PostedMessage]:
        self._check_open()
        return await self._inbox(await self._current(run_id)).posted()

    async def delete_posted(self, run_id: str, message_ids: Sequence[str]) -> None:
        self._check_open()
        inbox = self._inbox(await self._current(run_id))
        await self._proof.ensure()
        await inbox.delete(message_ids)

    async def list_runs(self) -> Sequence[str]:
        self._check_open()
        return await self._runs.names()

    async def delete_run(self, run_id: str) -> None:
        self._check_open()
        try:
            place = await self._runs.find(run_id)
        except CorruptionError:
            place = await self._doom_damaged(run_id)
        if place is None:
            raise refusal.no_run(self.name, run_id)
        if not place.doomed:
            if (owned := self._owned.get(run_id)) is not None and not owned.lost:
                raise refusal.owned(run_id, owned.holder)
            owned = await self._acquire(run_id, "somebody who deletes it", None, takeover=False)
            try:
                doomed = await self._runs.doom(run_id, place)
            finally:
                await self._give_up(owned)
            if doomed is None:
                raise refusal.no_run(self.name, run_id)
            place = doomed
        await self._runs.remove(run_id, place)
        self._forget(run_id, place)

    async def aclose(self) -> None:
        if self._closed or threads_are_gone():
            return
        self._closed = True
        await asyncio.gather(
            *map(self._give_up, list(self._owned.values())), *map(self._leave, list(self._asked))
        )
        await self._heartbeat.stop()

    def _check_open(self) -> None:
        if self._closed:
            raise refusal.closed(self.name)
        check_threads(self.name)

    async def _acquire(self, run_id: str, holder: str, wanted: Claim | None, *, takeover: bool) -> Owned:
        """Contend for the number after the tail, again and again until it is ours or somebody else's."""
        await self._proof.ensure()
        for wait in waits(_TRIES):
            place = await self._runs.create(run_id)
            log = self._log(place)
            tail, owner = await log.tail(), await find_owner(self._client, log.folder)
            if not takeover and (alive := await living_holder(self._client, self._id, tail, owner)):
                raise refusal.owned(run_id, alive)
            head = 0 if tail is None else tail.head
            epoch = 0 if tail is None else await log.newest_epoch(tail)
            epoch = max(epoch, 0 if owner is None else owner.record.epoch)
            if wanted is not None and (wanted.epoch < epoch or wanted.head < head):
                raise refusal.behind(self.name, run_id, epoch, head)
            claim = wanted or Claim(epoch + 1, head)
            self._asked.add(run_id)  # whoever is cancelled, or loses the answer, may own it all the same
            owned = await self._claim(run_id, log, holder, claim, tail)
            if owned is not None:
                known = None if owner is None else owner.found.version
                announced = await announce(self._client, self._id, owned, known)
                if announced and await self._runs.find(run_id) == place:
                    self._places[run_id] = place
                    await self._take(owned)
                    return owned
            self._asked.discard(run_id)
            await asyncio.sleep(wait)
        message = f"{self.name}: run {run_id[:200]!r}: others were faster, {_TRIES} times"
        raise StorageUnavailableError(message, hint="try again when fewer ask for it")

    async def _claim(
        self, run_id: str, log: Log, holder: str, claim: Claim, tail: Tail | None
    ) -> Owned | None:
        """Put the placeholder; None when somebody else was faster."""
        number, condition = (1, "create") if tail is None else tail.place
        following = claim.head + 1
        while True:
            put = await log.claim(claim.epoch, self._id, holder, claim.head, (number, condition))
            if put.version is None:
                return None
            if not await log.is_last(number):
                await log.void(number, put.version)
                return None
            if number == following:
                return Owned(run_id, log, holder, claim.epoch, claim.head, following, put.version)
            number, condition = following, "create"

    async def _take(self, owned: Owned) -> None:
        if self._closed:  # while it was asked for: nobody would give it up any more
            await self._give_up(owned)
            raise refusal.closed(self.name)
        before = self._owned.get(owned.run_id)
        if before is None or before.epoch <= owned.epoch:
            self._owned[owned.run_id] = owned
            self._asked.discard(owned.run_id)
            self._heartbeat.start()
            if before is not None:
                await _abandon(before)

    async def _give_up(self, owned: Owned) -> None:
        self._owned.pop(owned.run_id, None)
        await _abandon(owned)
        if not owned.lost:
            with suppress(StorageError):
                await announce(self._client, self._id, owned, owned.announced, RELEASED)
        if not self._owned:
            await self._heartbeat.stop()

    async def _leave(self, run_id: str) -> None:
        """Give up a run that an acquisition may own whose end nobody saw, or that may still arrive."""
        with suppress(KernelCkptError):
            place = await self._runs.find(run_id)
            if place is not None and not place.doomed:
                await self._give_up(await self._acquire(run_id, "who leaves it", None, takeover=False))

    async def _doom_damaged(self, run_id: str) -> Place | None:
        """Doom a run of which nobody can say where it lies, unless one that may be it is owned."""
        await self._proof.ensure()
        for folder in await self._runs.attempts(run_id):
            log = self._new_log(folder)
            tail, owner = await log.tail(), await find_owner(self._client, log.folder)
            if alive := await living_holder(self._client, self._id, tail, owner):
                raise refusal.owned(run_id, alive)
        return await self._runs.doom_damaged(run_id)

    async def _current(self, run_id: str) -> Place:
        """Where a run lies; an owner need not ask."""
        owned, known = self._owned.get(run_id), self._places.get(run_id)
        if owned is not None and not owned.lost and known is not None and _folder(owned) == known.folder:
            return known
        return await self._place(run_id)

    async def _place(self, run_id: str) -> Place:
        place = await self._runs.find(run_id)
        if place is None or place.doomed:
            self._places.pop(run_id, None)
            raise refusal.no_run(self.name, run_id)
        self._places[run_id] = place
        return place

    def _log(self, place: Place) -> Log:
        return self._logs.setdefault(place.folder, self._new_log(place.folder))

    def _new_log(self, folder: str) -> Log:
        return Log(self._client, f"{folder}/log", self._cache)

    def _inbox(self, place: Place) -> Inbox:
        return self._inboxes.setdefault(place.folder, Inbox(self._client, f"{place.folder}/inbox"))

    def _forget(self, run_id: str, place: Place) -> None:
        self._places.pop(run_id, None)
        self._logs.pop(place.folder, None)
        self._inboxes.pop(place.folder, None)

    def _owner(self, run_id: str, epoch: int) -> Owned:
        owned = self._owned.get(run_id)
        if owned is None or owned.epoch != epoch or owned.lost:
            raise refusal.fenced(self.name, run_id, epoch)
        return owned


async def _abandon(owned: Owned) -> None:
    while owned.uploads:
        await owned.uploads.popitem()[1].abandon()


def _folder(owned: Owned) -> str:
    return owned.log.folder.rpartition("/")[0]
