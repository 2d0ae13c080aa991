"""The entries of a run as they are listed: fetched a page at a time, never read."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from operator import attrgetter

from msgspec import Struct

from kernelckpt.abc import BlobInfo, EntryInfo, StorageBackend
from kernelckpt.codec.codec import PLAIN_CODEC, Codec
from kernelckpt.codec.entry import EntryMeta, decode_meta
from kernelckpt.errors import CorruptionError, DecodeError, EncryptionError

_PAGE = 1000
_sequence = attrgetter("sequence")


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


class _Page(Struct, frozen=True):
    """The entries numbered from `first` on, as far as they were asked for."""

    first: int
    entries: Sequence[EntryInfo]

    def before(self, sequence: int) -> Sequence[EntryInfo]:
        """Those numbered below `sequence`."""
        return self.entries[: self._index(sequence)]

    def get(self, sequence: int) -> EntryInfo | None:
        """The one of that number, or None."""
        index = self._index(sequence)
        found = self.entries[index : index + 1]
        return found[0] if found and found[0].sequence == sequence else None

    def _index(self, sequence: int) -> int:
        return bisect_left(self.entries, sequence, key=_sequence)


class Listing:
    """The entries of a run at one time; pages once fetched are not fetched again.

    Metadata is decoded when an entry is asked for.
    """

    def __init__(self, storage: StorageBackend, run_id: str, codec: Codec = PLAIN_CODEC) -> None:
        """Nothing is fetched yet."""
        self._storage = storage
        self._run_id = run_id
        self._codec = codec
        self._newest: _Page | None = None
        self._pages: dict[int, _Page] = {}
        self._links: dict[int, Link] = {}

    async def get(self, sequence: int) -> Link | None:
        """The entry of that number, or None."""
        info = (await self._page(sequence)).get(sequence)
        return None if info is None else self._link(info)

    async def before(self, sequence: int) -> Link | None:
        """The newest entry numbered below `sequence`, or None."""
        page = await self.page_up_to(sequence - 1)
        return self._link(page[-1]) if page else None

    async def newest(self) -> Link | None:
        """The newest entry, or None when there is none. Takes one page, not a listing of all.

        Raises:
            EncryptionError: it is not encrypted with a key at hand, or should be.
        """
        return self._begin(await self._storage.list_newest(self._run_id, limit=_PAGE))

    def _begin(self, found: Sequence[EntryInfo]) -> Link | None:
        if not found:
            return None
        self._newest = _Page(found[0].sequence, found)
        link = self._link(found[-1])
        if link.locked is not None:
            raise link.locked
        return link

    async def newest_links(self, count: int | None) -> tuple[list[Link], Sequence[BlobInfo]]:
        """The newest so many entries, or all, oldest first; and the blobs. Errors are those of `newest`."""
        found, blobs = await self._storage.overview(self._run_id, limit=_PAGE)
        newest = self._begin(found)
        sequence = newest.info.sequence if newest is not None else 0
        infos: list[EntryInfo] = []
        while (count is None or len(infos) < count) and (page := await self.page_up_to(sequence)):
            infos += reversed(page)
            sequence = page[0].sequence - 1
        return [self._link(info) for info in infos[:count][::-1]], blobs

    async def page_up_to(self, sequence: int) -> Sequence[EntryInfo]:
        """Of the entries up to that number the newest, as many as are on one page; none if there are none."""
        while sequence > 0:
            page = await self._page(sequence)
            if found := page.before(sequence + 1):
                return found
            sequence = page.first - 1
            if not page.entries and not await self._any_up_to(sequence):
                break
        return ()

    async def _any_up_to(self, sequence: int) -> bool:
        found = await self._storage.list_entries(self._run_id, limit=1)
        return bool(found) and found[0].sequence <= sequence

    def _link(self, info: EntryInfo) -> Link:
        link = self._links.get(info.sequence)
        if link is None:
            link = self._links[info.sequence] = to_link(info, self._run_id, self._codec)
        return link

    async def _page(self, sequence: int) -> _Page:
        """The page that a number is on, if there is an entry of it."""
        if self._newest is not None and sequence >= self._newest.first:
            return self._newest
        after = (sequence - 1) // _PAGE * _PAGE
        page = self._pages.get(after)
        if page is None:
            found = await self._storage.list_entries(self._run_id, after=after, limit=_PAGE)
            entries = [info for info in found if info.sequence <= after + _PAGE]
            page = self._pages[after] = _Page(after + 1, entries)
        return page
