"""The model of a run: what its commits say, in plain dicts, with a digest of each state that ever was."""

from hashlib import blake2b

import msgspec

from kernelckpt.abc import Append, Put
from kernelckpt.checkpoint.consistency import inconsistencies, unmet_by_kernel
from kernelckpt.checkpoint.decoded_run import DecodedRun
from kernelckpt.codec.record import decode_record, encode_record
from kernelckpt.kernel.snapshot import snapshot_of
from kernelckpt.kernel.state import TOTALS, KernelState

_encode = msgspec.msgpack.encode


class Model:
    """The state that commits amount to.

    Attributes:
        records: as `RestoredState` has them.
        streams: likewise.
        digest: of both; changes with each commit at the cost of that commit.
    """

    def __init__(self, records=(), streams=()):
        self.records, self.streams, self.digest = {}, {}, 0
        for key, data in dict(records).items():
            self._set(key, data)
        for key, items in dict(streams).items():
            self._extend(key, items)

    def apply(self, changes):
        for change in changes:
            if isinstance(change, Append):
                assert change.start == len(self.streams.get(change.key, ()))
                self._extend(change.key, change.items)
                continue
            if isinstance(change, Put):
                record = change.record
                self._set(change.key, record if isinstance(record, bytes) else encode_record(record))
            else:
                self._drop(change.key)

    def _set(self, key, data):
        if key in self.records:
            self.digest ^= _hash(key, 0, self.records[key])
        self.records[key] = bytes(data)  # in its old place, if it had one
        self.digest ^= _hash(key, 0, data)

    def _extend(self, key, items):
        stream = self.streams.setdefault(key, [])
        for item in items:
            self.digest ^= _hash(key, len(stream) + 1, item)
            stream.append(bytes(item))

    def _drop(self, key):
        if key in self.records:
            self.digest ^= _hash(key, 0, self.records.pop(key))
        for index, item in enumerate(self.streams.pop(key, ())):
            self.digest ^= _hash(key, index + 1, item)

    def faults(self):
        """What contradicts itself in this state, and which waits nothing can end."""
        totals = decode_record(TOTALS, self.records[TOTALS])
        run = DecodedRun(self)
        found = [*run.findings, *inconsistencies(run, totals.turn)]
        return [str(item) for item in (*found, *unmet_by_kernel(self.loaded()))]

    def loaded(self):
        """The state as a kernel loads it."""
        state = KernelState(lambda _: None)
        state.load(self)
        return state

    def snapshot(self):
        return snapshot_of(self.loaded())


def _hash(key, index, data):
    return int.from_bytes(blake2b(_encode((key, index, data)), digest_size=16).digest(), "big")
