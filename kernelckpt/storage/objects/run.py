"""Runs of a bucket: one object says that a run exists, and in which folder it lies this time."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from kernelckpt.errors import CorruptionError, FormatError, KernelCkptError, StorageUnavailableError
from kernelckpt.storage import refusal
from kernelckpt.storage.objects.client import Found, ObjectClient
from kernelckpt.storage.objects.key import run_id_of, run_key
from kernelckpt.storage.objects.pause import waits
from kernelckpt.storage.objects.record import DOOMED, RUN, TORN, Record, decode, encode
from kernelckpt.storage.text import bytes_text, text_bytes
from kernelckpt.storage.together import together

if TYPE_CHECKING:
    from obstore import UpdateVersion

    from kernelckpt.storage.objects.client import Condition

_TRIES = 20


class Place(Struct, frozen=True):
    """Where a run lies.

    Attributes:
        folder: the folder of this very run; another one of the same id gets another.
        doomed: whether its deletion was begun.
        version: of the object that says so.
    """

    folder: str
    doomed: bool
    version: UpdateVersion


class Runs:
    """The runs of a bucket. Something late for a deleted run goes into a folder that nobody looks at."""

    def __init__(self, client: ObjectClient) -> None:
        """Ask for nothing yet."""
        self._client = client
        self._folder = f"{client.prefix}runs"

    async def find(self, run_id: str) -> Place | None:
        """Where a run lies; None when there is none.

        Raises:
            CorruptionError: what says so is damaged.
        """
        found = await self._client.get(self._key(run_id))
        if found is None or (record := self._sound(self._key(run_id), found)) is None:
            return None
        return Place(self._attempt(run_id, record.attempt), record.kind == DOOMED, found.version)

    async def create(self, run_id: str) -> Place:
        """Where a run lies, which exists from now on."""
        body = text_bytes(run_id)
        for wait in waits(_TRIES):
            place = await self.find(run_id)
            if place is not None and not place.doomed:
                return place
            condition: Condition = "create"
            if place is not None:
                await self._empty(place.folder)
                condition = place.version
            put = await self._client.put(self._key(run_id), encode(Record(RUN, body=body)), condition)
            if put.version is None and put.found and self._sound(self._key(run_id), put.found) is None:
                record = encode(Record(RUN, body=body))
                await self._client.put(self._key(run_id), record, put.found.version)
            await asyncio.sleep(0 if put.version is not None else wait)
        raise StorageUnavailableError(f"{self._client.name}: run {run_id[:200]!r} cannot be created")

    async def attempts(self, run_id: str) -> Sequence[str]:
        """The folders of all runs of this id that there ever were, as far as something is left in them."""
        return await self._client.folders(self._of(run_id))

    async def doom_damaged(self, run_id: str) -> Place | None:
        """`doom` for a run of which nobody can say where it lies; None when that was mended meanwhile."""
        found = await self._client.get(self._key(run_id))
        if found is None:
            return None
        lost = Place(self._attempt(run_id, os.urandom(16)), False, found.version)
        return await self.doom(run_id, lost)

    async def doom(self, run_id: str, place: Place) -> Place | None:
        """Begin to delete a run: from now on it cannot be read; None when somebody else was faster."""
        body = text_bytes(run_id)
        record = Record(DOOMED, body=body, attempt=bytes.fromhex(place.folder[-32:]))
        put = await self._client.put_settled(self._key(run_id), encode(record), place.version)
        return None if put.version is None else Place(place.folder, True, put.version)

    async def remove(self, run_id: str, place: Place) -> None:
        """Delete what a doomed run and earlier ones consist of, at last the object that says so."""
        await self._empty(place.folder)
        left = await self.attempts(run_id)
        if await self.find(run_id) == place:  # else one of these is of a run that was made anew
            for folder in left:
                await self._empty(folder)
            await self._client.delete([self._key(run_id)])

    async def names(self) -> Sequence[str]:
        """See `StorageBackend.list_runs`; one that is being deleted is still there."""
        folders = await self._client.folders(self._folder)
        found = await together(self._client.get(f"{folder}/run") for folder in folders)
        names: list[str] = []
        damaged: dict[str, KernelCkptError] = {}
        for folder, one in zip(folders, found, strict=True):
            try:
                if one is not None and (record := self._sound(f"{folder}/run", one)) is not None:
                    names.append(bytes_text(record.body))
            except FormatError as error:
                name = folder.rpartition("/")[2]
                damaged[run_id_of(name) or name] = error
        if damaged:
            raise refusal.damaged_runs(self._client.name, names, damaged)
        return sorted(names)

    def _sound(self, key: str, found: Found) -> Record | None:
        """What such an object says; None of one that is cut off, for nothing was acknowledged of its run."""
        record = decode(found.data, found.size)
        if record.flaw and record.flaw != TORN:
            message = f"{self._client.name}: {key}, which says where a run lies: {record.flaw}"
            raise CorruptionError(message, hint="restore it; the run itself is beside it", lost=(key,))
        return None if record.flaw else record

    async def _empty(self, folder: str) -> None:
        while page := await self._client.page(folder):
            await self._client.delete(listed.key for listed in page)

    def _of(self, run_id: str) -> str:
        """The folder of all runs of an id."""
        return f"{self._folder}/{run_key(run_id)}"

    def _key(self, run_id: str) -> str:
        return f"{self._of(run_id)}/run"

    def _attempt(self, run_id: str, attempt: bytes) -> str:
        """The folder of one of them."""
        return f"{self._of(run_id)}/{attempt.hex()}"
