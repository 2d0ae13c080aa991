"""What a run's folder holds: which entries count, which are void, and which were lost."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from operator import attrgetter

from msgspec import Struct

from kernelckpt.abc import EntryInfo
from kernelckpt.errors import CorruptionError
from kernelckpt.storage.file.name import FolderNames, owner_name, segment_name, sort_names
from kernelckpt.storage.file.ops import FileFacts, FileOps
from kernelckpt.storage.file.owner import Mark, Owner, open_regular, read_mark, read_owner
from kernelckpt.storage.file.scan import Segment, scan_segment

_ENDLESS = 1 << 64
_sequence, _damage = attrgetter("sequence"), attrgetter("damage")


class RunView(Struct, frozen=True):
    """A run's folder as it was at one look.

    Attributes:
        names: the files in it.
        mark: the high-water mark, read before anything else.
        starts: the head at which each epoch began that did begin, by epoch.
        segments: what each segment holds, in order of (epoch, number).
        limits: for each segment, the newest of its sequences that counts.
    """

    names: FolderNames
    mark: Mark
    starts: dict[int, int]
    segments: Sequence[Segment]
    limits: Sequence[int]

    @property
    def newest_epoch(self) -> int:
        """The newest epoch that anybody claimed; 0 when nobody did."""
        return max(self.names.owners, default=0)

    @property
    def unbegun(self) -> list[int]:
        """The epochs that were claimed but have not begun, or began too late."""
        return [epoch for epoch in self.names.owners if epoch not in self.starts]

    @property
    def ownerless(self) -> int:
        """An epoch whose owner file is missing though something it wrote may count; 0 if there is none.

        Owner files are pruned only once all that counted of their epochs was deleted. What is older than
        all of them is therefore void: a replaced owner wrote it after its own file was pruned.
        """
        if self.segments and self.segments[-1].epoch > self.newest_epoch:
            return self.segments[-1].epoch
        oldest, counted = min(self.names.owners, default=0), min(self.starts.values(), default=_ENDLESS)
        for segment in self.segments:
            if segment.epoch < oldest and any(
                self.mark.removed < entry.sequence <= counted for entry in segment.entries
            ):
                return segment.epoch
        return 0

    @property
    def acknowledged(self) -> int:
        """The newest entry known to have been acknowledged."""
        return max(self.mark.sequence, *self.starts.values(), 0)

    def entries(self, after: int) -> Iterator[EntryInfo]:
        """The entries that count and the lost ones, above `after`, in order.

        Where a segment ends before the next one begins, entries were lost, unless they were deleted: those
        up to the newest that ever was may have been.
        """
        return chain.from_iterable(self._stretches(after))

    def _stretches(self, after: int) -> Iterator[Sequence[EntryInfo]]:
        last, lost = 0, None
        for segment, limit in zip(self.segments, self.limits, strict=True):
            known = segment.entries
            stop = bisect_right(known, limit, key=_sequence)
            found = known[bisect_right(known, after, key=_sequence, hi=stop) : stop]
            if found and lost:
                yield (lost,)
            yield found
            if stop:
                last, lost = max(last, known[stop - 1].sequence), None
            if max(after, last, self.mark.removed) < segment.next_sequence <= limit:
                lost = _torn_entry(segment)
        missing = max(last, self.mark.removed) + 1
        if lost and lost.sequence <= self.acknowledged:
            yield (lost,)
        elif after < missing <= self.acknowledged:
            yield (EntryInfo(self.mark.epoch, missing, 0, b"", "", "acknowledged, but its file is missing"),)

    def newest(self, limit: int) -> list[EntryInfo]:
        """The newest so many entries that count or were lost, in order."""
        left, after = limit, 0
        for segment, end in zip(reversed(self.segments), reversed(self.limits), strict=True):
            stop = bisect_right(segment.entries, end, key=_sequence)
            if stop >= left:
                after = segment.entries[stop - left].sequence - 1
                break
            left -= stop
        return list(self.entries(after))[-limit:]

    @property
    def head(self) -> int:
        """The newest number that was ever given to an entry that counts."""
        newest = max((entry.sequence for entry in self.entries(0)), default=0)
        return max(newest, self.acknowledged, self.mark.removed)

    def segment_with(self, epoch: int, sequence: int) -> Segment | None:
        """The segment that holds an entry that counts."""
        for segment, limit in zip(self.segments, self.limits, strict=True):
            if segment.epoch == epoch and sequence <= limit and sequence in segment.places:
                return segment
        return None


class RunLooker:
    """Reads a run's folder again and again, remembering what cannot change."""

    def __init__(self, ops: FileOps, folder: str, run_digest: bytes) -> None:
        """Read nothing yet; `run_digest` is that of the run's id."""
        self._ops = ops
        self._folder = folder
        self._run_digest = run_digest
        self._owners: dict[int, Owner] = {}
        self._segments: dict[tuple[int, int], Segment] = {}
        self._last: RunView | None = None

    def look(self) -> RunView:
        """The folder as it is now.

        Raises:
            CorruptionError: an owner file that had begun cannot be read, nor be made good.
        """
        view = self._look()
        if view.ownerless:  # an owner may have begun, or pruned, while the folder was being listed
            view = self._look()
        if epoch := view.ownerless:
            raise self._ownerless(epoch)
        self._last = view
        return view

    def glance(self) -> RunView:
        """The folder as it was at the last look, or now if that was the first."""
        return self._last or self.look()

    def entries(self, after: int, limit: int) -> Sequence[EntryInfo]:
        """The first entries above `after` that count or were lost."""
        return self._listed(lambda view: list(islice(view.entries(after), limit)))

    def newest(self, limit: int) -> Sequence[EntryInfo]:
        """The newest entries that count or were lost."""
        return self._listed(lambda view: view.newest(limit))

    def _listed(self, entries_of: Callable[[RunView], list[EntryInfo]]) -> Sequence[EntryInfo]:
        view = self.look()
        while True:
            found = entries_of(view)
            if not any(map(_damage, found)):
                return found
            again = self.look()
            if again.mark.removed == view.mark.removed:
                return found
            view = again  # what seems lost may have been deleted while we looked

    def _look(self) -> RunView:
        # In this order, whatever is added meanwhile makes segments longer than mark and starts say.
        mark = read_mark(self._ops, self._folder)
        names = sort_names(self._ops.listdir(self._folder))
        owners = [owner for epoch in names.owners if (owner := self._owner(epoch)) is not None]
        segments = [found for number in names.segments if (found := self._segment(number)) is not None]
        self._owners = {owner.epoch: owner for owner in owners if owner.start is not None}
        self._segments = {(found.epoch, found.number): found for found in segments}
        starts = _starts(owners)
        self._make_good(starts, names, segments)
        seals = {owner.epoch: owner.seal for owner in owners if owner.epoch in starts and owner.seal}
        limits = _limits(segments, starts, seals, min(names.owners, default=0))
        return RunView(names, mark, starts, segments, limits)

    def _owner(self, epoch: int) -> Owner | None:
        try:
            return self._owners.get(epoch) or read_owner(self._ops, self._folder, epoch)
        except FileNotFoundError:
            return None  # pruned since the folder was listed

    def _segment(self, number: tuple[int, int]) -> Segment | None:
        path = f"{self._folder}/{segment_name(*number)}"
        known = self._segments.get(number)
        try:
            if known is not None and _unchanged(known, self._ops.stat(path)):
                return known
            fd = open_regular(self._ops, path)
        except FileNotFoundError:
            return None  # deleted since the folder was listed
        try:
            return scan_segment(self._ops, fd, self._run_digest, number, known)
        finally:
            self._ops.close(fd)

    def _make_good(self, starts: dict[int, int], names: FolderNames, segments: Sequence[Segment]) -> None:
        """Learn from its first segment where an epoch began whose owner file is damaged."""
        oldest, newest = min(names.owners, default=0), max(names.owners, default=0)
        for segment in segments:
            if segment.epoch in starts or not oldest <= segment.epoch <= newest:
                continue
            if segment.number != 1 or not segment.first:
                raise self._ownerless(segment.epoch)
            starts[segment.epoch] = segment.first - 1

    def _ownerless(self, epoch: int) -> CorruptionError:
        path = f"{self._folder}/{owner_name(epoch)}"
        return CorruptionError(
            f"{path}: missing or damaged, so where its entries begin to count is unknown",
            hint="restore this file from a backup",
            lost=(f"entries of epoch {epoch}",),
        )


def _starts(owners: Sequence[Owner]) -> dict[int, int]:
    """Where each epoch began that did, in the eyes of those that began after it."""
    starts: dict[int, int] = {}
    never: set[int] = set()
    for owner in reversed(owners):
        if owner.start is not None and owner.epoch not in never:
            starts[owner.epoch] = owner.start
            never.update(owner.never)
    return starts


def _limits(
    segments: Sequence[Segment], starts: dict[int, int], seals: dict[int, tuple[int, int]], oldest: int
) -> list[int]:
    """For each segment, the newest of its sequences that counts.

    An epoch ends where the next one began. A segment that was followed by another of the same owner ends
    where that one begins: what lies beyond was never acknowledged, and was tried again there. One that was
    made after a later epoch had begun is void, and replaces nothing.
    """
    later = sorted(starts.items())
    limits: list[int] = []
    cut = begin = _ENDLESS
    epoch = 0
    for segment in reversed(segments):
        while later and later[-1][0] > segment.epoch:
            cut = min(cut, later.pop()[1])
        if segment.epoch != epoch:
            epoch, begin = segment.epoch, _ENDLESS
        number = (segment.epoch, segment.number)
        if any(segment.epoch < later_epoch and number > seal for later_epoch, seal in seals.items()):
            limits.append(-1)
            continue
        # Owner files are pruned only below the oldest segment that was kept.
        limits.append(min(cut, begin - 1) if epoch >= oldest else -1)
        begin = segment.begin or begin
    return limits[::-1]


def _unchanged(known: Segment, facts: FileFacts) -> bool:
    return facts.kind == "file" and known.inode == facts.inode and known.scanned == facts.size


def _torn_entry(segment: Segment) -> EntryInfo:
    reason = f"torn at byte {segment.end} of {segment.name}: {segment.torn or 'its end is missing'}"
    return EntryInfo(segment.epoch, segment.next_sequence, 0, b"", segment.name, reason)
