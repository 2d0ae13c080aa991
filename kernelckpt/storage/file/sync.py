"""Bringing files to the medium: while writing, and for what a dead owner left behind."""

from __future__ import annotations

from kernelckpt.storage.file.error import sync_error
from kernelckpt.storage.file.listing import RunView
from kernelckpt.storage.file.ops import FileOps
from kernelckpt.storage.file.owner import open_regular
from kernelckpt.storage.file.run import RunFolder
from kernelckpt.storage.file.segment import read_all, write_all

_CHUNK_BYTES = 1024 * 1024


def sync_data(ops: FileOps, fd: int, path: str) -> None:
    """Sync the data of an open file; `SyncFailedError` when that fails."""
    try:
        ops.fdatasync(fd)
    except OSError as error:
        raise sync_error(error, path) from error


def sync_file(ops: FileOps, fd: int, path: str) -> None:
    """Sync an open file; `SyncFailedError` when that fails."""
    try:
        ops.fsync(fd)
    except OSError as error:
        raise sync_error(error, path) from error


def sync_folder(ops: FileOps, path: str) -> None:
    """Sync the names in a folder; `SyncFailedError` when that fails."""
    try:
        ops.fsync_folder(path)
    except OSError as error:
        raise sync_error(error, path) from error


def sync_found(run: RunFolder, view: RunView) -> None:
    """Make durable what the last owner wrote; what older ones did was made so by their successors.

    Only the newest entry may not have been acknowledged. If that was because its sync failed, the system
    believes its pages to be clean and another sync would do nothing for them: it is written over itself.
    """
    last_epoch = max(view.starts, default=0)
    newest = max((entry.sequence for entry in view.entries(0) if not entry.damage), default=0)
    for segment in view.segments:
        if segment.epoch >= last_epoch:
            place = segment.places.get(newest)
            _sync_found_file(run, segment.name, (place.start, place.end) if place else (0, 0))
    for name in view.names.blobs.values():
        _sync_found_file(run, name, (0, 0))


def _sync_found_file(run: RunFolder, name: str, rewritten: tuple[int, int]) -> None:
    path = f"{run.path}/{name}"
    try:
        fd = open_regular(run.ops, path, write=True)
    except FileNotFoundError:
        return  # deleted since the folder was listed
    try:
        begin, end = rewritten
        while begin < end:
            data = read_all(run.ops, fd, min(end - begin, _CHUNK_BYTES), begin)
            begin = write_all(run.ops, fd, [data], begin) if data else end
        sync_file(run.ops, fd, path)
    finally:
        run.ops.close(fd)
