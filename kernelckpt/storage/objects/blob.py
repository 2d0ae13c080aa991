"""Blobs of a run: objects that are there whole or not at all, uploaded in parts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from secrets import token_hex
from typing import TYPE_CHECKING

from msgspec import Struct
from obstore.exceptions import BaseError

from kernelckpt.abc import BlobInfo
from kernelckpt.errors import StorageError, SyncFailedError
from kernelckpt.storage import refusal
from kernelckpt.storage.check import check_part
from kernelckpt.storage.objects.client import PAGE, Listed, ObjectClient
from kernelckpt.storage.objects.key import DIGITS, blob_key, blob_name
from kernelckpt.storage.objects.log import Owned
from kernelckpt.storage.text import bytes_text, text_bytes
from kernelckpt.storage.together import together

if TYPE_CHECKING:
    from obstore import AsyncWritableFile

_NAME = "name"
"""Beside a blob whose name is too long for a key lies an object that holds it."""


class Upload(Struct, eq=False):
    """A blob that is being written."""

    key: str
    writer: AsyncWritableFile
    parts: int = 0
    size: int = 0

    async def abandon(self) -> None:
        """Throw away what was uploaded, as far as the server answers; else its lifecycle rule does."""
        error = RuntimeError("abandoned")
        with suppress(BaseError, OSError):
            await self.writer.__aexit__(RuntimeError, error, None)


class Blobs:
    """The blobs of the runs of one client."""

    def __init__(self, client: ObjectClient) -> None:
        """Remember nothing yet."""
        self._client = client
        self._known: dict[tuple[str, str], Listed] = {}

    async def write_part(
        self, owned: Owned, folder: str, name: str, index: int, data: Sequence[bytes]
    ) -> None:
        """Upload a part; what `StorageBackend.write_part` says holds."""
        upload = owned.uploads.get(name)
        if upload is None and await self._whole(folder, name):
            raise refusal.name_taken(name)
        check_part(index, 0 if upload is None else upload.parts, data)
        if upload is None:
            upload = owned.uploads[name] = await self._begin(owned, folder, name)
        try:
            with self._client.explained(f"writing blob {name!r}"):
                upload.size += await upload.writer.write(b"".join(data))
        except BaseException:
            owned.uploads.pop(name, None)
            await upload.abandon()
            raise
        upload.parts += 1

    async def finish(self, owned: Owned, folder: str, name: str) -> BlobInfo:
        """Make a blob whole; what `StorageBackend.finish_blob` says holds."""
        upload = owned.uploads.pop(name, None)
        if upload is None:
            if await self._whole(folder, name):
                raise refusal.name_taken(name)
            raise refusal.no_parts(self._client.name, name)
        try:
            await owned.log.check_owned(owned)
            found = await self._close(upload, name)
        except BaseException:
            await upload.abandon()
            raise
        if found is None or found.size != upload.size:
            await self._client.delete([upload.key])
            message = f"{self._client.name}: blob {name!r} has another size than what was written"
            raise SyncFailedError(message, hint="write it again under another name")
        try:
            await owned.log.check_owned(owned)
        except BaseException:
            await self._client.delete([upload.key])
            raise
        self._known[folder, name] = found
        return BlobInfo(name, upload.size)

    async def read(self, folder: str, name: str, offset: int, length: int | None) -> bytes:
        """Bytes of a blob; what `StorageBackend.read_blob` says holds."""
        known = self._known.get((folder, name))
        if known is None:
            whole = await self._whole(folder, name)
            if not whole:
                raise refusal.no_blob(self._client.name, name)
            known = self._known[folder, name] = whole[-1]
        end = known.size if length is None else min(known.size, offset + length)
        data = await self._client.get_range(known.key, offset, max(end - offset, 0))
        if data is None:
            del self._known[folder, name]
            raise refusal.no_blob(self._client.name, name)
        return data

    async def infos(self, folder: str) -> list[BlobInfo]:
        """The whole blobs of a run, by name; of several that a name was used for, the newest."""
        found: dict[str, int] = {}
        async for listed in self._all(f"{folder}/blob"):
            part, _, last = listed.key.rpartition("/")
            if last != _NAME:
                found[part] = listed.size
        names = await together(map(self._name, found))
        return sorted(
            (BlobInfo(name, size) for name, size in zip(names, found.values(), strict=True)),
            key=lambda info: info.name,
        )

    async def delete(self, owned: Owned, folder: str, names: Sequence[str]) -> None:
        """Delete blobs, finished or not."""
        for name in names:
            if (upload := owned.uploads.pop(name, None)) is not None:
                await upload.abandon()
            self._known.pop((folder, name), None)
        pages = await together(self._client.page(_folder(folder, name)) for name in names)
        await self._client.delete(listed.key for page in pages for listed in page)

    async def _begin(self, owned: Owned, folder: str, name: str) -> Upload:
        place = _folder(folder, name)
        if blob_name(blob_key(name)) is None:
            await self._client.overwrite(f"{place}/{_NAME}", text_bytes(name))
        key = f"{place}/{owned.epoch:0{DIGITS}}-{token_hex(8)}"
        return Upload(key, self._client.writer(key))

    async def _close(self, upload: Upload, name: str) -> Listed | None:
        """Ask for the blob to be made whole, and look what is there; after a lost answer it may be."""
        try:
            with self._client.explained(f"finishing blob {name!r}"):
                await upload.writer.close()
        except (StorageError, FileNotFoundError):
            found = await self._client.head(upload.key)
            if found is None:
                raise
            return found
        return await self._client.head(upload.key)

    async def _whole(self, folder: str, name: str) -> list[Listed]:
        found = await self._client.page(_folder(folder, name))
        return [listed for listed in found if not listed.key.endswith(f"/{_NAME}")]

    async def _all(self, folder: str) -> AsyncIterator[Listed]:
        after = ""
        while page := await self._client.page(folder, after):
            for listed in page:
                yield listed
            if len(page) < PAGE:
                return
            after = page[-1].key

    async def _name(self, part: str) -> str:
        if (name := blob_name(part.rpartition("/")[2])) is not None:
            return name
        found = await self._client.get(f"{part}/{_NAME}")
        if found is None:
            raise StorageError(f"{self._client.name}: the name of blob {part} is missing")
        return bytes_text(found.data)


def _folder(folder: str, name: str) -> str:
    return f"{folder}/blob/{blob_key(name)}"
