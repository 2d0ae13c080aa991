"""Blobs written to a PostgreSQL storage: a part is sent in pieces, one row each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kernelckpt.abc import BlobInfo
from kernelckpt.storage import refusal
from kernelckpt.storage.check import check_part
from kernelckpt.storage.postgres import sql
from kernelckpt.storage.postgres.session import Owned, OwnerSession, Readers
from kernelckpt.storage.postgres.value import joined, rows_of
from kernelckpt.storage.text import text_bytes


class Blobs:
    """One attempt at what an owner does with a blob; `again` says that another came before."""

    def __init__(self, name: str, readers: Readers, session: OwnerSession) -> None:
        """Use a client's connections; the storage's name is for messages."""
        self._name = name
        self._readers = readers
        self._session = session

    async def write(self, owned: Owned, name: str, index: int, data: Sequence[bytes], *, again: bool) -> None:
        """Add a part, over a connection that appends need not wait for."""
        async with self._session.turn(owned):
            pass  # so that others see that the owner is alive
        first, *more = rows_of(await joined(data))
        async with self._readers.line() as line, line.transaction():
            rows = await line.fetch(sql.WRITE_PART, owned.id, owned.epoch, text_bytes(name), index, first)
            for piece in more if rows else ():
                await line.fetch(sql.ADD_PIECE, rows[0]["blob"], index, piece)
        if not rows:
            blob = await self._why_not(owned, name)
            if not (again and blob["parts"] == index + 1):
                check_part(index, blob["parts"] or 0, data)
                raise refusal.fenced(self._name, owned.run_id, owned.epoch)

    async def finish(self, owned: Owned, name: str, *, again: bool) -> BlobInfo:
        """Make a blob whole."""
        async with self._session.turn(owned) as line:
            rows = await line.fetch(sql.FINISH_BLOB, owned.id, owned.epoch, text_bytes(name))
        if not rows:
            rows = [await self._why_not(owned, name, finished=again)]
            if not rows[0]["whole"]:
                raise refusal.no_parts(self._name, name)
        return BlobInfo(name, rows[0]["size"])

    async def _why_not(self, owned: Owned, name: str, *, finished: bool = False) -> Any:
        """What is known of a blob that could not be written.

        Raises:
            FencedError: that is because the epoch is over.
            InvalidValueError: the name was used before; not when this call may have `finished` it.
        """
        rows = await self._readers.fetch(sql.BLOB, owned.id, owned.epoch, text_bytes(name))
        if not rows or not rows[0]["owned"]:
            raise refusal.fenced(self._name, owned.run_id, owned.epoch)
        if rows[0]["whole"] and not (finished and rows[0]["ours"]):
            raise refusal.name_taken(name)
        return rows[0]
