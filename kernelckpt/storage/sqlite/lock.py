"""Who is alive of the owners in an SQLite storage: a locked file for each, in a folder beside it."""

from __future__ import annotations

import os
import zlib
from contextlib import suppress

from msgspec import Struct

from kernelckpt.storage.file.ops import FileOps
from kernelckpt.storage.file.owner import open_regular, read_file

_HEAD_BYTES = 8


class Held(Struct, frozen=True):
    """A file locked by this process: proof that the owner of that token is alive."""

    token: int
    fd: int


class OwnerFiles:
    """Locked files, each named after the token of a grant, which is never given twice.

    They tell whether an owner is alive, and what one that was killed had acknowledged; whose entries count is
    decided in the database.
    """

    def __init__(self, ops: FileOps, database: str) -> None:
        """Touch nothing yet."""
        self._ops = ops
        self._database = database

    def hold(self, token: int) -> Held:
        """Make and lock the file of a token; the lock ends with this process, or by `let_go`."""
        while True:
            try:
                fd = self._ops.create(self._path(token))
                break
            except FileNotFoundError:  # an owner that left may have removed the folder meanwhile
                with suppress(FileExistsError):
                    self._ops.mkdir(self._folder)
        try:
            self._ops.lock(fd)
        except BaseException:
            self._ops.close(fd)
            raise
        return Held(token, fd)

    def is_alive(self, token: int) -> bool:
        """Whether somebody holds the file of a token."""
        try:
            fd = open_regular(self._ops, self._path(token))
        except FileNotFoundError:
            return False
        try:
            return not self._ops.lock(fd, shared=True)
        finally:
            self._ops.close(fd)

    def mark(self, held: Held, head: int) -> None:
        """Keep in a file of one's own what was acknowledged; not synced, so it may be behind, never ahead."""
        with suppress(OSError):  # without it only the diagnosis of a damaged log is weaker
            self._ops.pwritev(held.fd, [_encoded(head)], 0)

    def marked(self, token: int) -> int:
        """What an owner that left without ceremony had acknowledged, as far as it is known."""
        try:
            data = read_file(self._ops, self._path(token))
        except FileNotFoundError:
            return 0
        head = int.from_bytes(data[:_HEAD_BYTES], "big")
        return head if data == _encoded(head) else 0

    def let_go(self, held: Held) -> None:
        """Remove a file of one's own, then let its lock go, also for forked children that inherited it."""
        self.remove(held.token)
        with suppress(OSError):
            self._ops.unlock(held.fd)
        self.leave_to_parent(held)

    def leave_to_parent(self, held: Held) -> None:
        """In a forked child: close a file; its lock stays with the parent."""
        with suppress(OSError):
            self._ops.close(held.fd)

    def remove(self, token: int) -> None:
        """Remove the file of an owner that was replaced."""
        with suppress(OSError):
            self._ops.unlink(self._path(token))

    def remove_folder(self) -> None:
        """Remove the folder when nobody has a file in it."""
        with suppress(OSError):
            self._ops.rmdir(self._folder)

    @property
    def _folder(self) -> str:
        return f"{os.path.realpath(self._database)}-owners"  # whoever names the database by a link finds it

    def _path(self, token: int) -> str:
        return f"{self._folder}/{token:016x}"


def _encoded(head: int) -> bytes:
    data = head.to_bytes(_HEAD_BYTES, "big")
    return data + zlib.crc32(data).to_bytes(4, "big")
