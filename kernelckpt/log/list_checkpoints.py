"""Lists the checkpoints of a run from their metadata alone."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from msgspec import Struct

from kernelckpt.abc import EntryInfo, StorageBackend
from kernelckpt.codec.codec import PLAIN_CODEC, Codec
from kernelckpt.codec.entry import BlobPointer, EntryMeta, glance_at_meta
from kernelckpt.errors import UnknownKeyError
from kernelckpt.log.chain import ChainEntry
from kernelckpt.log.checkpoint_info import CheckpointInfo
from kernelckpt.log.entry_encoder import Tip
from kernelckpt.log.listing import Link, Listing


async def list_checkpoints(
    storage: StorageBackend,
    run_id: str,
    newest: int | None = None,
    *,
    codec: Codec = PLAIN_CODEC,
) -> list[CheckpointInfo]:
    """The checkpoints of a run, oldest first; `damage` says which cannot be restored, and why.

    Entries that retention has cut off are no checkpoints any more: they are not listed although their
    bytes may be kept. Damage inside an entry shows only when it is read.

    Args:
        storage: where the run is.
        run_id: the run.
        newest: list only so many of the newest.
        codec: what is at hand to read it.

    Raises:
        NotFoundError: no such run.
        UnsupportedVersionError: it was written by a newer version.
    """
    listing = Listing(storage, run_id, codec)
    count = newest
    while True:
        links, blobs = await listing.newest_links(count)
        survey = _Survey(links, {blob.name for blob in blobs})
        await survey.look_below(listing, codec)
        found = survey.infos()
        if newest is None or count is None or len(found) >= newest or len(links) < count:
            return found if newest is None else found[max(len(found) - newest, 0) :]
        count *= 2  # some were cut off


class _Reach(Struct, frozen=True):
    """What an entry rests on: every number above `floor` on its chain is sound; `since` of its base."""

    tip: Tip
    floor: int
    since: int | None

    @property
    def restorable(self) -> bool:
        return self.floor == 0 or (self.since is not None and self.since >= self.floor)


class _Descent:
    """Follows a chain down, as far as a state must be read: only what follows what is looked at.

    Attributes:
        above: the metadata of the entry that names the next one on the chain; where the chain ends, the next
            one is the last that is needed or the first that lacks.
        since: that of the base it came upon; 0 before that.
        pruned_up_to: that of the newest base, whether it can be read or not.
        is_bad: whether the next one is there, and damaged.
    """

    def __init__(self, blobs: Collection[str], codec: Codec, above: EntryMeta) -> None:
        self.above = above
        self.since = 0
        self.pruned_up_to = 0
        self.is_bad = False
        self._blobs = blobs
        self._codec = codec

    def follow(self, page: Sequence[EntryInfo]) -> bool:
        """Whether the chain goes on below these entries, the next ones that are listed."""
        above = self.above
        for info in reversed(page):
            sequence = above.previous_sequence
            if info.sequence > sequence:
                continue  # set aside
            if info.sequence < sequence or sequence <= self.since:
                return False
            meta = glance_at_meta(info.meta, self._codec)
            if meta is None or meta.digest != above.previous_digest or info.epoch != above.previous_epoch:
                self.is_bad = True
                return False
            if meta.state is not None:
                self._pass_base(meta.state, info.damage)
            elif info.damage:
                self.is_bad = True
                return False
            self.above = above = meta
        return bool(page)

    def _pass_base(self, state: BlobPointer, damage: str) -> None:
        self.pruned_up_to = max(self.pruned_up_to, state.since)
        if not self.since and not damage and state.name in self._blobs:
            self.since = state.since


class _Survey:
    """Judges the newest entries by what they say of each other, and by what the older ones follow."""

    def __init__(self, links: Sequence[Link], blobs: Collection[str]) -> None:
        self._links = links
        self._blobs = blobs
        self._chain = _chain_numbers(links)
        self._bad = {link.info.sequence for link in links if link.meta is None or link.damage}
        bases = [link.meta.state.since for link in links if link.meta is not None and link.meta.state]
        self._pruned_up_to = max(bases, default=0)
        self._reaches: dict[int, _Reach] = {}

    async def look_below(self, listing: Listing, codec: Codec) -> None:
        """Follow the chain of the oldest of them down to its base, or to where it breaks."""
        oldest = next((link for link in self._links if link.info.sequence in self._chain), None)
        if oldest is None or oldest.meta is None:
            return
        top = ChainEntry(oldest, oldest.meta).previous
        descent = _Descent(self._blobs, codec, oldest.meta)
        page = await listing.page_up_to(top.sequence)
        while descent.follow(page):
            page = await listing.page_up_to(page[0].sequence - 1)
        floor = descent.above.previous_sequence
        self._reaches[top.sequence] = _Reach(top, floor, descent.since or None)
        self._pruned_up_to = max(self._pruned_up_to, descent.pruned_up_to)
        if descent.is_bad:
            self._bad.add(floor)

    def infos(self) -> list[CheckpointInfo]:
        judged = [self._judge(link) for link in self._links]
        return [info for info in judged if info is not None]

    def _judge(self, link: Link) -> CheckpointInfo | None:
        sequence = link.info.sequence
        if link.meta is None:
            return _unreadable(link)
        reach = self._reach(ChainEntry(link, link.meta))
        if not link.damage or link.is_base:
            self._reaches[sequence] = reach
        damage = link.damage
        if sequence not in self._chain:
            damage = damage or "set aside: the run went on from an earlier checkpoint"
        elif not damage and not reach.restorable:
            if reach.floor <= self._pruned_up_to and reach.floor not in self._bad:
                return None
            damage = f"entry {reach.floor}, which it rests on, is damaged or missing"
        return _info(link, link.meta, damage)

    def _reach(self, entry: ChainEntry) -> _Reach:
        before = self._reaches.get(entry.previous.sequence)
        if before is not None and before.tip == entry.previous:
            floor, since = before.floor, before.since
        else:
            floor, since = entry.previous.sequence, None
        state = entry.meta.state
        if state is not None and state.name in self._blobs and not entry.link.damage:
            since = state.since
        return _Reach(entry.tip, floor, since)


def _chain_numbers(links: Sequence[Link]) -> set[int]:
    """The numbers on the chain of the newest entry; what it jumps over was set aside."""
    numbers: set[int] = set()
    expected: int | None = None
    for link in reversed(links):
        if expected is None or link.info.sequence <= expected:
            numbers.add(link.info.sequence)
            expected = link.meta.previous_sequence if link.meta is not None else None
    return numbers


def _info(link: Link, meta: EntryMeta, damage: str) -> CheckpointInfo:
    info = link.info
    return CheckpointInfo.of(meta, info.epoch, info.sequence, info.size, damage=damage)


def _unreadable(link: Link) -> CheckpointInfo:
    info = link.info
    key = link.locked.key_id if isinstance(link.locked, UnknownKeyError) else ""
    return CheckpointInfo(
        info.sequence, info.epoch, "delta", 0, 0, info.size, 0, "", damage=link.damage, key=key
    )
