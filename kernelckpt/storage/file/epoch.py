"""How an epoch of a run's folder is claimed, gone on with, and begun."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise

from kernelckpt.errors import CorruptionError
from kernelckpt.storage.file.name import owner_name, sort_names
from kernelckpt.storage.file.ops import FileOps
from kernelckpt.storage.file.owner import (
    BEGIN,
    CLAIM,
    SEAL,
    create_temporary,
    open_regular,
    publish,
    read_file,
    read_owner,
)
from kernelckpt.storage.file.record import decode_record, encode_record
from kernelckpt.storage.file.segment import write_all

_HOLDER_CHARACTERS = 1000


def claim_epoch(ops: FileOps, folder: str, epoch: int, holder: str) -> int | None:
    """Make the owner file of an epoch, held by a lock from its first instant; every older owner is fenced.

    Returns:
        Its descriptor, or None when somebody else has that epoch or a newer one.
    """
    fd, temporary = create_temporary(ops, folder)
    try:
        write_all(ops, fd, [_encode_claim(epoch, holder)], 0)
        publish(ops, temporary, f"{folder}/{owner_name(epoch)}")
        ops.fsync_folder(folder)
        is_newest = _fence_older(ops, folder, epoch)
    except FileExistsError:
        ops.close(fd)
        return None
    except OSError:
        ops.close(fd)
        raise
    if is_newest:
        return fd
    ops.close(fd)
    return None


def _fence_older(ops: FileOps, folder: str, epoch: int) -> bool:
    """See that each older owner finds the epoch after its own taken; false when there is a newer owner.

    A copy may leave epochs out. Of two owners whose epochs are not neighbours, the one whose file came later
    finds the other's here, and either gives way or takes the epoch after it by a second name of its own file.
    """
    owners = sort_names(ops.listdir(folder)).owners
    if owners[-1] > epoch:
        return False
    for older, newer in pairwise(owners):
        if newer != older + 1 and not _is_second_name(ops, folder, older):
            with suppress(FileExistsError):
                ops.link(f"{folder}/{owner_name(epoch)}", f"{folder}/{owner_name(older + 1)}")
    return True


def _is_second_name(ops: FileOps, folder: str, epoch: int) -> bool:
    """Whether the owner file of an epoch is a second name of one that took it so that nobody does."""
    path = f"{folder}/{owner_name(epoch)}"
    with suppress(CorruptionError, FileNotFoundError):
        (found, _), _ = decode_record(read_file(ops, path), CLAIM, (int, str), path)
        return bool(found != epoch)
    return False


def renew_epoch(ops: FileOps, folder: str, epoch: int, holder: str, start: int | None) -> int | None:
    """Put a new owner file in the place of a dead owner's, to go on in its epoch; whoever has it is fenced.

    Args:
        ops: the file system.
        folder: the run's.
        epoch: the newest one.
        holder: who goes on.
        start: the head when the epoch began; None when it never did.

    Returns:
        The descriptor of the new file, or None when somebody else was faster.
    """
    path = f"{folder}/{owner_name(epoch)}"
    try:
        old = open_regular(ops, path)
    except FileNotFoundError:
        return None
    try:
        if not ops.lock(old) or ops.stat(path).inode != ops.fstat(old).inode:
            return None
        return _replace_owner(ops, folder, epoch, holder, start)
    except FileNotFoundError:
        return None  # a later owner pruned it
    finally:
        ops.close(old)


def _replace_owner(ops: FileOps, folder: str, epoch: int, holder: str, start: int | None) -> int | None:
    """The new file says of where the epoch began what the old one said."""
    owner = read_owner(ops, folder, epoch)
    records = [_encode_claim(epoch, holder)]
    if start is not None:
        records.append(encode_record(BEGIN, start, list(owner.never)))
    if start is not None and owner.seal is not None:
        records.append(encode_record(SEAL, *owner.seal))
    fd, temporary = create_temporary(ops, folder)
    try:
        write_all(ops, fd, records, 0)
        ops.fsync(fd)
        ops.rename(temporary, f"{folder}/{owner_name(epoch)}")
        ops.fsync_folder(folder)
        if _fence_older(ops, folder, epoch):
            return fd
    except BaseException:
        ops.close(fd)
        with suppress(OSError):
            ops.unlink(temporary)
        raise
    ops.close(fd)
    return None


def _encode_claim(epoch: int, holder: str) -> bytes:
    text = holder.encode("utf-8", "backslashreplace").decode()[:_HOLDER_CHARACTERS]
    return encode_record(CLAIM, epoch, text)


def begin_epoch(
    ops: FileOps, fd: int, start: int, never: Sequence[int], newest_segment: tuple[int, int]
) -> None:
    """Write where the epoch began; from now on what older ones add is void.

    Args:
        ops: the file system.
        fd: what `claim_epoch` returned.
        start: the head.
        never: older epochs that had been claimed but had not begun when the head was read. Each of them
            may still write where it began, having read an older head than this one.
        newest_segment: epoch and number of the newest segment that something was in when the head was read.
            An owner that does not know it was replaced may try its newest entry again in a later one.
    """
    size = ops.fstat(fd).size
    begin, seal = encode_record(BEGIN, start, list(never)), encode_record(SEAL, *newest_segment)
    write_all(ops, fd, [begin, seal], size)
    ops.fsync(fd)
