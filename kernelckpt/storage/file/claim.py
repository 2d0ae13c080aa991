"""The owner's side of a run's folder: claiming it, adding entries and blobs, deleting them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from msgspec import Struct

from kernelckpt.abc import BlobInfo, Claim, EntryInfo
from kernelckpt.errors import FencedError, InvalidValueError, NotFoundError, RunOwnedError
from kernelckpt.storage import refusal
from kernelckpt.storage.check import check_part
from kernelckpt.storage.file.epoch import begin_epoch, claim_epoch, renew_epoch
from kernelckpt.storage.file.error import storage_error
from kernelckpt.storage.file.listing import RunView
from kernelckpt.storage.file.name import blob_file_name, owner_name, segment_name, sort_names
from kernelckpt.storage.file.ops import FileOps
from kernelckpt.storage.file.owner import (
    create_temporary,
    exists,
    is_alive,
    open_mark,
    publish,
    read_owner,
    renew_mark,
    write_mark,
    write_removed,
)
from kernelckpt.storage.file.prune import (
    doomed_segments,
    prune_owners,
    unlink_all,
    unlink_left_over,
    useless_segments,
)
from kernelckpt.storage.file.run import RunFolder
from kernelckpt.storage.file.segment import (
    encode_segment_header,
    frame_pieces,
    segment_seed,
    write_all,
)
from kernelckpt.storage.file.sync import sync_data, sync_file, sync_folder, sync_found

SEGMENT_BYTES = 8 * 1024 * 1024


class _OpenFile(Struct):
    """A segment or blob being written: never one that was found on disk.

    Attributes:
        fd: its descriptor.
        path: its name, temporary in case of a blob.
        number: the segment's number, or how many parts the blob has.
        end: where the next bytes go; what lies before was acknowledged in case of a segment.
    """

    fd: int
    path: str
    number: int = 0
    end: int = 0


def claim_run(
    run: RunFolder, run_id: str, holder: str, *, takeover: bool = False, doomed: bool = False
) -> tuple[int, int]:
    """Claim the next epoch; nobody older gets an acknowledgement from here on.

    Of a run that is doomed, to be deleted, it is of no interest which entries count.

    Returns:
        The epoch and the descriptor that holds its lock.

    Raises:
        RunOwnedError: the newest owner is alive.
        CorruptionError: an owner file is missing, so nobody can tell which entries count.
    """
    while True:
        names = sort_names(run.ops.listdir(run.path))
        newest = names.owners[-1] if names.owners else 0
        if newest and not takeover:
            try:
                _refuse_alive(run, run_id, newest)
            except FileNotFoundError:
                continue  # pruned since the folder was listed: a later owner is there
        written = names.segments[-1][0] if names.segments else 0
        if written > newest and not doomed:
            run.looker.look()  # raises, unless the owner came while the folder was listed
            continue
        newest = max(newest, written)
        if (fd := claim_epoch(run.ops, run.path, newest + 1, holder)) is not None:
            return newest + 1, fd


def claim_run_as(run: RunFolder, run_id: str, holder: str, claim: Claim) -> int:
    """Claim this very epoch: one that is newer than all there are, or the newest one again.

    Returns:
        The descriptor that holds its lock.

    Raises:
        InvalidValueError: the claim lies behind the newest epoch, or behind the head.
        RunOwnedError: the newest owner is alive.
        CorruptionError: an owner file is missing, so nobody can tell which entries count.
    """
    while True:
        view = refuse_behind(run, run_id, claim)
        newest = view.newest_epoch
        try:
            if newest:
                _refuse_alive(run, run_id, newest)
        except FileNotFoundError:
            continue  # pruned since the folder was listed: a later owner is there
        if newest == claim.epoch:
            fd = renew_epoch(run.ops, run.path, newest, holder, view.starts.get(newest))
        else:
            # An entry that the power takes along could not be written again once a later epoch is claimed.
            sync_found(run, view)
            sync_folder(run.ops, run.path)
            fd = claim_epoch(run.ops, run.path, claim.epoch, holder)
        if fd is not None:
            return fd


def refuse_behind(run: RunFolder, run_id: str, claim: Claim) -> RunView:
    """The run's folder as it is now.

    Raises:
        InvalidValueError: it has left the claim's epoch or head behind.
    """
    view = run.looker.look()
    if claim.epoch < max(view.newest_epoch, 1) or claim.head < view.head:
        raise refusal.behind(run.path, run_id, view.newest_epoch, view.head)
    return view


def _refuse_alive(run: RunFolder, run_id: str, epoch: int) -> None:
    if is_alive(run.ops, run.path, epoch):
        raise owned_error(run, run_id, epoch)


def owned_error(run: RunFolder, run_id: str, epoch: int) -> RunOwnedError:
    """What to say to somebody who asks for a run that an epoch's owner, or a later one, has."""
    try:
        holder = read_owner(run.ops, run.path, epoch).holder
    except FileNotFoundError:
        newest = max(sort_names(run.ops.listdir(run.path)).owners, default=0)
        if newest <= epoch:
            raise
        return owned_error(run, run_id, newest)  # a later owner pruned the file
    return RunOwnedError(
        f"run {run_id[:200]!r} is owned by {holder}, which is alive",
        hint="stop it, wait for it to end, or take the run over",
        run_id=run_id,
        holder=holder,
    )


class RunClaim:
    """Ownership of a run in one epoch; every call is made by the storage's one thread."""

    def __init__(self, run: RunFolder, epoch: int, fd: int) -> None:
        """Take over the descriptor that `claim_run` returned."""
        self.run = run
        self.epoch = epoch
        self.head = 0
        self._ops: FileOps = run.ops
        self._lock_fd = fd
        self._mark_fd = -1
        self._segment: _OpenFile | None = None
        self._segments = 0
        self._blobs: dict[str, _OpenFile] = {}

    def begin(self) -> None:
        """Read the head, make durable what was found, and write where this epoch begins, unless it has begun.

        Raises:
            FencedError: somebody else claimed the next epoch meanwhile; what was read may not count.
        """
        self._mark_fd = open_mark(self._ops, self.run.path)
        view = self.run.looker.look()
        self.head = view.head
        self._segments = max((n for epoch, n in view.names.segments if epoch == self.epoch), default=0)
        sync_found(self.run, view)
        sync_folder(self._ops, self.run.path)
        if self.epoch not in view.starts:
            self._begin_epoch(view)
        self.check()
        if self.head and self.head == view.mark.removed:
            self._write_removed(self.head)  # who wrote it may have been killed before it was durable

    def _begin_epoch(self, view: RunView) -> None:
        never = [epoch for epoch in view.unbegun if epoch < self.epoch]
        # One that is still empty may yet be filled by an owner that does not know it was replaced.
        begun = [(segment.epoch, segment.number) for segment in view.segments if segment.begin]
        begin_epoch(self._ops, self._lock_fd, self.head, never, max(begun, default=(0, 0)))

    def skip_to(self, head: int) -> None:
        """Leave out the numbers up to `head`, durably: to whoever lists they are as if deleted."""
        if head > self.head:
            self._write_removed(head)
            self.head = head

    def append(self, sequence: int, entry: Sequence[bytes], meta: bytes) -> None:
        """See `StorageBackend.append`."""
        if sequence != self.head + 1:
            raise FencedError(
                f"{self.run.path}: entry {sequence} does not follow the head {self.head}",
                hint="only the owner's next entry can be added",
            )
        segment = self._segment
        if segment is None or segment.end >= SEGMENT_BYTES:
            segment = self._open_segment()
        pieces = frame_pieces(self._seed(segment), sequence, entry, meta)
        if not segment.end:
            header = encode_segment_header(self.run.run_digest, self.epoch, segment.number, sequence)
            pieces.insert(0, header)
        self._write_acknowledged(segment, pieces)
        self.head = sequence
        with suppress(OSError):  # without the mark only the diagnosis of a torn tail is weaker
            write_mark(self._ops, self._mark_fd, self.epoch, sequence)

    def without_failed(self, found: Sequence[EntryInfo]) -> Sequence[EntryInfo]:
        """Entries without the one that this owner wrote and could not sync: it can be read, and may be lost.

        Once a later owner has begun, it counts or not, as that one has found it.
        """
        if self.run.looker.glance().newest_epoch != self.epoch:
            return found
        return [entry for entry in found if entry.epoch != self.epoch or entry.sequence <= self.head]

    def write_part(self, blob: str, index: int, data: Sequence[bytes]) -> None:
        """See `StorageBackend.write_part`."""
        path = f"{self.run.path}/{blob_file_name(blob)}"
        part = self._blobs.get(blob)
        check_part(index, part.number if part else 0, data)
        if part is None:
            if exists(self._ops, path):
                raise _name_taken(path)
            part = self._blobs[blob] = _OpenFile(*create_temporary(self._ops, self.run.path))
        try:
            part.end = write_all(self._ops, part.fd, data, part.end)
        except OSError as error:
            self._abandon(blob)
            raise storage_error(error, path) from error
        part.number += 1

    def finish_blob(self, blob: str) -> BlobInfo:
        """See `StorageBackend.finish_blob`."""
        part = self._blobs.get(blob)
        if part is None:
            raise NotFoundError(
                f"{self.run.path}: no part of blob {blob!r} was written, or writing one failed",
                hint="write it again under another name",
            )
        path = f"{self.run.path}/{blob_file_name(blob)}"
        try:
            sync_file(self._ops, part.fd, part.path)
            self.check()
            publish(self._ops, part.path, path)
        except FileExistsError as error:
            raise _name_taken(path) from error
        finally:
            self._abandon(blob)
        sync_folder(self._ops, self.run.path)
        return BlobInfo(blob, part.end)

    def delete(self, entries: Sequence[EntryInfo], blobs: Sequence[str]) -> None:
        """See `StorageBackend.delete`."""
        self.check()
        view = self.run.looker.look()
        doomed = doomed_segments(view, entries)
        if self._segment is not None and segment_name(self.epoch, self._segment.number) in doomed:
            self._close_segment()
        for blob in blobs:
            self._abandon(blob)
        if entries:
            self._write_removed(max(view.mark.removed, *(entry.sequence for entry in entries)))
        spared = segment_name(self.epoch, self._segment.number) if self._segment else ""
        useless = [name for name in useless_segments(view) if name != spared]
        unlink_all(self.run, [*doomed, *useless, *map(blob_file_name, blobs)])
        unlink_left_over(self.run, view.names.temporary)
        sync_folder(self._ops, self.run.path)
        if prune_owners(self.run, self.epoch):
            sync_folder(self._ops, self.run.path)

    def check(self) -> None:
        """Raise `FencedError` unless this epoch is the newest one on disk, under the lock held here.

        Raises:
            FencedError: a later owner took the run, or its folder is another one now.
            StorageUnavailableError: the folder is not where it was; the run is still ours if it comes back.
        """
        own = f"{self.run.path}/{owner_name(self.epoch)}"
        # In this order: a later owner whose file somebody deleted has a segment before it acknowledges.
        signs = (owner_name(self.epoch + 1), segment_name(self.epoch + 1, 1))
        if any(exists(self._ops, f"{self.run.path}/{name}") for name in signs):
            raise self._fenced("a later owner took the run")
        try:
            found = self._ops.stat(own)
        except FileNotFoundError as error:
            if not exists(self._ops, self.run.path):
                raise storage_error(error, self.run.path) from error
            raise self._fenced(f"a later owner took the run, or {own} was removed") from error
        if found.inode != self._ops.fstat(self._lock_fd).inode:
            raise self._fenced(f"{own} is not the file that is locked here; that one was removed")

    def _fenced(self, reason: str) -> FencedError:
        return FencedError(
            f"{self.run.path}: epoch {self.epoch} is over: {reason}",
            hint="stop this process, or start it again to wait for the run",
        )

    def release(self) -> None:
        """Close everything and let the lock go."""
        for blob in list(self._blobs):
            self._abandon(blob)
        self._close_segment()
        with suppress(OSError):
            self._ops.unlock(self._lock_fd)
        self._close_all()

    def leave_to_parent(self) -> None:
        """In a forked child: close what was inherited; the lock and all files stay as the parent has them."""
        self._close_all()

    def _close_all(self) -> None:
        written = [*self._blobs.values(), *([self._segment] if self._segment else [])]
        for fd in (self._lock_fd, self._mark_fd, *(file.fd for file in written)):
            if fd >= 0:
                with suppress(OSError):
                    self._ops.close(fd)

    def _seed(self, segment: _OpenFile) -> int:
        return segment_seed(self.run.run_digest, self.epoch, segment.number)

    def _open_segment(self) -> _OpenFile:
        self._close_segment()
        path = f"{self.run.path}/{segment_name(self.epoch, self._segments + 1)}"
        fd = self._ops.create(path)
        self._segments += 1
        self._segment = _OpenFile(fd, path, self._segments)
        return self._segment

    def _write_acknowledged(self, segment: _OpenFile, pieces: Sequence[bytes]) -> None:
        """Write, sync, and only then look whether the run is still ours; any failure ends the segment."""
        try:
            end = write_all(self._ops, segment.fd, pieces, segment.end)
        except OSError as error:
            self._close_segment()
            if not segment.end:  # nothing whole was ever in it
                with suppress(OSError):
                    self._ops.unlink(segment.path)
            raise storage_error(error, segment.path) from error
        try:
            sync_data(self._ops, segment.fd, segment.path)
            if not segment.end:
                sync_folder(self._ops, self.run.path)
            self.check()
        except BaseException:
            self._close_segment()
            raise
        segment.end = end

    def _write_removed(self, removed: int) -> None:
        """Say durably what is about to be deleted; a mark whose sync failed is never synced again."""
        if self._mark_fd < 0:
            self._mark_fd = renew_mark(self._ops, self.run.path, self.epoch, self.head, removed)
            return
        try:
            write_mark(self._ops, self._mark_fd, self.epoch, self.head)
            write_removed(self._ops, self._mark_fd, removed)
        except OSError:
            fd, self._mark_fd = self._mark_fd, -1
            with suppress(OSError):
                self._ops.close(fd)
            raise

    def _close_segment(self) -> None:
        segment, self._segment = self._segment, None
        if segment is not None:
            with suppress(OSError):  # what was acknowledged is synced, the rest does not count
                self._ops.close(segment.fd)

    def _abandon(self, blob: str) -> None:
        part = self._blobs.pop(blob, None)
        if part is not None:
            with suppress(OSError):
                self._ops.unlink(part.path)
            with suppress(OSError):
                self._ops.close(part.fd)


def _name_taken(path: str) -> InvalidValueError:
    return InvalidValueError(f"{path}: the blob's name was used before", hint="give each blob a new name")
