"""What was read of objects that never change, as much as fits."""

from __future__ import annotations

from collections import OrderedDict

from kernelckpt.storage.objects.record import Record

CACHE_BYTES = 64 * 1024 * 1024
_OVERHEAD = 500


class RecordCache:
    """The records read last, by their keys."""

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        """Hold up to `limit` bytes."""
        self._limit = limit
        self._records: OrderedDict[str, Record] = OrderedDict()
        self._bytes = 0

    def find(self, key: str) -> Record | None:
        """The record of a key, if it is still here."""
        record = self._records.get(key)
        if record is not None:
            self._records.move_to_end(key)
        return record

    def keep(self, key: str, record: Record) -> None:
        """Remember a record, and forget those that were not used for longest."""
        self.drop(key)
        self._records[key] = record
        self._bytes += len(record.body) + _OVERHEAD
        while self._bytes > self._limit:
            self.drop(next(iter(self._records)))

    def drop(self, key: str) -> None:
        """Forget a record."""
        if (record := self._records.pop(key, None)) is not None:
            self._bytes -= len(record.body) + _OVERHEAD
