"""The log of a run: one object for each number, and the number that owners contend for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING

from msgspec import Struct, field

from kernelckpt.abc import EntryInfo
from kernelckpt.errors import CorruptionError, StorageError, StorageUnavailableError, UnknownOutcomeError
from kernelckpt.storage import refusal
from kernelckpt.storage.objects.cache import RecordCache
from kernelckpt.storage.objects.client import PAGE, UNKNOWN, Found, Listed, ObjectClient, Put
from kernelckpt.storage.objects.key import number_of, numbered
from kernelckpt.storage.objects.pause import waits
from kernelckpt.storage.objects.record import CLAIM, ENTRY, TOMBSTONE, TORN, Record, decode, encode
from kernelckpt.storage.text import text_bytes
from kernelckpt.storage.together import together

if TYPE_CHECKING:
    from obstore import UpdateVersion

    from kernelckpt.storage.objects.blob import Upload
    from kernelckpt.storage.objects.client import Condition

_STRIDE = 8
_TRIES = 8


class Owned(Struct, eq=False):
    """A run as its owner knows it.

    Attributes:
        began: the first number of this epoch.
        placeholder: the version of the placeholder at head + 1; None when there is none.
        announced: the version of the object that says who the owner is.
        beat: how often that was written.
        doubtful: whether an append may still be on its way.
        lost: whether somebody else was seen to be the owner.
        busy: whether something was appended since the last beat.
        uploads: the unfinished blobs, by name.
        turn: held while something looks at the end of the log, or moves it.
    """

    run_id: str
    log: Log
    holder: str
    epoch: int
    head: int
    began: int
    placeholder: UpdateVersion | None
    announced: UpdateVersion | None = None
    beat: int = 0
    doubtful: bool = False
    lost: bool = False
    busy: bool = False
    uploads: dict[str, Upload] = field(default_factory=dict)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class Tail(Struct, frozen=True):
    """The object with the greatest number."""

    number: int
    record: Record
    version: UpdateVersion
    modified: datetime

    @property
    def head(self) -> int:
        """The newest entry's number."""
        if self.record.kind == CLAIM and not self.record.flaw:
            return max(self.number, self.record.began) - 1
        return self.number - 1 if self.record.flaw == TORN else self.number

    @property
    def place(self) -> tuple[int, Condition]:
        """Where the next owner puts its placeholder, and on which condition."""
        following = self.head + 1
        return (following, self.version) if following == self.number else (following, "create")


class Log:
    """The log of one run. An object of it is immutable once it is whole, until it is deleted."""

    def __init__(self, client: ObjectClient, folder: str, cache: RecordCache) -> None:
        """Know nothing yet of the log that lies in `folder`."""
        self.folder = folder
        self._client = client
        self._greatest = 0
        self._began: dict[int, int] = {}
        self._cache = cache

    async def tail(self) -> Tail | None:
        """The object with the greatest number; None when there is none."""
        while page := await self._last_page():
            listed = page[-1]
            found = await self._client.get(listed.key, listed.size)
            if found is not None:
                self._greatest = number_of(listed.key)
                return Tail(self._greatest, decode(found.data, found.size), found.version, found.modified)
        return None

    async def newest_epoch(self, tail: Tail) -> int:
        """The epoch at the tail; of a flawed one, at least that before it."""
        epoch = tail.record.epoch
        if tail.record.flaw:
            before = await self._client.get(numbered(self.folder, tail.number - 1), UNKNOWN)
            epoch = max(epoch, decode(before.data, before.size).epoch if before else 0)
        return epoch

    async def is_last(self, number: int) -> bool:
        """Whether nothing has a greater number."""
        return not await self._page(number)

    async def void(self, number: int, version: UpdateVersion) -> None:
        """Take back a placeholder that was put where the log had gone on."""
        await self._client.put(numbered(self.folder, number), TOMBSTONE, version)

    async def claim(
        self, epoch: int, client_id: bytes, holder: str, head: int, place: tuple[int, Condition]
    ) -> Put:
        """Put a placeholder, after which the owner of this epoch may add entry `head` + 1."""
        number, condition = place
        record = Record(CLAIM, epoch, number, head + 1, client_id, text_bytes(holder))
        return await self._client.put_settled(numbered(self.folder, number), encode(record), condition)

    async def append(self, owned: Owned, number: int, entry: Sequence[bytes], meta: bytes) -> None:
        """Put the next entry where everybody contends; what `StorageBackend.append` says holds."""
        async with owned.turn:
            if owned.doubtful:
                await self._look_again(owned)
            if number != owned.head + 1:
                raise refusal.not_next(self._client.name, number, owned.head)
            await self._append(owned, number, entry, meta)

    async def _append(self, owned: Owned, number: int, entry: Sequence[bytes], meta: bytes) -> None:
        was_doubtful = owned.doubtful
        data = encode(Record(ENTRY, owned.epoch, number, owned.began, meta, b"".join(entry)))
        owned.doubtful = True
        try:
            await self._put(owned, number, data)
        except UnknownOutcomeError:
            raise
        except StorageError:
            owned.doubtful = was_doubtful
            raise
        self._advance(owned, number)

    async def check_owned(self, owned: Owned) -> None:
        """Look at the tail.

        Raises:
            FencedError: it is somebody else's.
        """
        async with owned.turn:
            await self._check(owned)

    async def list_entries(self, after: int, limit: int) -> list[EntryInfo]:
        """The entries after a number; listed again while some go: a hole that is seen is one that stays.

        Raises:
            StorageUnavailableError: they go as fast as they are listed.
        """
        before = None
        for wait in waits(_TRIES):
            infos = await self._infos(after, limit)
            if infos is not None and (infos == before or _is_unbroken(infos)):
                return infos
            before = infos
            await asyncio.sleep(wait)
        message = f"{self._client.name}: entries go as fast as they are listed"
        raise StorageUnavailableError(message, hint="try again when less is deleted")

    async def read(self, epoch: int, sequence: int, offset: int, length: int | None) -> bytes:
        """Bytes of an entry; what `StorageBackend.read` says holds."""
        record = await self._record(sequence, UNKNOWN)
        name = self._client.name
        if record is None or (record.flaw == TORN and await self.is_last(sequence)):
            raise refusal.no_entry(name, epoch, sequence)
        if record.flaw:
            message = f"{name}: entry {sequence}: {record.flaw}"
            raise CorruptionError(message, lost=[f"entry {sequence}"])
        if record.kind != ENTRY or record.epoch != epoch:
            raise refusal.no_entry(name, epoch, sequence)
        end = record.size if length is None else min(record.size, offset + length)
        if end <= len(record.body):
            return record.body[offset:end]
        key, start = numbered(self.folder, sequence), record.start + offset
        data = await self._client.get_range(key, start, max(end - offset, 0))
        if data is None:
            raise refusal.no_entry(name, epoch, sequence)
        return data

    async def delete(self, owned: Owned, entries: Sequence[EntryInfo], client_id: bytes) -> None:
        """Look at the tail, then delete entries; what `StorageBackend.delete` says holds.

        An owner that is replaced after that look still deletes what it had decided to delete. These are
        entries that its own later ones have made needless, and the new owner reads those later ones too.

        The numbers that an owner before this one may still contend for stay taken: around each take-over, the
        last one of the old owner, which it may be trying again, and the first one of the new owner.
        """
        async with owned.turn:
            await self._check(owned)
            if any(entry.sequence == owned.head for entry in entries) and owned.placeholder is None:
                await self._hold_place(owned, client_id)
        entries = [entry for entry in entries if entry.sequence <= owned.head]
        buried = await self._contended(owned, entries)
        numbers = sorted(entry.sequence for entry in entries)
        for is_buried, some in groupby(numbers, buried.__contains__):  # the oldest go first
            keys = [numbered(self.folder, number) for number in some]
            if is_buried:
                await together(self._client.overwrite(key, TOMBSTONE) for key in keys)
            else:
                await self._client.delete(keys)
        for number in numbers:
            self._cache.drop(numbered(self.folder, number))

    async def _look_again(self, owned: Owned) -> None:
        """Find out whether an append in doubt is there after all."""
        number = owned.head + 1
        found = await self._client.get(numbered(self.folder, number), UNKNOWN)
        if found is not None and _is_entry_of(owned, decode(found.data, found.size)):
            self._advance(owned, number)

    async def _check(self, owned: Owned) -> None:
        if owned.doubtful:
            await self._look_again(owned)
        after = await self._page(owned.head)
        sound = not owned.lost and len(after) == (owned.placeholder is not None)
        if sound and after:
            found = await self._client.get(after[0].key)
            sound = found is not None and found.version == owned.placeholder
        if not sound:
            raise refusal.fenced(self._client.name, owned.run_id, owned.epoch)

    async def _hold_place(self, owned: Owned, client_id: bytes) -> None:
        """Put a placeholder after the newest entry, which is to be deleted."""
        place: tuple[int, Condition] = (owned.head + 1, "create")
        put = await self.claim(owned.epoch, client_id, owned.holder, owned.head, place)
        if put.version is None:
            raise refusal.fenced(self._client.name, owned.run_id, owned.epoch)
        owned.placeholder = put.version

    async def _contended(self, owned: Owned, entries: Sequence[EntryInfo]) -> set[int]:
        """Which of these numbers an owner before this one may still contend for, or for all that is known."""
        last: dict[int, int] = {}
        for entry in entries:
            if entry.epoch != owned.epoch:
                last[entry.epoch] = max(entry.sequence, last.get(entry.epoch, 0))
        strange = {entry.sequence for entry in entries if entry.epoch not in self._began}
        following = {number + 1 for number in last.values()} - {owned.began}
        numbers = sorted(strange | following)
        records = await together(self._record(number, UNKNOWN) for number in numbers)
        read = dict(zip(numbers, records, strict=True))
        gone = {number - 1 for number in following if (read[number] or Record(kind=0)).kind != ENTRY}
        firsts = {owned.began, *self._began.values()}
        return {
            entry.sequence
            for entry in entries
            if entry.epoch not in self._began
            or entry.sequence in gone
            or not firsts.isdisjoint((entry.sequence, entry.sequence + 1))
        }

    def _advance(self, owned: Owned, number: int) -> None:
        owned.head = number
        owned.placeholder, owned.doubtful, owned.busy = None, False, True
        self._greatest = max(self._greatest, owned.head)
        self._began[owned.epoch] = owned.began

    async def _put(self, owned: Owned, number: int, data: bytes) -> None:
        """Put the entry, again and again while nobody knows; it is the same object each time."""
        condition: Condition = owned.placeholder or "create"
        doubtful = False
        unknown = UnknownOutcomeError(
            f"{self._client.name}: entry {number} of run {owned.run_id[:200]!r}: no answer is certain",
            hint="list before trying again",
        )
        for wait in waits(_TRIES):
            try:
                put = await self._client.put(numbered(self.folder, number), data, condition)
            except StorageError as error:
                raise (unknown if doubtful else error) from error
            if put.version is not None:
                return
            doubtful = doubtful or put.doubtful
            condition = await self._next_condition(owned, put.found, condition)
            await asyncio.sleep(wait)
        raise unknown

    async def _next_condition(self, owned: Owned, found: Found | None, condition: Condition) -> Condition:
        """On which condition the entry may be tried again, seeing what is there instead.

        Raises:
            FencedError: what is there is somebody else's.
        """
        if (found is None and condition == "create") or (found is not None and found.version == condition):
            return condition
        record = Record(kind=0) if found is None else decode(found.data, found.size)
        if found is not None and record.flaw == TORN and await self._is_announced(owned):
            return found.version
        if _is_entry_of(owned, record):
            self._advance(owned, record.sequence)
            raise refusal.not_next(self._client.name, record.sequence, owned.head)
        owned.lost = True
        raise refusal.fenced(self._client.name, owned.run_id, owned.epoch)

    async def _is_announced(self, owned: Owned) -> bool:
        """Whether no later owner was granted the run: then a torn object is nobody's but ours to replace."""
        found = await self._client.get(owner_key(self.folder))
        return found is not None and decode(found.data, found.size).epoch == owned.epoch

    async def _last_page(self) -> list[Listed]:
        """The end of the listing, found in strides that grow and then shrink."""
        page = await self._page(max(self._greatest - 1, 0))
        stride = PAGE
        while len(page) == PAGE:
            further = await self._page(number_of(page[-1].key) + stride)
            if further:
                page, stride = further, stride * _STRIDE
            elif stride:
                stride = stride // _STRIDE if stride > PAGE else 0
            else:
                break
        return page

    async def _page(self, after: int) -> list[Listed]:
        """The next objects after a number."""
        return await self._client.page(self.folder, numbered(self.folder, after) if after > 0 else "")

    async def _infos(self, after: int, limit: int) -> list[EntryInfo] | None:
        """The entries after a number, read many at once; None when one went before it was read."""
        infos: list[EntryInfo] = []
        while page := await self._page(after):
            kept = [listed for listed in page if listed.size != len(TOMBSTONE)]
            while kept and len(infos) < limit:
                some, kept = kept[: limit - len(infos)], kept[limit - len(infos) :]
                last = page[-1] if len(page) < PAGE else None
                records = await together(self._record(number_of(one.key), one.size) for one in some)
                for listed, record in zip(some, records, strict=True):
                    if record is None:
                        return None
                    if (info := _info(number_of(listed.key), record, is_last=listed is last)) is not None:
                        infos.append(info)
            after = number_of(page[-1].key)
            if len(page) < PAGE or len(infos) >= limit:
                break
        return infos

    async def _record(self, number: int, size: int) -> Record | None:
        """An object's content, or its beginning; None when it is not there, or its content was deleted."""
        key = numbered(self.folder, number)
        if (record := self._cache.find(key)) is not None:
            return record
        found = await self._client.get(key, size)
        if found is None or found.data == TOMBSTONE:
            return None
        record = decode(found.data, found.size)
        if record.kind == ENTRY and not record.flaw:
            self._began[record.epoch] = record.began
            self._cache.keep(key, record)
        return record


def owner_key(log_folder: str) -> str:
    """Where it says who owns the run of this log."""
    return f"{log_folder.rpartition('/')[0]}/owner"


def _info(number: int, record: Record, *, is_last: bool) -> EntryInfo | None:
    """What is to be listed of an object; None when it is no entry."""
    if (record.kind == CLAIM and not record.flaw) or (record.flaw == TORN and is_last):
        return None
    damage = "it is cut off" if record.flaw == TORN else record.flaw
    return EntryInfo(record.epoch, number, record.size, record.meta, damage=damage)


def _is_unbroken(infos: Sequence[EntryInfo]) -> bool:
    return not infos or infos[-1].sequence - infos[0].sequence == len(infos) - 1


def _is_entry_of(owned: Owned, record: Record) -> bool:
    return record.kind == ENTRY and not record.flaw and record.epoch == owned.epoch
