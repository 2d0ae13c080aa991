"""What a simulated file system holds: for each file and folder what a crash keeps, and what it may keep."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Literal

from msgspec import Struct, field

ROOT = 1
"""The inode of the root folder."""


class SimOp(Struct, frozen=True, kw_only=True):
    """One operation that changed the file system, or brought something to the medium.

    Attributes:
        call: what was done.
        path: where, for people.
        inode: the file written, synced, named or made, or the folder synced.
        folder: the inode of the folder whose names change; 0 when none do.
        name: the name that comes, goes or is moved.
        target: where it is moved to.
        offset: where a write begins, in bytes.
        data: what it writes.
    """

    call: Literal[
        "create",
        "mkdir",
        "link",
        "unlink",
        "rmdir",
        "rename",
        "pwritev",
        "fdatasync",
        "fsync",
        "fsync_folder",
        "failed_sync",
    ]
    path: str
    inode: int = 0
    folder: int = 0
    name: str = ""
    target: str = ""
    offset: int = 0
    data: bytes = b""


class SimFile(Struct):
    """A file: its bytes, those that are durable, and the writes since.

    Attributes:
        inode: its number.
        data: the bytes that are read.
        durable: the bytes that were durable before `pending`.
        pending: the writes since, in order.
        kept: those of them, by index, that are durable nevertheless: they were synced after some were lost.
        lost: those that a sync failed to make durable: each may be there, and no later sync changes that.
        changed: when it was last changed.
    """

    inode: int
    data: bytearray
    durable: bytes
    pending: list[SimOp] = field(default_factory=list)
    kept: set[int] = field(default_factory=set)
    lost: set[int] = field(default_factory=set)
    changed: int = 0

    def apply(self, op: SimOp) -> None:
        """Do a write or a sync."""
        if op.call == "pwritev":
            write_into(self.data, op)
            self.pending.append(op)
        elif op.call == "failed_sync":
            self.lost.update(self.unsure)
        elif self.lost:
            self.kept.update(set(self.unsure) - self.lost)
        else:
            self.durable = bytes(self.data)
            self.pending.clear()

    @property
    def unsure(self) -> list[int]:
        """Which of the writes since may be on the medium, or not."""
        return [at for at in range(len(self.pending)) if at not in self.kept]

    def with_only(self, chosen: Iterable[int]) -> bytes:
        """The bytes on the medium if of the unsure writes only these are."""
        there = self.kept.union(chosen)
        return written(self.durable, [write for at, write in enumerate(self.pending) if at in there])


class SimFolder(Struct):
    """A folder: its names, those that are durable, and the changes since; each name leads to an inode."""

    inode: int
    names: dict[str, int]
    durable: dict[str, int]
    pending: list[SimOp] = field(default_factory=list)
    changed: int = 0

    def apply(self, op: SimOp) -> None:
        """Do a change of names or a sync."""
        if op.call == "fsync_folder":
            self.durable = dict(self.names)
            self.pending.clear()
        else:
            change_names(self.names, op)
            self.pending.append(op)


class SimDisk:
    """All files and folders, as the operations so far left them.

    Attributes:
        nodes: by inode.
        changes: how many operations were applied.
    """

    def __init__(self, image: SimImage) -> None:
        """Hold what is in an image, all of it durable."""
        self.nodes: dict[int, SimFile | SimFolder] = {ROOT: SimFolder(ROOT, {}, {})}
        self.changes = 0
        inodes = {"": ROOT, **image.names}
        for path, inode in image.names.items():
            if inode in image.data:
                data = image.data[inode]
                self.nodes[inode] = SimFile(inode, bytearray(data), data)
            else:
                self.nodes[inode] = SimFolder(inode, {}, {})
            above, _, name = path.rpartition("/")
            parent = self.folder(inodes[above])
            parent.names[name] = parent.durable[name] = inode
        self.next_inode = max(self.nodes) + 1

    def apply(self, op: SimOp) -> None:
        """Do one operation; it must be possible."""
        self.changes += 1
        if op.call == "create":
            self.nodes[op.inode] = SimFile(op.inode, bytearray(), b"")
        elif op.call == "mkdir":
            self.nodes[op.inode] = SimFolder(op.inode, {}, {})
        self.next_inode = max(self.next_inode, op.inode + 1)
        node = self.nodes[op.folder or op.inode]
        node.apply(op)
        if op.call not in ("fsync", "fdatasync", "fsync_folder", "failed_sync"):
            node.changed = self.changes

    @property
    def now(self) -> dict[int, bytes | dict[str, int]]:
        """The bytes of each file and the names in each folder, synced or not."""
        nodes = self.nodes.values()
        return {node.inode: node.names if isinstance(node, SimFolder) else bytes(node.data) for node in nodes}

    def folder(self, inode: int) -> SimFolder:
        """The folder of an inode."""
        found = self.nodes[inode]
        assert isinstance(found, SimFolder)
        return found


class SimImage(Struct, frozen=True):
    """What a medium holds after a crash: everything in it is durable.

    Attributes:
        names: each file's and folder's inode by its path, folders before what is in them.
        data: the bytes of each file, by inode.
        starts: how often the machine had been started before, or its processes after a kill.
    """

    names: Mapping[str, int] = {}
    data: Mapping[int, bytes] = {}
    starts: int = 0

    @property
    def files(self) -> dict[str, bytes]:
        """The bytes of each file by its path."""
        return {path: self.data[inode] for path, inode in self.names.items() if inode in self.data}

    @property
    def folders(self) -> list[str]:
        """The paths of the folders, without the root."""
        return [path for path, inode in self.names.items() if inode not in self.data]

    @property
    def key(self) -> bytes:
        """A digest that is equal for images with the same names and bytes."""
        digest = blake2b(digest_size=16)
        first: dict[int, str] = {}
        for path, inode in sorted(self.names.items()):
            data = self.data.get(inode)
            size = -1 if data is None else len(data)
            digest.update(f"{path}\0{first.setdefault(inode, path)}\0{size}\0".encode())
            digest.update(data or b"")
        return digest.digest()


def write_into(data: bytearray, write: SimOp) -> None:
    """Put a write into a file's bytes; a gap before it reads as zeros."""
    if write.offset > len(data):
        data.extend(bytes(write.offset - len(data)))
    data[write.offset : write.offset + len(write.data)] = write.data


def change_names(names: dict[str, int], op: SimOp) -> None:
    """Apply a change of names to what may not be the names it was made for."""
    if op.call == "rename":
        names.pop(op.name, None)
        names[op.target] = op.inode
    elif op.call in ("unlink", "rmdir"):
        names.pop(op.name, None)
    else:
        names[op.name] = op.inode


def image_of(states: Mapping[int, bytes | Mapping[str, int]], starts: int) -> SimImage:
    """The image made of these files and folders; what no name leads to is not in it."""
    paths: dict[str, int] = {}
    data: dict[int, bytes] = {}
    waiting = [("", states[ROOT])]
    for above, names in waiting:
        assert not isinstance(names, bytes)
        for name, inode in sorted(names.items()):
            path = f"{above}/{name}"
            paths[path] = inode
            state = states[inode]
            if isinstance(state, bytes):
                data[inode] = state
            else:
                waiting.append((path, state))
    return SimImage(paths, data, starts)


def written(durable: bytes, writes: Sequence[SimOp]) -> bytes:
    """A file's bytes after some of the writes since it was durable."""
    data = bytearray(durable)
    for write in writes:
        write_into(data, write)
    return bytes(data)
