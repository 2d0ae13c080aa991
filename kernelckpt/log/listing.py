"""The entries of a run as they are listed: fetched a window at a time, newest first, never read."""

from __future__ import annotations

from bisect import bisect_left

from msgspec import Struct

from kernelckpt.abc import EntryInfo, StorageBackend
from kernelckpt.codec.codec import PLAIN_CODEC, Codec
from kernelckpt.codec.entry import EntryMeta, decode_meta
from kernelckpt.errors import CorruptionError, DecodeError, EncryptionError

_WINDOW = 1000


class Link(Struct, frozen=True):
    """A listed entry: what the storage says of it, and its metadata unless that is damaged.

    Attributes:
        info: what the storage says.
        meta: its metadata; None when that is damaged.
        damage: empty, or why it cannot be read.
        locked: set when only the key is missing, or should not be: whoever needs the entry must be told.
    """

    info: EntryInfo
    meta: EntryMeta | None
    damage: str
    locked: EncryptionError | None = None

    @property
    def is_base(self) -> bool:
        """Whether it is the entry of a base."""
        return self.meta is not None and self.meta.kind == "base"


def to_link(info: EntryInfo, run_id: str, codec: Codec = PLAIN_CODEC) -> Link:
    """An entry with its metadata decoded.

    Raises:
        UnsupportedVersionError: it was written by a newer version.
    """
    try:
        meta = decode_meta(info.meta, run_id, info.epoch, info.sequence, codec)
    except (CorruptionError, DecodeError) as error:
        return Link(info, None, info.damage or error.message)
    except EncryptionError as error:
        return Link(info, None, error.message, error)
    return Link(info, meta, info.damage)


class Listing:
    """The entries of a run at one time; windows once fetched are not fetched again.

    Metadata is decoded when an entry is asked for.
    """

    def __init__(self, storage: StorageBackend, run_id: str, codec: Codec = PLAIN_CODEC) -> None:
        """Nothing is fetched yet."""
        self._storage = storage
        self._run_id = run_id
        self._codec = codec
        self._windows: dict[int, dict[int, EntryInfo]] = {}
        self._numbers: dict[int, list[int]] = {}
        self._links: dict[int, Link] = {}

    async def get(self, sequence: int) -> Link | None:
        """The entry of that number, or None."""
        window = await self._window((sequence - 1) // _WINDOW)
        info = window.get(sequence)
        return None if info is None else self._link(info)

    async def before(self, sequence: int) -> Link | None:
        """The newest entry numbered below `sequence`, or None."""
        for index in range((sequence - 1) // _WINDOW, -1, -1):
            window = await self._window(index)
            numbers = self._numbers[index]
            below = bisect_left(numbers, sequence)
            if below:
                return self._link(window[numbers[below - 1]])
        return None

    async def newest(self) -> Link | None:
        """The newest entry, or None when there is none. Takes a few probes, not a listing of all.

        Raises:
            EncryptionError: it is not encrypted with a key at hand, or should be.
        """
        low, step = 0, _WINDOW
        while await self._any_after(low + step):
            low += step
            step *= 2
        while step > _WINDOW:
            step //= 2
            if await self._any_after(low + step):
                low += step
        found = await self.before(low + step + 1)
        if found is not None and found.locked is not None:
            raise found.locked
        return found

    async def _any_after(self, sequence: int) -> bool:
        return bool(await self._storage.list_entries(self._run_id, after=sequence, limit=1))

    def _link(self, info: EntryInfo) -> Link:
        link = self._links.get(info.sequence)
        if link is None:
            link = self._links[info.sequence] = to_link(info, self._run_id, self._codec)
        return link

    async def _window(self, index: int) -> dict[int, EntryInfo]:
        window = self._windows.get(index)
        if window is None:
            after = index * _WINDOW
            found = await self._storage.list_entries(self._run_id, after=after, limit=_WINDOW)
            window = {info.sequence: info for info in found if info.sequence <= after + _WINDOW}
            self._windows[index] = window
            self._numbers[index] = sorted(window)
        return window
