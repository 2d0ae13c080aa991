"""The images that a crash of a simulated file system may leave: which there are, and which are tried."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import product
from math import prod

from kernelckpt.testing.sim_disk import (
    SimDisk,
    SimFile,
    SimFolder,
    SimImage,
    SimOp,
    change_names,
    image_of,
    written,
)

_ALL_SUBSETS = 4
"""Up to so many unsynced operations of one file or folder are left out in every combination."""


def crash_images(
    disk: SimDisk, limit: int, *, sectors: Sequence[int], seed: str, starts: int
) -> Iterator[SimImage]:
    """Distinct images, at most `limit`; see `SimFileSystem.images`."""
    states = {node.inode: _states(node, sectors, seed) for node in disk.nodes.values()}
    dirty = [inode for inode, (found, _) in states.items() if len(found) > 1]
    counts = [len(states[inode][0]) for inode in dirty]
    newest = [states[inode][1] for inode in dirty]
    seen = set()
    for choice in choices(counts, newest, limit, random.Random(seed)):  # noqa: S311 - repeatable, not secret
        chosen = dict(zip(dirty, choice, strict=True))
        image = image_of({inode: found[chosen.get(inode, 0)] for inode, (found, _) in states.items()}, starts)
        if (key := image.key) not in seen:
            seen.add(key)
            yield image
            if len(seen) >= limit:
                return


def choices(
    counts: Sequence[int], newest: Sequence[int], limit: int, chance: random.Random
) -> Iterator[tuple[int, ...]]:
    """Which state each file and folder has: all combinations, or some when they are more than `limit`.

    Args:
        counts: how many states each may have; the first is the durable one.
        newest: the state of each in which nothing is lost.
        limit: how many combinations are few.
        chance: chooses.
    """
    if prod(counts) <= limit:
        yield from product(*map(range, counts))
        return
    oldest = [0] * len(counts)
    yield tuple(oldest)
    yield tuple(newest)
    singles = [
        (*rest[:place], state, *rest[place + 1 :])
        for rest in (list(newest), oldest)
        for place, count in enumerate(counts)
        for state in range(count)
        if state != rest[place]
    ]
    chance.shuffle(singles)
    yield from singles
    for _ in range(4 * limit):
        yield tuple(chance.randrange(count) for count in counts)


def _states(
    node: SimFile | SimFolder, sectors: Sequence[int], seed: str
) -> tuple[Sequence[bytes | dict[str, int]], int]:
    """The states a crash may leave a file or folder in, and which of them is the newest."""
    if isinstance(node, SimFolder):
        names = folder_states(node)
        return names, names.index(node.names)
    data = file_states(node, sectors, random.Random(seed))  # noqa: S311
    return data, data.index(bytes(node.data))


def folder_states(folder: SimFolder) -> list[dict[str, int]]:
    """The names a crash may leave in a folder: the durable ones first."""
    found = []
    for chosen in subsets(range(len(folder.pending))):
        names = dict(folder.durable)
        for at in chosen:
            change_names(names, folder.pending[at])
        found.append(names)
    return [names for at, names in enumerate(found) if names not in found[:at]]


def file_states(file: SimFile, sectors: Sequence[int], chance: random.Random) -> list[bytes]:
    """The bytes a crash may leave in a file: the durable ones first."""
    if not file.pending:
        return [file.durable]
    unsure = file.unsure
    found = [file.with_only(chosen) for chosen in subsets(unsure)]
    for at in unsure:
        write, after = file.pending[at], [file.pending[later] for later in sorted(file.kept) if later > at]
        before = written(file.durable, file.pending[:at])
        noise = chance.randbytes(len(write.data))
        for sector in sectors:
            found.extend(written(torn, after) for torn in torn_states(before, write, sector, noise))
    return list(dict.fromkeys(found))


def torn_states(before: bytes, write: SimOp, sector: int, noise: bytes) -> Iterator[bytes]:
    """The bytes a file may have when a write reached the medium in part; where it grew, noise may be."""
    size, end = len(write.data), write.offset + len(write.data)
    borders = range(sector - write.offset % sector, size, sector)
    grown = before + bytes(max(0, end - len(before)))
    for cut in sorted({0, 1, size // 2, size - 1, *borders} - {size}):
        yield put(before, write.offset, write.data[:cut])
        yield put(grown, write.offset, write.data[:cut])
        new = max(write.offset + cut, len(before))
        yield put(put(grown, write.offset, write.data[:cut]), new, noise[: max(0, end - new)])
    for begin, stop in zip((0, *borders), (*borders, size), strict=True):
        sector_only = put(grown, write.offset + begin, write.data[begin:stop])
        yield sector_only
        rest = put(grown, write.offset, write.data)
        yield put(rest, write.offset + begin, grown[write.offset + begin : write.offset + stop])


def put(data: bytes, offset: int, piece: bytes) -> bytes:
    """Bytes with a piece of them replaced; an empty piece changes nothing."""
    if not piece:
        return data
    return data[:offset] + bytes(max(0, offset - len(data))) + piece + data[offset + len(piece) :]


def subsets(unsure: Sequence[int]) -> Iterator[Sequence[int]]:
    """None, all, then others: every subset of a few; of many each prefix, each one alone, all but one."""
    yield ()
    yield unsure
    count = len(unsure)
    if count <= _ALL_SUBSETS:
        for mask in range(1, (1 << count) - 1):
            yield [number for at, number in enumerate(unsure) if mask >> at & 1]
        return
    for at in range(count):
        yield unsure[:at]
        yield unsure[at : at + 1]
        yield [*unsure[:at], *unsure[at + 1 :]]
