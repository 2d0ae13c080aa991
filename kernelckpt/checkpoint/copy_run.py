"""Copying a run from one storage to another, byte by byte: all checkpoints, without a key."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import anyio
from msgspec import Struct

from kernelckpt.abc import BlobInfo, Claim, EntryInfo, StorageBackend
from kernelckpt.checkpoint.copy_batch import batched
from kernelckpt.checkpoint.copy_source import CopySource, Cut, VanishedError
from kernelckpt.checkpoint.copy_target import CopyTarget, is_same
from kernelckpt.errors import CorruptionError, StorageError, UsageError
from kernelckpt.log.unfinished_copy import refuse_unfinished
from kernelckpt.storage.together import together

OnProgress = Callable[[int, int], None]
"""Told how many bytes are done, and how many there are: each is copied, and each is compared."""

_TRIES = 50
_RELEASE_SECONDS = 10.0


class CopyReport(Struct, frozen=True):
    """What was copied, and what there is now.

    Attributes:
        run_id: the run.
        newest: the number of its newest entry; 0 when there is none.
        entries: how many entries were to be copied.
        blobs: how many blobs.
        messages: how many messages of the inbox.
        size: bytes of entries and blobs.
        new_entries: how many of the entries this call has copied; the others were there.
        new_blobs: how many of the blobs.
        new_size: bytes that this call has copied.
    """

    run_id: str
    newest: int
    entries: int
    blobs: int
    messages: int
    size: int
    new_entries: int
    new_blobs: int
    new_size: int


async def copy_run(
    source: StorageBackend, target: StorageBackend, run_id: str, *, on_progress: OnProgress | None = None
) -> CopyReport:
    """Copy a run as it is: entries, blobs and inbox, byte by byte, encrypted or not.

    The source's owner may be alive: a state of the run that hangs together is copied. Called again, it copies
    what is new, and takes from the target's inbox what is no longer in the source's. Whatever interrupts it,
    calling it again goes on where it ended; until then the run in the target is marked, and nobody reads it
    or starts from it. At the end, all bytes of the target have been read back and compared with the source's.

    Args:
        source: where the run is.
        target: where to copy it to; nobody may own the run there.
        run_id: the run; it has the same id in the target, since its bytes are bound to that.
        on_progress: told after each step.

    Raises:
        UsageError: source and target are the same; or the run in the target is another one, or has gone on
            by itself. Nothing was changed there.
        NotFoundError: no such run in the source.
        RunOwnedError: the run in the target has a living owner.
        CorruptionError: some of the source is damaged, or the target gives back something else.
        UnfinishedCopyError: the source itself is a copy that is not finished.
        StorageError: one of the storages cannot be used.
    """
    if source is target or (source.name == target.name and source.name != "memory:"):
        raise UsageError(f"{source.name} is source and target", hint="copy to another storage")
    await refuse_unfinished(source, run_id)
    copy = _Copy(source, target, run_id, on_progress)
    try:
        return await copy.run()
    finally:
        with anyio.move_on_after(_RELEASE_SECONDS, shield=True), suppress(StorageError):
            await copy.target.release()  # else it ends with the target's closing


class _Copy:
    """One copy, in as many looks at the source as its pruning makes necessary."""

    def __init__(
        self, source: StorageBackend, target: StorageBackend, run_id: str, on_progress: OnProgress | None
    ) -> None:
        self.target = CopyTarget(target, run_id, source.name)
        self._source = CopySource(source, run_id)
        self._run_id = run_id
        self._on_progress = on_progress
        self._has_begun = False
        self._new_entries = self._new_blobs = self._new_size = 0
        self._done = self._steps = 0

    async def run(self) -> CopyReport:
        for _ in range(_TRIES):
            cut = await self._source.take_cut()
            try:
                await self._copy(cut)
            except VanishedError:
                continue
            return self._report(cut)
        raise StorageError(
            f"run {self._run_id[:200]!r} is pruned faster than it can be copied", hint="try again later"
        )

    def _report(self, cut: Cut) -> CopyReport:
        return CopyReport(
            run_id=self._run_id,
            newest=cut.newest,
            entries=cut.entries,
            blobs=len(cut.blobs),
            messages=len(cut.messages),
            size=cut.size,
            new_entries=self._new_entries,
            new_blobs=self._new_blobs,
            new_size=self._new_size,
        )

    async def _copy(self, cut: Cut) -> None:
        """Blobs come before the entries that refer to them, and the inbox last."""
        self._done, self._steps = 0, 2 * cut.size
        claim = await self._where_to_go_on(cut)
        missing = await self._missing_blobs(cut)
        if claim.head < cut.newest or missing or not await self.target.is_finished(cut.messages):
            await self.target.begin(claim)
            self._has_begun = True
        for blob in missing:
            await self.target.add_blob(blob, self._source.parts(blob))
            self._new_blobs += 1
            self._new_size += blob.size
            self._step(blob.size)
        async for batch in batched(self._source.entries(cut.newest, after=claim.head), _size):
            found = await together(self._source.read(entry) for entry in batch)
            for entry, data in zip(batch, found, strict=True):
                await self._add(entry, data)
        if self._has_begun:  # else it is not owned, and whatever was posted there since stays
            await self.target.set_inbox(cut.messages)
        await self._compare(cut)
        await self.target.finish()

    async def _add(self, entry: EntryInfo, data: bytes) -> None:
        await self.target.add_entry(entry, data)
        self._new_entries += 1
        self._new_size += entry.size
        self._step(entry.size)

    async def _where_to_go_on(self, cut: Cut) -> Claim:
        """The claim for the first entry that the target lacks, or for what would follow its last one.

        Raises:
            UsageError: its entries are not the source's own, up to where they end.
        """
        end = lacking = None
        is_known = True
        async for ours, theirs in side_by_side(self._source.entries(cut.newest), self.target.entries()):
            if theirs is None:
                lacking = lacking or ours
                continue
            self._refuse_other(ours, theirs, lacking, cut.newest)
            end, is_known = theirs, ours is not None
            self._step(ours.size if ours is not None else 0)
        if end is not None and not is_known and not await self._is_own():
            raise self._differs(f"entry {end.sequence}, the newest there, is not here any more")
        if lacking is not None:
            return Claim(lacking.epoch, lacking.sequence - 1)
        return Claim(end.epoch, end.sequence) if end is not None else Claim(1, 0)

    def _refuse_other(
        self, ours: EntryInfo | None, theirs: EntryInfo, lacking: EntryInfo | None, newest: int
    ) -> None:
        number = theirs.sequence
        if lacking is not None:
            raise self._differs(f"entry {lacking.sequence} is missing there, and entry {number} is not")
        if theirs.damage:
            raise self._differs(f"entry {number} there is damaged: {theirs.damage}")
        if ours is None and number > newest:
            raise self._differs(f"entry {number} there comes after the newest here, {newest}")
        if ours is not None and not is_same(ours, theirs):
            raise self._differs(
                f"entry {number} there, of epoch {theirs.epoch} and {theirs.size} bytes, is another one than "
                f"here, of epoch {ours.epoch} and {ours.size} bytes"
            )

    async def _is_own(self) -> bool:
        """Whether what is there can only have been copied from here, pruned though it may be by now."""
        return self._has_begun or await self.target.mark() == self._source.storage.name

    async def _missing_blobs(self, cut: Cut) -> list[BlobInfo]:
        sizes = await self.target.blobs()
        for blob in cut.blobs:
            if sizes.get(blob.name, blob.size) != blob.size:
                raise self._differs(
                    f"blob {blob.name!r} has {sizes[blob.name]} bytes there, {blob.size} here"
                )
            self._step(sizes.get(blob.name, 0))
        return [blob for blob in cut.blobs if blob.name not in sizes]

    def _differs(self, what: str) -> UsageError:
        there, here = self.target.storage.name, self._source.storage.name
        return UsageError(
            f"run {self._run_id[:200]!r} in {there} is not an earlier state of the one in {here}: {what}",
            hint="delete it there, or copy to another storage",
        )

    async def _compare(self, cut: Cut) -> None:
        """Read the target back, and compare it with the source; what was pruned there meanwhile may be here.

        Raises:
            CorruptionError: the target gives back something else.
        """
        pairs = side_by_side(self._source.entries(cut.newest), self.target.entries())
        async for batch in batched(pairs, lambda pair: _size(pair[0])):
            await together(self._compare_entry(ours, theirs) for ours, theirs in batch if ours is not None)
        sizes = await self.target.blobs()
        for blob in cut.blobs:
            is_there = sizes.get(blob.name) == blob.size
            if not is_there or await self.target.blob_digest(blob) != await self._source.blob_digest(blob):
                raise self._not_kept(f"blob {blob.name!r}")
            self._step(blob.size)

    async def _compare_entry(self, ours: EntryInfo, theirs: EntryInfo | None) -> None:
        if theirs is None or not is_same(ours, theirs):
            raise self._not_kept(f"entry {ours.sequence}")
        if await self.target.digest(theirs) != await self._source.digest(ours):
            raise self._not_kept(f"entry {ours.sequence}")
        self._step(ours.size)

    def _not_kept(self, what: str) -> CorruptionError:
        return CorruptionError(
            f"{self.target.storage.name} does not give back {what} of run {self._run_id[:200]!r} as it is in "
            f"{self._source.storage.name}",
            hint="delete the run there, and copy it to a storage that keeps what it is given",
            lost=(what,),
        )

    def _step(self, size: int) -> None:
        self._done += size
        if self._on_progress is not None:
            self._on_progress(self._done, self._steps)


def _size(entry: EntryInfo | None) -> int:
    return entry.size if entry is not None else 0


async def side_by_side(
    one: AsyncIterator[EntryInfo], other: AsyncIterator[EntryInfo]
) -> AsyncIterator[tuple[EntryInfo | None, EntryInfo | None]]:
    """The entries of two listings, those of one number together; None where one of them has none."""
    left, right = await anext(one, None), await anext(other, None)
    while left is not None or right is not None:
        if right is None or (left is not None and left.sequence < right.sequence):
            yield left, None
            left = await anext(one, None)
        elif left is None or right.sequence < left.sequence:
            yield None, right
            right = await anext(other, None)
        else:
            yield left, right
            left, right = await anext(one, None), await anext(other, None)
