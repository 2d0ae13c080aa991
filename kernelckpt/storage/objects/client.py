"""The few requests that `ObjectStorage` makes of a bucket, and what their failures mean."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from secrets import token_hex
from typing import TYPE_CHECKING, Literal, TypeAlias

import obstore
from msgspec import Struct
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)

from kernelckpt.abc import PART_BYTES
from kernelckpt.errors import StorageError, StorageFullError, StorageUnavailableError, UnknownOutcomeError
from kernelckpt.storage.objects.pause import waits
from kernelckpt.storage.together import together

if TYPE_CHECKING:
    from obstore import AsyncWritableFile, GetOptions, ObjectMeta, PutResult, UpdateVersion
    from obstore.store import AzureStore, GCSStore, S3Store

    Store: TypeAlias = S3Store | GCSStore | AzureStore
    Condition: TypeAlias = UpdateVersion | Literal["create", "overwrite"]

PAGE = 1000
SMALL_BYTES = 64 * 1024
"""An object up to this size is read whole where only its beginning is needed."""

UNKNOWN = SMALL_BYTES + 1
"""The size of an object that may be a large one."""

_AT_ONCE = 32
_BULK = 1000
_TRIES = 8
_DENIED = (PermissionDeniedError, UnauthenticatedError)
_FINAL = re.compile(r"status code: (507|4(?!08|09|29)\d\d)")
"""Answers after which an object that was to be put is not there."""

_FULL = re.compile(r"QuotaExceeded|InsufficientStorage|StorageFull|status code: 507")
_NO_BUCKET = re.compile(r"NoSuchBucket|ContainerNotFound|bucket does not exist")
_NO_CREDENTIALS = re.compile(r"169\.254\.|metadata\.google|/latest/api/token")
_DENIED_HINT = "look at the credentials in the environment, and what they may do with this bucket"
_CREDENTIALS_HINT = "no credentials were found: set those of the provider in the environment"
_HINT = "look at the endpoint, the network, and whether the server runs"


class Found(Struct, frozen=True):
    """An object, or its beginning.

    Attributes:
        data: its bytes, as far as they were asked for.
        size: how many it has.
        version: names just this content, for a conditional put.
        modified: when it was written, by the server's clock.
    """

    data: bytes
    size: int
    version: UpdateVersion
    modified: datetime


class Listed(Struct, frozen=True):
    """What a listing says of an object."""

    key: str
    size: int
    e_tag: str | None
    modified: datetime


class Put(Struct, frozen=True):
    """What became of a conditional put.

    Attributes:
        version: of the new object; None when it is not there.
        found: what is there instead, if anything.
        doubtful: whether an answer was lost.
    """

    version: UpdateVersion | None
    found: Found | None = None
    doubtful: bool = False


class ObjectClient:
    """Requests to one bucket.

    Attributes:
        name: the URL without credentials, for messages.
        prefix: what every key begins with, "" or ending in a slash.
        notes: what somebody should know who relies on the server.
    """

    def __init__(
        self, name: str, prefix: str, once: Store, patient: Store, notes: Sequence[str] = ()
    ) -> None:
        """Make conditional puts through `once`, which never retries, and the rest through `patient`."""
        self.name = name
        self.prefix = prefix
        self.notes = notes
        self._once = once
        self._patient = patient
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def get(self, key: str, size: int = 0) -> Found | None:
        """An object; of one that is listed with a larger size than `SMALL_BYTES`, its beginning."""
        wanted: GetOptions = {"range": (0, SMALL_BYTES)} if size > SMALL_BYTES else {}
        try:
            with self.explained(f"reading {key}"):
                async with self._slots:
                    got = await obstore.get_async(self._patient, key, options=wanted)
                    data = bytes(await got.bytes_async())
        except FileNotFoundError:
            return None
        except StorageUnavailableError as error:
            if not wanted or "status code: 416" not in str(error):
                raise
            return await self.get(key)  # an empty object has no range
        meta = got.meta
        return Found(data, meta["size"], _version(meta), meta["last_modified"])

    async def get_range(self, key: str, start: int, length: int) -> bytes | None:
        """Bytes of an object that has them."""
        if not length:
            return b""
        try:
            with self.explained(f"reading {key}"):
                async with self._slots:
                    return bytes(
                        await obstore.get_range_async(self._patient, key, start=start, length=length)
                    )
        except FileNotFoundError:
            return None

    async def head(self, key: str) -> Listed | None:
        """What is known of an object without reading it."""
        try:
            with self.explained(f"looking at {key}"):
                return _listed(await obstore.head_async(self._patient, key))
        except FileNotFoundError:
            return None

    async def page(self, folder: str, after: str = "") -> list[Listed]:
        """The next objects of a folder, in order of their keys; fewer than `PAGE` only at the end."""
        found: list[Listed] = []
        with self.explained(f"listing {folder}"):
            stream = obstore.list(self._patient, f"{folder}/", offset=after or None, chunk_size=PAGE)
            async for chunk in stream:
                found += [_listed(meta) for meta in chunk if meta["path"] > after]  # Azurite lists all
                if len(found) >= PAGE:
                    break
        return sorted(found, key=lambda listed: listed.key)[:PAGE]

    async def folders(self, folder: str) -> list[str]:
        """The folders in a folder."""
        with self.explained(f"listing {folder}"):
            found = await obstore.list_with_delimiter_async(self._patient, folder)
            return list(found["common_prefixes"])

    async def put(self, key: str, data: bytes, condition: Condition) -> Put:
        """Put an object if the condition holds; whatever the answer, look what is there.

        A refusal is read back too: it may be that of a request which was sent twice on its way.

        Raises:
            UnknownOutcomeError: nobody answers; it may be there.
            StorageError: it is not there.
        """
        doubtful = False
        try:
            sent = await obstore.put_async(self._once, key, data, mode=condition, use_multipart=False)
            return Put(_version(sent))
        except PreconditionError:
            pass
        except AlreadyExistsError:
            doubtful = condition != "create"  # then it is a conflict with another request
        except (BaseError, FileNotFoundError) as error:
            if _FINAL.search(str(error)) or isinstance(error, _DENIED):
                raise self._explain(error, f"writing {key}") from error
            doubtful = True
        try:
            found = await self.get(key)
        except StorageError as error:
            message = f"{self.name}: writing {key}: no answer, and it cannot be read back"
            raise UnknownOutcomeError(message, hint=_HINT) from error
        if found is not None and found.data == data:
            return Put(found.version, found, doubtful=True)
        return Put(None, found, doubtful)

    async def put_settled(self, key: str, data: bytes, condition: Condition) -> Put:
        """`put`, again and again until it was done or refused.

        Raises:
            UnknownOutcomeError: neither is certain.
            StorageError: it is not there.
        """
        for wait in waits(_TRIES):
            put = await self.put(key, data, condition)
            unseen = put.found is None and condition == "create"
            unmoved = put.doubtful and put.found is not None and put.found.version == condition
            if put.version is not None or not (unseen or unmoved):
                return put
            await asyncio.sleep(wait)
        raise UnknownOutcomeError(f"{self.name}: writing {key}: no answer is certain", hint=_HINT)

    async def overwrite(self, key: str, data: bytes) -> None:
        """Put an object whatever is there."""
        with self.explained(f"writing {key}"):
            await obstore.put_async(self._patient, key, data, use_multipart=False)

    async def delete(self, keys: Iterable[str]) -> None:
        """Remove objects; missing ones are no error."""
        left = list(keys)
        while left:
            some, left = left[:_BULK], left[_BULK:]
            try:
                with self.explained(f"deleting {some[0]}"):
                    await obstore.delete_async(self._patient, some)
            except FileNotFoundError:  # it does not say how far it came
                await together(map(self._delete_one, some))

    async def now(self) -> datetime:
        """What time it is by the server's clock: when an object is written that nobody needs."""
        key = f"{self.prefix}scratch/{token_hex(8)}"
        await self.overwrite(key, b"now")
        written = await self.head(key)
        await self.delete([key])
        if written is None:
            message = f"{self.name}: an object written just now is not there"
            raise StorageUnavailableError(message, hint="does something delete objects of this prefix?")
        return written.modified

    def writer(self, key: str) -> AsyncWritableFile:
        """Write an object in parts; it is there whole once that is closed."""
        return obstore.open_writer_async(self._patient, key, buffer_size=PART_BYTES)

    @contextmanager
    def explained(self, doing: str) -> Generator[None]:
        """Turn failures of the client library into ours, but for an object that is missing."""
        try:
            yield
        except FileNotFoundError as error:
            if _NO_BUCKET.search(str(error)):
                raise self._explain(error, doing) from error
            raise
        except BaseError as error:
            raise self._explain(error, doing) from error

    async def _delete_one(self, key: str) -> None:
        with suppress(FileNotFoundError), self.explained(f"deleting {key}"):
            async with self._slots:
                await obstore.delete_async(self._patient, key)

    def _explain(self, error: Exception, doing: str) -> StorageError:
        text = str(error)
        message = f"{self.name}: {doing}: {_short(text)}"
        if _FULL.search(text):
            return StorageFullError(message, hint="free space or raise the quota")
        if _NO_CREDENTIALS.search(text):
            return StorageUnavailableError(message, hint=_CREDENTIALS_HINT)
        if isinstance(error, _DENIED) or "status code: 403" in text:
            return StorageUnavailableError(message, hint=_DENIED_HINT)
        if _NO_BUCKET.search(text):
            message = f"{self.name}: the bucket does not exist"
            return StorageUnavailableError(message, hint="create it, or mend its name in the URL")
        return StorageUnavailableError(message, hint=_HINT)


def _short(text: str) -> str:
    """The first lines of an error, without the query of any URL: signatures are in there."""
    shown = text.partition("Debug source")[0]
    return " ".join(re.sub(r"\?\S*", "", shown).split())[:400]


def _listed(meta: ObjectMeta) -> Listed:
    return Listed(meta["path"], meta["size"], meta["e_tag"], meta["last_modified"])


def _version(meta: ObjectMeta | PutResult) -> UpdateVersion:
    found: UpdateVersion = {}
    if meta["e_tag"] is not None:
        found["e_tag"] = meta["e_tag"]
    if meta["version"] is not None:
        found["version"] = meta["version"]
    return found
