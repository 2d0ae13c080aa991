"""The calls that storages of files make, done in memory: what Linux would do, and nothing is forgotten."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from typing import Any, Literal, NoReturn

from msgspec import Struct

from kernelckpt.testing.sim_disk import ROOT, SimDisk, SimFile, SimFolder, SimImage, SimOp

_FIRST_WALL_NS = 1_700_000_000_000_000_000


class SimFacts(Struct, frozen=True):
    """What is known of a simulated file or folder without reading it; time counts operations."""

    kind: Literal["file", "folder"]
    size: int
    inode: int
    modified_ns: int
    links: int = 1


class _Open(Struct):
    """An open descriptor."""

    node: SimFile | SimFolder
    path: str
    write: bool


class SimCalls:
    """The calls of `FileStorage`'s `ops`, on a simulated disk.

    Attributes:
        log: every operation that changed something or synced it, in order.
    """

    def __init__(self, origin: SimImage, log: Sequence[SimOp]) -> None:
        """Begin with what is in an image, then do the operations of a log."""
        self.log = list(log)
        self._disk = SimDisk(origin)
        self._open: dict[int, _Open] = {}
        self._locks: dict[int, dict[int, bool]] = {}
        self._folders: dict[str, SimFolder] = {}
        self._next_fd = 3
        for op in log:
            self._disk.apply(op)

    def create(self, path: str) -> int:
        """Make a new file and open it."""
        folder, name = self._place(path)
        if name in folder.names:
            _fail(errno.EEXIST, path)
        inode = self._disk.next_inode
        self._do("create", path, inode=inode, folder=folder.inode, name=name)
        return self._descriptor(self._disk.nodes[inode], path, write=True)

    def open(self, path: str, *, write: bool = False) -> int:
        """Open an existing file."""
        node = self._node(path)
        if write and isinstance(node, SimFolder):
            _fail(errno.EISDIR, path)
        return self._descriptor(node, path, write=write)

    def close(self, fd: int) -> None:
        """Close a descriptor; its lock goes with it."""
        self.unlock(fd)
        del self._open[fd]

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        """Up to `size` bytes from `offset`."""
        return bytes(self._file(fd).data[offset : offset + size])

    def pwritev(self, fd: int, pieces: Sequence[bytes | memoryview], offset: int) -> int:
        """Write all pieces at `offset`."""
        file = self._file(fd, write=True)
        data = b"".join(pieces)
        if data:
            self._do("pwritev", self._opened(fd).path, inode=file.inode, offset=offset, data=data)
        return len(data)

    def fdatasync(self, fd: int) -> None:
        """Make the bytes and the size of a file durable."""
        self._do("fdatasync", self._opened(fd).path, inode=self._file(fd).inode)

    def fsync(self, fd: int) -> None:
        """Make a file durable, not its names."""
        self._do("fsync", self._opened(fd).path, inode=self._file(fd).inode)

    def fsync_folder(self, path: str) -> None:
        """Make the names in a folder durable."""
        self._do("fsync_folder", path, inode=self._folder(path).inode)

    def fail_sync(self, fd: int) -> None:
        """What a sync that fails does: later ones will not make durable what this one should have.

        Linux takes the pages for clean then: they are read as they were written, as long as they are in
        memory, and whether they are on the medium nobody knows. The caller raises the error.
        """
        self._do("failed_sync", self._opened(fd).path, inode=self._file(fd).inode)

    def lock(self, fd: int, *, shared: bool = False) -> bool:
        """Take the file's lock; false when another descriptor holds one that forbids it."""
        holders = self._locks.setdefault(self._file(fd).inode, {})
        others = [kind for holder, kind in holders.items() if holder != fd]
        if others and not (shared and all(others)):
            return False
        holders[fd] = shared
        return True

    def unlock(self, fd: int) -> None:
        """Give the lock up."""
        holders = self._locks.get(self._opened(fd).node.inode)
        if holders:
            holders.pop(fd, None)

    def wall_ns(self) -> int:
        """A time that moves with each operation and nothing else."""
        return _FIRST_WALL_NS + len(self.log)

    def stat(self, path: str) -> SimFacts:
        """The facts of a path."""
        return _facts(self._node(path))

    def fstat(self, fd: int) -> SimFacts:
        """The facts of an open file."""
        return _facts(self._opened(fd).node)

    def link(self, source: str, target: str) -> None:
        """Give a file a second name."""
        node = self._node(source)
        folder, name = self._place(target)
        if isinstance(node, SimFolder):
            _fail(errno.EPERM, source)
        if name in folder.names:
            _fail(errno.EEXIST, target)
        self._do("link", target, inode=node.inode, folder=folder.inode, name=name)

    def rename(self, source: str, target: str) -> None:
        """Move a file or folder within its folder, in place of what has that name."""
        node = self._node(source)
        (folder, name), (other, new) = self._place(source), self._place(target)
        if folder is not other:
            _fail(errno.EXDEV, target)
        if new in folder.names and isinstance(old := self._node(target), SimFolder) and old.names:
            _fail(errno.ENOTEMPTY, target)
        if name != new:
            self._do("rename", source, inode=node.inode, folder=folder.inode, name=name, target=new)

    def unlink(self, path: str) -> None:
        """Remove a file's name."""
        if isinstance(self._node(path), SimFolder):
            _fail(errno.EISDIR, path)
        folder, name = self._place(path)
        self._do("unlink", path, folder=folder.inode, name=name)

    def mkdir(self, path: str) -> None:
        """Make a folder."""
        folder, name = self._place(path)
        if name in folder.names:
            _fail(errno.EEXIST, path)
        self._do("mkdir", path, inode=self._disk.next_inode, folder=folder.inode, name=name)

    def rmdir(self, path: str) -> None:
        """Remove an empty folder."""
        if self._folder(path).names:
            _fail(errno.ENOTEMPTY, path)
        folder, name = self._place(path)
        self._do("rmdir", path, folder=folder.inode, name=name)

    def file_system(self, path: str) -> str:  # noqa: ARG002
        """Nothing is known of it."""
        return ""

    def listdir(self, path: str) -> list[str]:
        """The names in a folder, in the order they were made."""
        return list(self._folder(path).names)

    def _do(self, call: Any, path: str, **facts: Any) -> None:
        op = SimOp(call=call, path=path, **facts)
        self.log.append(op)
        self._disk.apply(op)
        if call in ("rename", "rmdir"):
            self._folders.clear()

    def _descriptor(self, node: SimFile | SimFolder, path: str, *, write: bool) -> int:
        fd, self._next_fd = self._next_fd, self._next_fd + 1
        self._open[fd] = _Open(node, path, write)
        return fd

    def _opened(self, fd: int) -> _Open:
        found = self._open.get(fd)
        if found is None:
            _fail(errno.EBADF, None)
        return found

    def _file(self, fd: int, *, write: bool = False) -> SimFile:
        found = self._opened(fd)
        if isinstance(found.node, SimFolder):
            _fail(errno.EISDIR, found.path)
        if write and not found.write:
            _fail(errno.EBADF, found.path)
        return found.node

    def _place(self, path: str) -> tuple[SimFolder, str]:
        """The folder that a path's last name is, or would be, in."""
        above, _, name = path.rpartition("/")
        return self._folder(above), name

    def _folder(self, path: str) -> SimFolder:
        known = self._folders.get(path)
        if known is not None:
            return known
        node = self._node(path)
        if not isinstance(node, SimFolder):
            _fail(errno.ENOTDIR, path)
        self._folders[path] = node
        return node

    def _node(self, path: str) -> SimFile | SimFolder:
        above, _, name = path.rpartition("/")
        if not name:
            return self._folder(above) if above else self._disk.nodes[ROOT]
        inode = self._folder(above).names.get(name)
        if inode is None:
            _fail(errno.ENOENT, path)
        return self._disk.nodes[inode]


def _facts(node: SimFile | SimFolder) -> SimFacts:
    if isinstance(node, SimFile):
        return SimFacts("file", len(node.data), node.inode, node.changed)
    return SimFacts("folder", 0, node.inode, node.changed)


def _fail(number: int, path: str | None) -> NoReturn:
    raise OSError(number, os.strerror(number), path)
