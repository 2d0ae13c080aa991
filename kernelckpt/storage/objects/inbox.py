"""The inbox of a run: numbered objects, each put at the number after all that its poster has seen."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence

from msgspec import Struct

from kernelckpt.abc import PostedMessage
from kernelckpt.errors import UnknownOutcomeError
from kernelckpt.storage.objects.client import PAGE, Listed, ObjectClient
from kernelckpt.storage.objects.key import number_of, numbered
from kernelckpt.storage.objects.pause import waits
from kernelckpt.storage.objects.record import MESSAGE, TOMBSTONE, TORN, Record, decode, encode
from kernelckpt.storage.text import bytes_text, text_bytes
from kernelckpt.storage.together import together

_TRIES = 100


class _Seen(Struct, frozen=True):
    """A message as it was read; None where there is none, or not any more."""

    size: int
    e_tag: str | None
    message: PostedMessage | None
    attempt: bytes = b""


class Inbox:
    """Messages of one run.

    A number is taken by a conditional put after everything below it was read, and the greatest number is
    never freed. So what was acknowledged before a message was posted has a smaller number, and an id is
    there once.
    """

    def __init__(self, client: ObjectClient, folder: str) -> None:
        """Know nothing yet of the inbox that lies in `folder`."""
        self._client = client
        self._folder = folder
        self._seen: dict[int, _Seen] = {}
        self._loaded = False

    async def post(self, message_id: str, data: bytes) -> bool:
        """Add a message; false when one of its id is there."""
        attempt = os.urandom(16)
        for wait in waits(_TRIES):
            seen = await self._load()
            for one in seen.values():
                if one.message is not None and one.message.message_id == message_id:
                    return one.attempt == attempt
            number = max(seen, default=0) + 1
            record = Record(MESSAGE, sequence=number, attempt=attempt, body=_packed(message_id, data))
            put = await self._client.put(numbered(self._folder, number), encode(record), "create")
            if put.version is not None:
                return True
            await asyncio.sleep(wait)
        raise UnknownOutcomeError(f"{self._client.name}: {message_id[:200]!r} could not be posted")

    async def posted(self) -> list[PostedMessage]:
        """What is there: damaged ones first, then the oldest. Of an empty one the next is asked."""
        if self._loaded and all(one.message is None for one in self._seen.values()):
            following = max(self._seen, default=0) + 1
            if await self._client.head(numbered(self._folder, following)) is None:
                return []
        seen = await self._load()
        messages = [one.message for _, one in sorted(seen.items()) if one.message is not None]
        return sorted(messages, key=lambda message: not message.damage)

    async def delete(self, message_ids: Sequence[str]) -> None:
        """Remove messages; the greatest number stays taken, and those that stayed so before are freed."""
        seen = await self._load()
        wanted = set(message_ids)
        gone = {n for n, one in seen.items() if one.message is not None and one.message.message_id in wanted}
        greatest = max(seen, default=0)
        if greatest in gone:
            await self._client.overwrite(numbered(self._folder, greatest), TOMBSTONE)
        gone |= {number for number, one in seen.items() if one.size == len(TOMBSTONE)}
        await self._client.delete(numbered(self._folder, number) for number in sorted(gone - {greatest}))

    async def _load(self) -> dict[int, _Seen]:
        listed: list[Listed] = []
        while page := await self._client.page(self._folder, listed[-1].key if listed else ""):
            listed += page
            if len(page) < PAGE:
                break
        seen = await together(map(self._look, listed))
        self._seen = {number_of(one.key): found for one, found in zip(listed, seen, strict=True) if found}
        self._loaded = True
        return self._seen

    async def _look(self, listed: Listed) -> _Seen | None:
        number = number_of(listed.key)
        known = self._seen.get(number)
        if known is not None and (known.size, known.e_tag) == (listed.size, listed.e_tag):
            return known
        if listed.size == len(TOMBSTONE):
            return _Seen(listed.size, listed.e_tag, None)
        found = await self._client.get(listed.key)
        if found is None:
            return None
        record = decode(found.data, found.size)
        if found.data == TOMBSTONE or record.flaw == TORN:
            return _Seen(found.size, listed.e_tag, None)
        return _Seen(found.size, listed.e_tag, _message(number, record), record.attempt)


def _packed(message_id: str, data: bytes) -> bytes:
    raw = text_bytes(message_id)
    return len(raw).to_bytes(4, "big") + raw + data


def _message(number: int, record: Record) -> PostedMessage:
    if record.flaw:
        return PostedMessage("", number, b"", record.flaw)
    end = 4 + int.from_bytes(record.body[:4], "big")
    return PostedMessage(bytes_text(record.body[4:end]), number, record.body[end:])
