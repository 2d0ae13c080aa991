"""Redis as a storage: fast, shared by machines, and as durable as the server's settings are."""

# ruff: noqa: D102 - the contract is written once, in abc.py

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import anyio

from kernelckpt.abc import BlobInfo, Claim, EntryInfo, PostedMessage, StorageBackend
from kernelckpt.errors import (
    CorruptionError,
)
from kernelckpt.storage import refusal
from kernelckpt.storage.check import check_entry, check_name, check_page, check_part, check_range
from kernelckpt.storage.fork import leave_to_parent
from kernelckpt.storage.redis import script as scripts
from kernelckpt.storage.redis.key import RunKeys
from kernelckpt.storage.redis.owner import RedisOwner
from kernelckpt.storage.redis.record import entry_value, part_ranges, part_sizes, read_entry
from kernelckpt.storage.redis.removal import BATCH, Removal, pairs, sweep
from kernelckpt.storage.redis.script import Script
from kernelckpt.storage.redis.server import RedisServer
from kernelckpt.storage.redis.setting import Verdict, look_at_server
from kernelckpt.storage.redis.url import parse_redis_url
from kernelckpt.storage.retrying import RetryingStorage
from kernelckpt.storage.text import bytes_text, text_bytes

_ENTRY_BYTES = 512 * 1024 * 1024
_TRIES = 3
_PAGE = 1000
_FAR = 1 << 40


async def open_redis(
    url: str, *, sleep: Callable[[float], Awaitable[object]] = anyio.sleep
) -> StorageBackend:
    """Open the storage of a `redis:` or `rediss:` URL; what can be repeated is tried a few times.

    A server that still loads what it keeps is waited for, about a minute.

    Args:
        url: the URL.
        sleep: waits for so many seconds.

    Raises:
        StorageUrlError: it names no server, or an option that does not exist.
        StorageUnavailableError: it cannot be reached, is no server to keep runs on, or would lose what it
            acknowledges.
        UnsupportedVersionError: a newer version wrote what is there.
    """
    where = parse_redis_url(url)
    server = RedisServer(where, seconds=where.timeout)
    try:
        verdict = await look_at_server(server, where, sleep)
    except BaseException:
        await server.aclose()
        raise
    return RetryingStorage(RedisStorage(server, where.prefix, verdict), tries=_TRIES)


class RedisStorage(StorageBackend):
    """Runs kept in a Redis server; each call is one script, or a read.

    A forked child that inherits one finds it closed.
    """

    def __init__(
        self,
        server: RedisServer,
        prefix: str,
        verdict: Verdict,
        *,
        sleep: Callable[[float], Awaitable[object]] = anyio.sleep,
    ) -> None:
        """Use a server whose settings and layout were looked at.

        Args:
            server: it is closed with this storage.
            prefix: what all keys begin with.
            verdict: what was found.
            sleep: waits so many seconds until ownership is renewed.
        """
        self.name = server.name
        self.durable = verdict.durable
        self.notes = verdict.notes
        self._server = server
        self._prefix = prefix
        self._owner = RedisOwner(server, prefix, sleep=sleep)
        self._closed = False
        leave_to_parent(self)

    def after_fork(self) -> None:
        """Be closed: connections and runs are the parent's, and two cannot talk over one connection."""
        self._closed = True

    async def acquire(self, run_id: str, holder: str, *, takeover: bool = False) -> Claim:
        check_name(run_id, "run id")
        self._begin()
        return await self._owner.claim(run_id, holder, takeover=takeover)

    async def acquire_as(self, run_id: str, holder: str, claim: Claim) -> None:
        check_name(run_id, "run id")
        self._begin()
        await self._owner.claim(run_id, holder, wanted=claim)

    async def release(self, run_id: str, epoch: int) -> None:
        self._begin()
        await self._owner.release(run_id, epoch)

    async def append(
        self, run_id: str, epoch: int, sequence: int, entry: Sequence[bytes], meta: bytes
    ) -> None:
        check_entry(entry, meta, limit=_ENTRY_BYTES)
        keys = self._keys(run_id)
        value = entry_value(epoch, sum(map(len, entry)), meta)
        where = (keys.run, keys.entries, keys.body(epoch, sequence))
        body = b"".join(entry)
        word, found = await self._as_owner(run_id, epoch, scripts.APPEND, where, sequence, value, body)
        if word == "not_next":
            raise self._owner.not_next(run_id, sequence, int(found[0]))
        self._owner.acknowledged(run_id, sequence)

    async def list_entries(self, run_id: str, *, after: int = 0, limit: int = 1000) -> Sequence[EntryInfo]:
        check_page(after, limit)
        keys = self._keys(run_id)
        found: list[EntryInfo] = []
        while True:  # in pages: one of all entries would hold everybody else up
            count = min(limit - len(found), _PAGE)
            arguments = (f"{after + 1}-0", count)
            page = await self._look(run_id, scripts.LIST, (keys.run, keys.entries), *arguments)
            found += map(read_entry, page)
            if len(page) < count or len(found) == limit:
                return found
            after = found[-1].sequence

    async def list_newest(self, run_id: str, *, limit: int = 1000) -> Sequence[EntryInfo]:
        check_page(0, limit)
        keys = self._keys(run_id)
        count = min(limit, _PAGE)
        found = await self._look(run_id, scripts.LIST_NEWEST, (keys.run, keys.entries), count)
        return [read_entry(item) for item in reversed(found)]

    async def read(
        self, run_id: str, epoch: int, sequence: int, *, offset: int = 0, length: int | None = None
    ) -> bytes:
        check_range(offset, length)
        keys = self._keys(run_id)
        body = keys.body(epoch, sequence)
        if data := await self._range(body, offset, _FAR if length is None else offset + length):
            return data
        word, found = await self._server.run(scripts.MISSED, (keys.entries, body), f"{sequence}-0")
        if word == "listed" and read_entry((b"%d-0" % sequence, [b"", found[0]])).epoch == epoch:
            raise CorruptionError(f"{self.name}: entry {sequence} of run {run_id!r} has lost its bytes")
        if word != "ok":
            raise refusal.no_entry(self.name, epoch, sequence)
        return b""

    async def write_part(self, run_id: str, epoch: int, name: str, index: int, data: Sequence[bytes]) -> None:
        check_name(name, "blob name")
        check_part(index, index, data)
        keys, blob = self._keys(run_id), text_bytes(name)
        where = (keys.run, keys.begun, keys.blobs, keys.part(epoch, blob, index))
        arguments = (blob, _begun_field(epoch, blob), index, b"".join(data))
        word, found = await self._as_owner(run_id, epoch, scripts.PART, where, *arguments)
        if word == "taken":
            raise refusal.name_taken(name)
        if word == "index":
            check_part(index, int(found[0]), data)

    async def finish_blob(self, run_id: str, epoch: int, name: str) -> BlobInfo:
        keys, blob = self._keys(run_id), text_bytes(name)
        where = (keys.run, keys.begun, keys.blobs)
        arguments = (blob, _begun_field(epoch, blob))
        word, found = await self._as_owner(run_id, epoch, scripts.FINISH, where, *arguments)
        if word == "taken":
            raise refusal.name_taken(name)
        if word == "no_parts":
            raise refusal.no_parts(self.name, name)
        return BlobInfo(name, sum(part_sizes(b"0:" + found[0])[1]))

    async def read_blob(self, run_id: str, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        check_range(offset, length)
        keys, blob = self._keys(run_id), text_bytes(name)
        value = await self._server.ask("HGET", keys.blobs, blob)
        if value is None:
            raise refusal.no_blob(self.name, name)
        epoch, sizes = part_sizes(value)
        pieces = []
        for index, first, behind in part_ranges(sizes, offset, length):
            pieces.append(await self._range(keys.part(epoch, blob, index), first, behind))
            if len(pieces[-1]) != behind - first:
                if await self._server.ask("HEXISTS", keys.blobs, blob):
                    raise CorruptionError(f"{self.name}: part {index} of blob {name!r} is not whole")
                raise refusal.no_blob(self.name, name)
        return b"".join(pieces)

    async def list_blobs(self, run_id: str) -> Sequence[BlobInfo]:
        keys = self._keys(run_id)
        found = await self._look(run_id, scripts.LIST_HASH, (keys.run, keys.blobs))
        blobs = [BlobInfo(bytes_text(name), sum(part_sizes(value)[1])) for name, value in pairs(found)]
        return sorted(blobs, key=lambda blob: blob.name)

    async def delete(
        self, run_id: str, epoch: int, *, entries: Sequence[EntryInfo] = (), blobs: Sequence[str] = ()
    ) -> None:
        keys = self._keys(run_id)
        for start in range(0, len(entries), BATCH):
            removal = Removal(keys)
            for entry in entries[start : start + BATCH]:
                removal.add_entry(entry.epoch, entry.sequence)
            await self._remove(run_id, epoch, removal)
        names = {text_bytes(name) for name in blobs}
        removal = Removal(keys)
        for name, value in pairs(await self._server.ask("HGETALL", keys.blobs)):
            if name in names:
                removal.add_blob(name, value)
        for field, sizes in pairs(await self._server.ask("HGETALL", keys.begun)):
            if field.partition(b":")[2] in names or not field.startswith(b"%d:" % epoch):
                removal.add_begun(field, sizes)
        await self._remove(run_id, epoch, removal)

    async def post(self, run_id: str, message_id: str, data: bytes) -> bool:
        check_name(message_id, "message id")
        keys = self._keys(run_id)
        where = (keys.run, keys.inbox)
        return bool(await self._look(run_id, scripts.POST, where, text_bytes(message_id), data))

    async def posted(self, run_id: str) -> Sequence[PostedMessage]:
        keys = self._keys(run_id)
        found = await self._look(run_id, scripts.LIST_HASH, (keys.run, keys.inbox))
        messages = [_message(message_id, value) for message_id, value in pairs(found)]
        return sorted(messages, key=lambda message: message.order)

    async def delete_posted(self, run_id: str, message_ids: Sequence[str]) -> None:
        keys = self._keys(run_id)
        for start in range(0, len(message_ids), BATCH):
            ids = message_ids[start : start + BATCH]
            await self._server.ask("HDEL", keys.inbox, *map(text_bytes, ids))

    async def list_runs(self) -> Sequence[str]:
        self._begin()
        return sorted(map(bytes_text, await self._server.ask("SMEMBERS", f"{self._prefix}:runs")))

    async def delete_run(self, run_id: str) -> None:
        keys = self._keys(run_id)
        where = (keys.run, keys.alive, f"{self._prefix}:runs".encode())
        word, found = await self._server.run(scripts.MARK_DELETED, where, text_bytes(run_id))
        if word == "none":
            raise refusal.no_run(self.name, run_id)
        if word == "owned":
            raise refusal.owned(run_id, bytes_text(found[0]))
        await sweep(self._server, keys, found[0])

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            try:
                await self._owner.aclose()
            finally:
                await self._server.aclose()

    def _begin(self) -> None:
        if self._closed:
            raise refusal.closed(self.name)

    def _keys(self, run_id: str) -> RunKeys:
        self._begin()
        return RunKeys(self._prefix, run_id)

    async def _look(self, run_id: str, script: Script, keys: Sequence[bytes], *arguments: Any) -> Any:
        word, found = await self._server.run(script, keys, *arguments)
        if word == "none":
            raise refusal.no_run(self.name, run_id)
        return found[0]

    async def _as_owner(
        self, run_id: str, epoch: int, script: Script, keys: Sequence[bytes], *arguments: Any
    ) -> tuple[str, list[Any]]:
        guard = (epoch, self._owner.token)
        word, found = await self._server.run(script, keys, *guard, *arguments, doubtful=True)
        if word in {"none", "fenced"}:
            raise self._owner.refused(run_id, epoch, word, found)
        return word, found

    async def _remove(self, run_id: str, epoch: int, removal: Removal) -> None:
        word, found = await removal.run(self._server, scripts.REMOVE, epoch, self._owner.token)
        if word != "ok":
            raise self._owner.refused(run_id, epoch, word, found)

    async def _range(self, key: bytes, first: int, behind: int) -> bytes:
        if first >= behind:
            return b""  # Redis would take an end of -1 for the last byte
        found: bytes = await self._server.ask("GETRANGE", key, min(first, _FAR), min(behind, _FAR) - 1)
        return found


def _begun_field(epoch: int, blob: bytes) -> bytes:
    return b"%d:" % epoch + blob


def _message(message_id: bytes, value: bytes) -> PostedMessage:
    order, _, data = value.partition(b":")
    return PostedMessage(bytes_text(message_id), int(order), data)
