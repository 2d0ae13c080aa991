"""What may be removed from a run's folder, and how; only its owner does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress

from kernelckpt.abc import EntryInfo
from kernelckpt.errors import InvalidValueError
from kernelckpt.storage.file.listing import RunView
from kernelckpt.storage.file.name import owner_name, segment_of, sort_names
from kernelckpt.storage.file.owner import open_regular
from kernelckpt.storage.file.run import RunFolder


def doomed_segments(view: RunView, entries: Sequence[EntryInfo]) -> list[str]:
    """The segments that hold these entries, in order of age.

    Raises:
        InvalidValueError: one of them also holds an entry that is not among these.
    """
    doomed = {entry.segment for entry in entries if entry.segment}
    if unknown := [name for name in doomed if segment_of(name) is None]:
        raise InvalidValueError(f"{unknown[0]!r} names no segment", hint="pass what listing gave")
    given = {(entry.epoch, entry.sequence) for entry in entries}
    for entry in view.entries(0):
        if entry.segment in doomed and (entry.epoch, entry.sequence) not in given:
            raise InvalidValueError(
                f"{entry.segment} also holds entry {entry.sequence}",
                hint="delete all entries of a segment together",
                path="entries",
            )
    return [segment.name for segment in view.segments if segment.name in doomed]


def useless_segments(view: RunView) -> list[str]:
    """Segments in which nothing counts and nothing was lost: void, or given up after a failed write."""
    listed = {entry.segment for entry in view.entries(0)}
    return [segment.name for segment in view.segments if segment.begin and segment.name not in listed]


def unlink_all(run: RunFolder, names: Iterable[str]) -> None:
    """Remove files of a run's folder; missing ones are no error."""
    for name in names:
        with suppress(FileNotFoundError):
            run.ops.unlink(f"{run.path}/{name}")


def unlink_left_over(run: RunFolder, names: Iterable[str]) -> None:
    """Remove temporary files whose writers are dead: those that nobody holds the lock of."""
    for name in names:
        with suppress(FileNotFoundError):
            fd = open_regular(run.ops, f"{run.path}/{name}")
            try:
                if run.ops.lock(fd):
                    run.ops.unlink(f"{run.path}/{name}")
            finally:
                run.ops.close(fd)


def prune_owners(run: RunFolder, epoch: int) -> bool:
    """Remove owner files of epochs that have no segment left, the oldest first, never the newest."""
    names = sort_names(run.ops.listdir(run.path))
    oldest = min([epoch, *(found for found, _ in names.segments)])
    doomed = [owner_name(owner) for owner in names.owners if owner < oldest]
    unlink_all(run, doomed)
    return bool(doomed)
