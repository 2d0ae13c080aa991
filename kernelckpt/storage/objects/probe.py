"""Whether a server honours what ownership rests on: it is tried before anything of a run is written."""

from __future__ import annotations

import asyncio
from secrets import token_hex
from typing import TYPE_CHECKING

from kernelckpt.errors import StorageUnavailableError
from kernelckpt.storage.objects.client import ObjectClient
from kernelckpt.storage.objects.record import RUN, Record, encode

if TYPE_CHECKING:
    from obstore import UpdateVersion

PROBES = "probe"
"""The folder of the small objects that are written and deleted to try a server."""


class Proof:
    """That the server of one client can be written to. Who only reads needs none, and writes nothing."""

    def __init__(self, client: ObjectClient) -> None:
        """Try nothing yet."""
        self._client = client
        self._found = False
        self._turn = asyncio.Lock()

    async def ensure(self) -> None:
        """Try the server, unless it was found sound before.

        Raises:
            StorageUnavailableError: it takes no writes, ignores conditions, or cannot list from a key on.
        """
        async with self._turn:
            if not self._found:
                await _probe_listing(self._client)
                await _probe_conditions(self._client)
                self._found = True


async def _probe_listing(client: ObjectClient) -> None:
    """Refuse a server that cannot list from a key on: the end of a log would be missed."""
    folder = f"{client.prefix}{PROBES}/{token_hex(8)}"
    keys = [f"{folder}/{number}" for number in range(3)]
    for key in keys:
        await client.overwrite(key, b"probe")
    listed = [found.key for found in await client.page(folder, keys[0])]
    await client.delete(keys)
    if listed != keys[1:]:
        raise StorageUnavailableError(
            f"{client.name}: of 2 objects after a key the server lists {len(listed)}",
            hint="use a server that does, as docs/storage.md lists them",
        )


async def _probe_conditions(client: ObjectClient) -> None:
    """Refuse a server that ignores the conditions on which ownership rests."""
    key = f"{client.prefix}{PROBES}/{token_hex(8)}"
    first, second, third = (encode(Record(RUN, sequence=number)) for number in range(3))
    made = await client.put_settled(key, first, "create")
    try:
        if made.version is None:
            raise _ignores(client, "it refused to create an object that did not exist")
        read = await client.get(key)
        if read is None or read.version != made.version:
            raise _ignores(client, "ETag (it differs between writing an object and reading it)")
        if (await client.put_settled(key, second, "create")).version is not None:
            raise _ignores(client, "If-None-Match: * (an object was created over another)")
        if (await client.put_settled(key, second, _another(made.version))).version is not None:
            raise _ignores(client, "If-Match (an object was replaced that was another)")
        if (await client.put_settled(key, third, made.version)).version is None:
            raise _ignores(client, "If-Match (an object was not replaced although it was the one)")
        if (await client.put_settled(key, second, made.version)).version is not None:
            raise _ignores(client, "If-Match (an object was replaced twice by the same condition)")
    finally:
        await client.delete([key])


def _another(version: UpdateVersion) -> UpdateVersion:
    """A version that never was."""
    changed: UpdateVersion = {"e_tag": f'"{"0" * 32}"'} if version.get("e_tag") else {}
    if version.get("version") is not None:
        changed["version"] = "1"
    return changed


def _ignores(client: ObjectClient, what: str) -> StorageUnavailableError:
    return StorageUnavailableError(
        f"{client.name}: the server does not honour conditional writes: {what}",
        hint="two owners could write one run; use a server that does, as docs/storage.md lists them",
    )
