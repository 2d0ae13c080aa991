"""Who owns a run's folder: owner files, one an epoch, and the high-water mark of what was acknowledged."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache

from msgspec import Struct

from kernelckpt.errors import CorruptionError, StorageUnavailableError
from kernelckpt.storage.file.name import HEAD, owner_name, temporary_name
from kernelckpt.storage.file.ops import FileOps
from kernelckpt.storage.file.record import decode_record, encode_record
from kernelckpt.storage.file.segment import read_all, write_all

CLAIM, BEGIN, SEAL, _HEAD, _REMOVED = (
    "kernelckpt-owner",
    "kernelckpt-begin",
    "kernelckpt-seal",
    "kernelckpt-head",
    "kernelckpt-removed",
)
_SLOT_BYTES = 64
"""From one slot to the next. No slot lies across two sectors. A record has 25 to 41 bytes, by the length of
its numbers; only these are written, and what a longer one left behind them is not read."""

_REMOVED_SLOTS = (4, 5)
_FILE_BYTES = 6 * _SLOT_BYTES


class Owner(Struct, frozen=True):
    """What an owner file says.

    Attributes:
        epoch: the owner's number.
        holder: what it said of itself.
        start: the head when its epoch began; None when it never began.
        never: older epochs that had not begun by then; if they did later, it does not count.
        seal: epoch and number of the newest segment that something was in by then; what older owners made
            after it is void. None where an older version of this package did not say.
    """

    epoch: int
    holder: str
    start: int | None
    never: Sequence[int] = ()
    seal: tuple[int, int] | None = None


class Mark(Struct, frozen=True):
    """What had been acknowledged; not synced each time, so it may be behind, never ahead.

    Attributes:
        epoch: who wrote it.
        sequence: the newest entry it had acknowledged.
        removed: the newest entry that was ever deleted; always synced.
    """

    epoch: int = 0
    sequence: int = 0
    removed: int = 0


def open_regular(ops: FileOps, path: str, *, write: bool = False) -> int:
    """Open a file of ours, refusing links, pipes and whatever else somebody may have put there."""
    fd = ops.open(path, write=write)
    try:
        if ops.fstat(fd).kind != "file":
            raise StorageUnavailableError(f"{path}: not a regular file", hint="move it away")
    except BaseException:
        ops.close(fd)
        raise
    return fd


def read_file(ops: FileOps, path: str) -> bytes:
    """The whole of a file of ours."""
    fd = open_regular(ops, path)
    try:
        return read_all(ops, fd, ops.fstat(fd).size, 0)
    finally:
        ops.close(fd)


def create_temporary(ops: FileOps, folder: str) -> tuple[int, str]:
    """A new file under a name of its own, locked so that nobody takes it for a left-over."""
    while True:
        path = f"{folder}/{temporary_name()}"
        fd = ops.create(path)
        try:
            if ops.lock(fd) and exists(ops, path):  # else a cleaner took it for one
                return fd, path
        except BaseException:
            ops.close(fd)
            raise
        ops.close(fd)


def publish(ops: FileOps, temporary: str, path: str) -> None:
    """Give a synced temporary file its name; `FileExistsError` when it is taken. Folders are not synced."""
    try:
        ops.link(temporary, path)
    finally:
        with suppress(FileNotFoundError):
            ops.unlink(temporary)


def write_new(ops: FileOps, folder: str, name: str, data: bytes) -> bool:
    """Put a whole file durably into a folder; False when one of that name is there already."""
    fd, temporary = create_temporary(ops, folder)
    try:
        write_all(ops, fd, [data], 0)
        ops.fsync(fd)
        publish(ops, temporary, f"{folder}/{name}")
        added = True
    except FileExistsError:
        added = False
    except OSError:
        with suppress(OSError):
            ops.unlink(temporary)
        raise
    finally:
        ops.close(fd)
    ops.fsync_folder(folder)
    return added


def read_owner(ops: FileOps, folder: str, epoch: int) -> Owner:
    """What an owner file says; one without whole content never began.

    Raises:
        FileNotFoundError: there is none.
        UnsupportedVersionError: a newer version wrote it.
    """
    path = f"{folder}/{owner_name(epoch)}"
    data = read_file(ops, path)
    holder, start, never, seal = "an owner that left no name", None, (), None
    with suppress(CorruptionError):
        (found, holder), end = decode_record(data, CLAIM, (int, str), path)
        if found == epoch:
            (start, never), size = decode_record(data[end:], BEGIN, (int, list), path)
            seal, _ = decode_record(data[end + size :], SEAL, (int, int), path)
    return Owner(epoch, holder, start, never, (seal[0], seal[1]) if seal else None)


def is_alive(ops: FileOps, folder: str, epoch: int) -> bool:
    """Whether the owner of an epoch still holds its lock."""
    fd = open_regular(ops, f"{folder}/{owner_name(epoch)}")
    try:
        return not ops.lock(fd, shared=True)
    finally:
        ops.close(fd)


def exists(ops: FileOps, path: str) -> bool:
    """Whether something of that name is there."""
    try:
        ops.stat(path)
    except FileNotFoundError:
        return False
    return True


def open_mark(ops: FileOps, folder: str) -> int:
    """The file of the high-water mark, made when it is missing."""
    path = f"{folder}/{HEAD}"
    while True:
        with suppress(FileNotFoundError):
            return _unshared(ops, folder, open_regular(ops, path, write=True))
        with suppress(FileExistsError):
            return ops.create(path)


def _unshared(ops: FileOps, folder: str, fd: int) -> int:
    """The mark, open in a file of its own: what else has its name is a copy of the folder, or not ours."""
    try:
        if ops.fstat(fd).links == 1:
            return fd
        data = read_all(ops, fd, _FILE_BYTES, 0)
    except BaseException:
        ops.close(fd)
        raise
    ops.close(fd)
    fd, temporary = create_temporary(ops, folder)
    try:
        write_all(ops, fd, [data], 0)
        ops.fsync(fd)
        ops.rename(temporary, f"{folder}/{HEAD}")
        ops.fsync_folder(folder)
    except BaseException:
        ops.close(fd)
        with suppress(OSError):
            ops.unlink(temporary)
        raise
    return fd


def write_mark(ops: FileOps, fd: int, epoch: int, sequence: int) -> None:
    """Write what was acknowledged into one of an owner's two slots, in turn."""
    _write_slot(ops, fd, _head_slot(epoch, sequence), encode_record(_HEAD, epoch, sequence))


def write_removed(ops: FileOps, fd: int, removed: int) -> None:
    """Write, durably and together with the mark, the newest entry that is about to be deleted."""
    data = read_all(ops, fd, _FILE_BYTES, 0)
    older = min(_REMOVED_SLOTS, key=lambda slot: _read_slot(data, slot, _REMOVED, 1) or [0])
    _write_slot(ops, fd, older, encode_record(_REMOVED, removed))
    ops.fsync(fd)


def renew_mark(ops: FileOps, folder: str, epoch: int, sequence: int, removed: int) -> int:
    """Put a new file in the place of a mark whose sync failed, durably; returns its descriptor."""
    fd, temporary = create_temporary(ops, folder)
    try:
        _write_slot(ops, fd, _head_slot(epoch, sequence), encode_record(_HEAD, epoch, sequence))
        _write_slot(ops, fd, _REMOVED_SLOTS[0], encode_record(_REMOVED, removed))
        ops.fsync(fd)
        ops.rename(temporary, f"{folder}/{HEAD}")
        ops.fsync_folder(folder)
    except BaseException:
        with suppress(OSError):
            ops.unlink(temporary)
        with suppress(OSError):
            ops.close(fd)
        raise
    return fd


def read_mark(ops: FileOps, folder: str) -> Mark:
    """The newest mark that is whole; a damaged or missing file only knows less."""
    try:
        data = read_file(ops, f"{folder}/{HEAD}")
    except FileNotFoundError:
        return Mark()
    return _decode_mark(data[:_FILE_BYTES])


@lru_cache(maxsize=64)
def _decode_mark(data: bytes) -> Mark:
    epoch, sequence = max(_read_slot(data, slot, _HEAD, 2) or [0, 0] for slot in range(4))
    (removed,) = max(_read_slot(data, slot, _REMOVED, 1) or [0] for slot in _REMOVED_SLOTS)
    return Mark(epoch, sequence, removed)


def _head_slot(epoch: int, sequence: int) -> int:
    return 2 * (epoch % 2) + sequence % 2


def _write_slot(ops: FileOps, fd: int, slot: int, data: bytes) -> None:
    write_all(ops, fd, [data], slot * _SLOT_BYTES)


def _read_slot(data: bytes, slot: int, kind: str, fields: int) -> list[int] | None:
    written = data[slot * _SLOT_BYTES : (slot + 1) * _SLOT_BYTES]
    if not any(written):
        return None
    with suppress(CorruptionError):
        found, _ = decode_record(written, kind, (int,) * fields, HEAD)
        return found
    return None
