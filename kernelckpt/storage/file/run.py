"""One run's folder as everybody may use it: reading entries and blobs, and the inbox."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress

from kernelckpt.abc import BlobInfo, EntryInfo, PostedMessage
from kernelckpt.errors import CorruptionError, FormatError, NotFoundError, StorageUnavailableError
from kernelckpt.storage.file.listing import RunLooker
from kernelckpt.storage.file.name import RUN, blob_file_name, inbox_name, sort_names
from kernelckpt.storage.file.ops import FileOps
from kernelckpt.storage.file.owner import open_regular, read_file, write_new
from kernelckpt.storage.file.record import decode_record, encode_record
from kernelckpt.storage.file.scan import Segment
from kernelckpt.storage.file.segment import read_all, read_body
from kernelckpt.storage.text import bytes_text, text_bytes

_INBOX = "kernelckpt-inbox"
_LAST_ORDER = 2**63 - 1


class RunFolder:
    """Reads a run's folder, and adds to its inbox."""

    def __init__(self, ops: FileOps, path: str, run_digest: bytes) -> None:
        """Read nothing of it yet but when it was made; `run_digest` is that of the run's id."""
        self.ops = ops
        self.path = path
        self.run_digest = run_digest
        self.looker = RunLooker(ops, path, run_digest)
        self._identity = self._identify()
        self._orders: dict[str, int] = {}

    def is_same(self) -> bool:
        """Whether the folder is still the one that was found first: not deleted, not made anew."""
        try:
            return self._identify() == self._identity
        except FileNotFoundError:
            return False

    def _identify(self) -> tuple[int, int]:
        facts = self.ops.stat(f"{self.path}/{RUN}")
        return facts.inode, facts.modified_ns

    def read(self, epoch: int, sequence: int, offset: int, length: int | None) -> bytes:
        """See `StorageBackend.read`."""
        for look in (self.looker.glance, self.looker.look):
            segment = look().segment_with(epoch, sequence)
            if segment and (data := self._read_from(segment, sequence, offset, length)) is not None:
                return data
        for entry in self.looker.entries(sequence - 1, 1):
            if (entry.epoch, entry.sequence) == (epoch, sequence) and entry.damage:
                raise _damaged(self.path, entry)
        raise NotFoundError(f"{self.path}: no entry {sequence} of epoch {epoch}", hint="list again")

    def _read_from(self, segment: Segment, sequence: int, offset: int, length: int | None) -> bytes | None:
        """The bytes, or None when the segment is not there any more."""
        try:
            fd = open_regular(self.ops, f"{self.path}/{segment.name}")
        except FileNotFoundError:
            return None
        try:
            if self.ops.fstat(fd).inode != segment.inode:
                return None
            place = segment.places[sequence]
            data = read_body(self.ops, fd, place, offset, length)
        finally:
            self.ops.close(fd)
        if data is None:
            reason = f"the body at byte {place.body} of {segment.name} is not what was written"
            raise _damaged(self.path, EntryInfo(segment.epoch, sequence, 0, b"", segment.name, reason))
        return data

    def list_blobs(self) -> Sequence[BlobInfo]:
        """See `StorageBackend.list_blobs`."""
        found: list[BlobInfo] = []
        for blob, name in sort_names(self.ops.listdir(self.path)).blobs.items():
            with suppress(FileNotFoundError):
                facts = self.ops.stat(f"{self.path}/{name}")
                if facts.kind != "file":
                    raise StorageUnavailableError(
                        f"{self.path}/{name}: not a regular file", hint="move it away"
                    )
                found.append(BlobInfo(blob, facts.size))
        return sorted(found, key=lambda info: info.name)

    def read_blob(self, blob: str, offset: int, length: int | None) -> bytes:
        """See `StorageBackend.read_blob`."""
        try:
            fd = open_regular(self.ops, f"{self.path}/{blob_file_name(blob)}")
        except FileNotFoundError as error:
            raise NotFoundError(f"{self.path}: no blob {blob!r}", hint="list again") from error
        try:
            left = max(self.ops.fstat(fd).size - offset, 0)
            return read_all(self.ops, fd, left if length is None else min(length, left), offset)
        finally:
            self.ops.close(fd)

    def post(self, message_id: str, data: bytes) -> bool:
        """See `StorageBackend.post`."""
        order = min(max(self.ops.wall_ns(), self._newest_order() + 1), _LAST_ORDER)
        record = encode_record(_INBOX, text_bytes(message_id), order, data)
        return write_new(self.ops, self.path, inbox_name(message_id), record)

    def posted(self) -> Sequence[PostedMessage]:
        """See `StorageBackend.posted`."""
        names = self._inbox_names()
        found = self._read_all_posted(names)
        if found:  # a listing may miss what is added while it goes on, and show what was added after that
            newest = max(message.order for message in found)
            missed = self._read_all_posted(self._inbox_names() - names)
            found += [message for message in missed if message.order <= newest]
        return sorted(found, key=lambda message: (message.order, message.message_id))

    def _inbox_names(self) -> set[str]:
        return set(sort_names(self.ops.listdir(self.path)).inbox)

    def _read_all_posted(self, names: Iterable[str]) -> list[PostedMessage]:
        return [message for name in sorted(names) if (message := self._read_posted(name)) is not None]

    def delete_posted(self, message_ids: Sequence[str]) -> None:
        """See `StorageBackend.delete_posted`."""
        for message_id in message_ids:
            with suppress(FileNotFoundError):
                self.ops.unlink(f"{self.path}/{inbox_name(message_id)}")
        self.ops.fsync_folder(self.path)

    def _newest_order(self) -> int:
        names = self._inbox_names()
        known = self._orders
        self._orders = {name: known[name] for name in names if name in known}
        for name in names:
            if name not in known and (message := self._read_posted(name)) is not None:
                self._orders[name] = message.order
        return max(self._orders.values(), default=0)

    def _read_posted(self, name: str) -> PostedMessage | None:
        path = f"{self.path}/{name}"
        try:
            return _decode_posted(read_file(self.ops, path), path)
        except FileNotFoundError:
            return None  # taken since the folder was listed
        except (FormatError, StorageUnavailableError) as error:
            return PostedMessage("", 0, b"", str(error))  # the others can be read


def _decode_posted(data: bytes, path: str) -> PostedMessage:
    (message_id, order, body), end = decode_record(data, _INBOX, (bytes, int, bytes), path)
    try:
        name = bytes_text(message_id)
    except UnicodeDecodeError:
        name = ""
    if end != len(data) or not name or not 0 <= order <= _LAST_ORDER:
        raise CorruptionError(f"{path}: damaged: not a whole message", hint="move it away", lost=(path,))
    return PostedMessage(name, order, body)


def _damaged(path: str, entry: EntryInfo) -> CorruptionError:
    lost = f"entry {entry.sequence} of epoch {entry.epoch}"
    return CorruptionError(
        f"{path}: {lost} is damaged: {entry.damage}", hint="restore this folder from a backup", lost=(lost,)
    )
