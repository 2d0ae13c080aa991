"""Who owns a run: an object that the owner writes again and again, so that others see it alive."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

from msgspec import Struct

from kernelckpt.errors import FormatError, StorageError
from kernelckpt.storage.objects.client import Found, ObjectClient
from kernelckpt.storage.objects.log import Owned, Tail, owner_key
from kernelckpt.storage.objects.pause import waits
from kernelckpt.storage.objects.record import OWNER, RELEASED, Record, decode, encode
from kernelckpt.storage.text import text_bytes

if TYPE_CHECKING:
    from obstore import UpdateVersion

    from kernelckpt.storage.objects.client import Condition

BEAT_SECONDS = 8.0
DEAD_AFTER = timedelta(seconds=25)
_TRIES = 12


class Owner(Struct, frozen=True):
    """What the object says of the newest owner."""

    record: Record
    found: Found


async def find_owner(client: ObjectClient, log_folder: str) -> Owner | None:
    """The newest owner of a run; None when none was announced."""
    found = await client.get(owner_key(log_folder))
    return None if found is None else Owner(decode(found.data, found.size), found)


async def living_holder(
    client: ObjectClient, client_id: bytes, tail: Tail | None, owner: Owner | None
) -> str | None:
    """What the owner says of itself if it is alive, and another client; judged by the server's clock."""
    if tail is None:
        return None
    newest = tail.record
    if owner is not None and not owner.record.flaw and owner.record.epoch >= newest.epoch:
        newest = owner.record
        if newest.kind == RELEASED:
            return None
    if newest.meta == client_id:
        return None
    seen = [tail.modified] if owner is None else [tail.modified, owner.found.modified]
    if await client.now() - max(seen) > DEAD_AFTER:
        return None
    return newest.body.decode("utf-8", "replace") or "another process"


async def announce(
    client: ObjectClient, client_id: bytes, owned: Owned, known: UpdateVersion | None, kind: int = OWNER
) -> bool:
    """Say who the owner is, or that it is none any more; false when a later one has said so."""
    condition: Condition = known or "create"
    owned.beat += 1
    data = _said(owned, client_id, kind)
    for wait in waits(_TRIES):
        put = await client.put(owner_key(owned.log.folder), data, condition)
        if put.version is not None:
            owned.announced = put.version
            return True
        if put.found is not None:
            if decode(put.found.data, put.found.size).epoch > owned.epoch:
                return False
            condition = put.found.version
        elif condition != "create":
            return False  # the run was deleted
        await asyncio.sleep(wait)
    return False


class Heartbeat:
    """The task that keeps the runs of one client alive."""

    def __init__(
        self,
        client: ObjectClient,
        client_id: bytes,
        owned: Callable[[], list[Owned]],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Begin nothing yet; `owned` gives the runs whose time it is."""
        self._client = client
        self._client_id = client_id
        self._owned = owned
        self._sleep = sleep
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Beat until there is nothing to beat for."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="kernelckpt heartbeat")

    async def stop(self) -> None:
        """End the task."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    async def _run(self) -> None:
        while self._owned():
            await self._sleep(BEAT_SECONDS)
            await asyncio.gather(*map(self._beat, self._owned()))

    async def _beat(self, owned: Owned) -> None:
        """Write it once, unless an append was a sign of life; the next beat is another try."""
        if owned.busy or owned.lost:
            owned.busy = False
            return
        with suppress(StorageError, FormatError):
            owned.beat += 1
            condition: Condition = owned.announced or "create"
            data = _said(owned, self._client_id, OWNER)
            put = await self._client.put(owner_key(owned.log.folder), data, condition)
            if put.version is not None:
                owned.announced = put.version
            elif put.found is None or decode(put.found.data, put.found.size).epoch > owned.epoch:
                owned.lost = True
            else:
                owned.announced = put.found.version


def _said(owned: Owned, client_id: bytes, kind: int) -> bytes:
    body = text_bytes(owned.holder)
    return encode(Record(kind, owned.epoch, owned.beat, owned.began, client_id, body))
