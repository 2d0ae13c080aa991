"""The rows of an SQLite storage, and the seals that tell what was written from what a disk made of it.

    runs     a run: its epoch, its head, what else should be there, and the token of its owner
    entries  an entry, in rows of at most 256 KiB; the metadata are in the first
    blobs    a blob: how many parts it has by now, and whether it is whole
    pieces   the bytes of a blob, in rows of at most 256 KiB
    inbox    a posted message

Each row holds a check value of everything in it. Ids and names are bytes: they are any text.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from io import BytesIO
from typing import Any

from msgspec import Struct, msgpack, structs

from kernelckpt.abc import BlobInfo, EntryInfo, PostedMessage
from kernelckpt.errors import CorruptionError, KernelCkptError
from kernelckpt.storage import refusal
from kernelckpt.storage.sqlite.error import damaged
from kernelckpt.storage.text import bytes_text, text_bytes

LAST = 2**63 - 1
"""The largest number that SQLite holds."""

ROW_BYTES = 256 * 1024
"""The most that is copied while no other thread can run."""

SCHEMA = (
    """CREATE TABLE runs (
        id BLOB PRIMARY KEY, number INTEGER NOT NULL, epoch INTEGER NOT NULL, head INTEGER NOT NULL,
        removed INTEGER NOT NULL, posted INTEGER NOT NULL, messages INTEGER NOT NULL,
        blobs INTEGER NOT NULL, owner INTEGER NOT NULL, holder BLOB NOT NULL, seal INTEGER NOT NULL
    ) WITHOUT ROWID""",
    """CREATE TABLE entries (
        run INTEGER, sequence INTEGER, start INTEGER, epoch INTEGER NOT NULL, size INTEGER NOT NULL,
        digest INTEGER NOT NULL, seal INTEGER NOT NULL, meta BLOB NOT NULL, data BLOB NOT NULL,
        PRIMARY KEY (run, sequence, start)
    ) WITHOUT ROWID""",
    """CREATE TABLE blobs (
        run INTEGER, name BLOB, parts INTEGER NOT NULL, size INTEGER NOT NULL, whole INTEGER NOT NULL,
        seal INTEGER NOT NULL, PRIMARY KEY (run, name)
    ) WITHOUT ROWID""",
    """CREATE TABLE pieces (
        run INTEGER, name BLOB, start INTEGER, seal INTEGER NOT NULL, data BLOB NOT NULL,
        PRIMARY KEY (run, name, start)
    ) WITHOUT ROWID""",
    """CREATE TABLE inbox (
        run INTEGER, id BLOB, place INTEGER NOT NULL, seal INTEGER NOT NULL, data BLOB NOT NULL,
        PRIMARY KEY (run, id)
    ) WITHOUT ROWID""",
)


class RunRow(Struct, frozen=True):
    """A run.

    Attributes:
        id: its id as bytes.
        number: stands for the run in the other tables; another one when it is made anew.
        epoch: the newest one granted.
        head: the newest entry.
        removed: the newest entry that was ever deleted, or never was.
        posted: how many messages were ever posted.
        messages: how many are in its inbox.
        blobs: how many it has, whole or not.
        owner: the token of the newest grant.
        holder: what the owner said of itself.
    """

    id: bytes
    number: int
    epoch: int = 0
    head: int = 0
    removed: int = 0
    posted: int = 0
    messages: int = 0
    blobs: int = 0
    owner: int = 0
    holder: bytes = b""


class BlobRow(Struct, frozen=True):
    """A blob: how many parts and bytes it has, and whether it is whole."""

    name: bytes
    parts: int = 0
    size: int = 0
    whole: bool = False


class Rows:
    """Reads and writes rows by one connection, within a transaction of the caller's."""

    def __init__(self, db: sqlite3.Connection, name: str) -> None:
        """Use a connection; `name` is the storage's, for messages."""
        self._db = db
        self._name = name

    def find_run(self, run_id: str) -> RunRow | None:
        """The run of that id."""
        key = text_bytes(run_id)
        if row := self._row("SELECT * FROM runs WHERE id = ?", key):
            return self._run(row)
        # A run whose id was damaged stands where it was looked for.
        for side in (
            "SELECT * FROM runs WHERE id > ? ORDER BY id LIMIT 1",
            "SELECT * FROM runs WHERE id < ? ORDER BY id DESC LIMIT 1",
        ):
            if row := self._row(side, key):
                self._run(row)
        return None

    def put_run(self, run: RunRow) -> None:
        """Add a run, or put it in the place of what it was."""
        values = structs.astuple(run)
        self._db.execute(
            "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (*values, _seal(*values))
        )

    def list_runs(self) -> Sequence[str]:
        """See `StorageBackend.list_runs`."""
        found: list[str] = []
        unreadable: dict[str, KernelCkptError] = {}
        for row in self._db.execute("SELECT * FROM runs ORDER BY id").fetchall():
            try:
                found.append(bytes_text(self._run(row).id))
            except CorruptionError as error:
                unreadable[_id_text(row[0])] = error
        if unreadable:
            raise refusal.damaged_runs(self._name, found, unreadable)
        return found

    def delete_run(self, run: RunRow) -> None:
        """Remove a run with everything in it."""
        self._db.execute("DELETE FROM runs WHERE id = ?", (run.id,))
        for statement in (
            "DELETE FROM entries WHERE run = ?",
            "DELETE FROM blobs WHERE run = ?",
            "DELETE FROM pieces WHERE run = ?",
            "DELETE FROM inbox WHERE run = ?",
        ):
            self._db.execute(statement, (run.number,))

    def add_entry(self, run: RunRow, sequence: int, entry: Sequence[bytes], meta: bytes) -> None:
        """Add an entry of the run's epoch."""
        size = sum(map(len, entry))
        for start, data in _cut(entry):
            head = (run.number, sequence, start, run.epoch, size, _digest(data))
            said = b"" if start else meta
            self._db.execute(
                "INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*head, _seal(*head, said), said, data),
            )

    def list_entries(self, run: RunRow, after: int, limit: int) -> Sequence[EntryInfo]:
        """The first entries above `after`, and those that are missing there."""
        rows = self._db.execute(
            "SELECT run, sequence, start, epoch, size, digest, seal, meta FROM entries"
            " WHERE run = ? AND sequence > ? AND start = 0 ORDER BY sequence LIMIT ?",
            (run.number, min(after, LAST), min(limit, LAST)),
        ).fetchall()
        at_end = len(rows) < limit
        return list(_with_missing(run, map(_entry, rows), after, at_end=at_end))[:limit]

    def newest_entries(self, run: RunRow, limit: int) -> Sequence[EntryInfo]:
        """The newest so many entries, and those that are missing there."""
        rows = self._db.execute(
            "SELECT run, sequence, start, epoch, size, digest, seal, meta FROM entries"
            " WHERE run = ? AND start = 0 ORDER BY sequence DESC LIMIT ?",
            (run.number, min(limit, LAST)),
        ).fetchall()
        found = [_entry(row) for row in reversed(rows)]
        after = found[0].sequence - 1 if len(found) == limit else 0
        return list(_with_missing(run, found, after, at_end=True))[-limit:]

    def read_entry(
        self, run: RunRow, epoch: int, sequence: int, offset: int, length: int | None
    ) -> bytes | None:
        """Bytes of an entry; None when there is none."""
        if not 0 < sequence <= LAST:
            return None
        first = self._row(
            "SELECT run, sequence, start, epoch, size, digest, seal, meta FROM entries"
            " WHERE run = ? AND sequence = ? AND start = 0",
            run.number,
            sequence,
        )
        info = _entry(first) if first else None
        if info is None or info.damage:
            missing = info is not None or run.removed < sequence <= run.head
            if missing and epoch <= run.epoch:
                raise damaged(self._name, f"entry {sequence} is damaged or missing", f"entry {sequence}")
            return None
        if info.epoch != epoch:
            return None
        statement = """SELECT run, sequence, start, epoch, size, digest, seal, meta, data FROM entries
            WHERE run = ? AND sequence = ? AND start > ? ORDER BY start"""
        first_start = min(offset, LAST) - ROW_BYTES
        with closing(self._db.execute(statement, (run.number, sequence, first_start))) as rows:
            pieces = ((row[2], row[8], _is_sealed(row) and _digest(row[8]) == row[5]) for row in rows)
            return self._slice(pieces, info.size, offset, length, f"entry {sequence}")

    def delete_entries(self, run: RunRow, sequences: Sequence[int]) -> None:
        """Remove entries; missing ones are no error."""
        self._db.executemany(
            "DELETE FROM entries WHERE run = ? AND sequence = ?",
            [(run.number, sequence) for sequence in sequences],
        )

    def find_blob(self, run: RunRow, blob: str) -> BlobRow | None:
        """The blob of that name, whole or not."""
        row = self._row("SELECT * FROM blobs WHERE run = ? AND name = ?", run.number, text_bytes(blob))
        if row is None:
            self._blobs(run)  # raises when one is missing that was there
            return None
        return self._blob(row)

    def put_blob(self, run: RunRow, blob: BlobRow) -> None:
        """Add a blob when this is its first part, or put it in the place of what it was."""
        values = (run.number, blob.name, blob.parts, blob.size, int(blob.whole))
        self._db.execute("INSERT OR REPLACE INTO blobs VALUES (?, ?, ?, ?, ?, ?)", (*values, _seal(*values)))
        if blob.parts == 1 and not blob.whole:
            self.put_run(structs.replace(run, blobs=run.blobs + 1))

    def add_pieces(self, run: RunRow, blob: BlobRow, data: Sequence[bytes]) -> None:
        """Add bytes at the end of a blob that is not whole yet."""
        for start, piece in _cut(data) if any(data) else ():
            key = (run.number, blob.name, blob.size + start)
            self._db.execute(
                "INSERT INTO pieces VALUES (?, ?, ?, ?, ?)", (*key, _seal(*key, _digest(piece)), piece)
            )

    def list_blobs(self, run: RunRow) -> Sequence[BlobInfo]:
        """The blobs that are whole, by name."""
        return [BlobInfo(bytes_text(blob.name), blob.size) for blob in self._blobs(run) if blob.whole]

    def read_blob(self, run: RunRow, blob: BlobRow, offset: int, length: int | None) -> bytes:
        """Bytes of a blob."""
        statement = "SELECT * FROM pieces WHERE run = ? AND name = ? AND start > ? ORDER BY start"
        first_start = min(offset, LAST) - ROW_BYTES
        with closing(self._db.execute(statement, (run.number, blob.name, first_start))) as rows:
            pieces = ((row[2], row[4], row[3] == _seal(*row[:3], _digest(row[4]))) for row in rows)
            return self._slice(pieces, blob.size, offset, length, f"blob {bytes_text(blob.name)!r}")

    def delete_blobs(self, run: RunRow, blobs: Sequence[str]) -> RunRow:
        """Remove blobs, whole or not, where they are; what the run is without them, to be put."""
        keys = [(run.number, text_bytes(blob)) for blob in blobs]
        gone = self._db.executemany("DELETE FROM blobs WHERE run = ? AND name = ?", keys).rowcount
        self._db.executemany("DELETE FROM pieces WHERE run = ? AND name = ?", keys)
        return structs.replace(run, blobs=run.blobs - max(gone, 0))

    def delete_unfinished(self, run: RunRow) -> RunRow:
        """Remove what a former owner has left of blobs that are not whole; see `delete_blobs`."""
        return self.delete_blobs(run, [bytes_text(blob.name) for blob in self._blobs(run) if not blob.whole])

    def post(self, run: RunRow, message_id: str, data: bytes) -> bool:
        """Add a message to the inbox; false when there is one of that id."""
        key = (run.number, text_bytes(message_id))
        if self._row("SELECT 1 FROM inbox WHERE run = ? AND id = ?", *key):
            return False
        place = run.posted + 1
        seal = _seal(*key, place, _digest(data))
        self._db.execute("INSERT INTO inbox VALUES (?, ?, ?, ?, ?)", (*key, place, seal, data))
        self.put_run(structs.replace(run, posted=place, messages=run.messages + 1))
        return True

    def posted(self, run: RunRow) -> Sequence[PostedMessage]:
        """The inbox: what is damaged, then the others in order."""
        rows = self._db.execute("SELECT * FROM inbox WHERE run = ?", (run.number,)).fetchall()
        found = [_message(row) for row in rows]
        if len(found) < run.messages:
            found.append(PostedMessage("", 0, b"", "posted, but it is missing"))
        return sorted(found, key=lambda message: message.order)

    def delete_posted(self, run: RunRow, message_ids: Sequence[str]) -> None:
        """Remove messages; missing ones are no error."""
        keys = [(run.number, text_bytes(message_id)) for message_id in message_ids]
        gone = self._db.executemany("DELETE FROM inbox WHERE run = ? AND id = ?", keys).rowcount
        self.put_run(structs.replace(run, messages=run.messages - max(gone, 0)))

    def _row(self, statement: str, *values: object) -> tuple[Any, ...] | None:
        rows = self._db.execute(statement, values).fetchall()
        return rows[0] if rows else None

    def is_sound(self, row: tuple[Any, ...]) -> bool:
        """Whether the row of a run is what was written."""
        return bool(row[-1] == _seal(*row[:-1]))

    def _run(self, row: tuple[Any, ...]) -> RunRow:
        if not self.is_sound(row):
            raise damaged(self._name, "the row of a run is not what was written", f"run {row[0]!r}")
        return RunRow(*row[:-1])

    def _blob(self, row: tuple[Any, ...]) -> BlobRow:
        if row[-1] != _seal(*row[:-1]):
            raise damaged(self._name, "the row of a blob is not what was written", f"blob {row[1]!r}")
        return BlobRow(row[1], row[2], row[3], bool(row[4]))

    def _blobs(self, run: RunRow) -> Sequence[BlobRow]:
        rows = self._db.execute("SELECT * FROM blobs WHERE run = ? ORDER BY name", (run.number,)).fetchall()
        if len(rows) != run.blobs:
            raise damaged(self._name, f"a run has {run.blobs} blobs, {len(rows)} are there", "a blob")
        return [self._blob(row) for row in rows]

    def _slice(
        self,
        pieces: Iterator[tuple[int, bytes, bool]],
        size: int,
        offset: int,
        length: int | None,
        what: str,
    ) -> bytes:
        """Bytes out of rows in order: where each begins, what is in it, whether it is what was written."""
        end = size if length is None else min(size, offset + length)
        found, position = BytesIO(), offset
        while position < end:
            start, data, sound = next(pieces, (0, b"", False))
            if not sound or start > position:
                raise damaged(self._name, f"{what} is damaged at byte {position}", what)
            position += found.write(memoryview(data)[position - start : end - start])
        return found.getvalue()


def _id_text(value: object) -> str:
    """An id that may be damaged."""
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else repr(value)


def _seal(*values: object) -> int:
    """The check value of a row's other values."""
    return zlib.crc32(msgpack.encode(values))


def _digest(data: object) -> int:
    """The check value of bytes; that of nothing else is the same."""
    return zlib.crc32(data) if isinstance(data, bytes) else -1


def _is_sealed(row: tuple[Any, ...]) -> bool:
    """Whether a row of an entry, with or without its data, is what was written."""
    return bool(row[6] == _seal(*row[:6], row[7]))


def _entry(row: tuple[Any, ...]) -> EntryInfo:
    _, sequence, _, epoch, size, _, _, meta = row
    if _is_sealed(row):
        return EntryInfo(epoch, sequence, size, meta)
    number = sequence if isinstance(sequence, int) else 0
    return EntryInfo(0, number, 0, b"", "", "its row is not what was written")


def _with_missing(
    run: RunRow, found: Iterable[EntryInfo], after: int, *, at_end: bool
) -> Iterator[EntryInfo]:
    """Entries with those that should stand between them: those up to the newest deleted one need not."""
    last = max(after, run.removed)
    for entry in found:
        if entry.sequence > last + 1:
            yield _missing(run, last + 1)
        last = max(last, entry.sequence)
        yield entry
    if at_end and last < run.head:
        yield _missing(run, last + 1)


def _missing(run: RunRow, sequence: int) -> EntryInfo:
    return EntryInfo(run.epoch, sequence, 0, b"", "", "acknowledged, but it is missing")


def _message(row: tuple[Any, ...]) -> PostedMessage:
    _, message_id, place, seal, data = row
    if seal == _seal(*row[:3], _digest(data)):
        return PostedMessage(bytes_text(message_id), place, data)
    return PostedMessage("", 0, b"", "its row is not what was written")


def _cut(pieces: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Pieces joined to rows that are full but for the last one, each with where it begins; one at least."""
    start, row, room = 0, list[memoryview](), ROW_BYTES
    for piece in pieces:
        rest = memoryview(piece)
        while rest:
            row.append(rest[:room])
            rest = rest[room:]
            room -= len(row[-1])
            if not room:
                yield start, b"".join(row)
                start, row, room = start + ROW_BYTES, [], ROW_BYTES
    if row or not start:
        yield start, b"".join(row)
