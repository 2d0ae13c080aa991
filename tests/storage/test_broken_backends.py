"""Lying backends: the conformance suite must reject each of them, by the test that is about the lie."""

import inspect

import pytest

from kernelckpt.abc import Claim, EntryInfo
from kernelckpt.errors import KernelCkptError
from kernelckpt.storage import MemoryState, MemoryStorage
from kernelckpt.testing import StorageConformance


class Unfenced(MemoryStorage):
    """Takes entries of stale owners."""

    async def append(self, run_id, epoch, sequence, entry, meta):
        run = self._run(run_id)
        await super().append(run_id, run.epoch if self._owns(run) else epoch, sequence, entry, meta)


class Trusting(MemoryStorage):
    """Believes whatever epoch it is told, from whatever client."""

    def _owned(self, run_id, epoch):
        return self._run(run_id)


class Gappy(MemoryStorage):
    """Takes any number above the head."""

    async def append(self, run_id, epoch, sequence, entry, meta):
        run = self._owned(run_id, epoch)
        run.head = max(run.head, sequence - 1)
        await super().append(run_id, epoch, sequence, entry, meta)


class Forgetful(MemoryStorage):
    """Acknowledges every fifth entry without keeping it."""

    async def append(self, run_id, epoch, sequence, entry, meta):
        await super().append(run_id, epoch, sequence, entry, meta)
        if sequence % 5 == 0:
            del self._state.runs[run_id].entries[sequence]


class Rewinding(MemoryStorage):
    """Takes the head from what is left after deletion."""

    async def acquire(self, run_id, holder, *, takeover=False):
        claim = await super().acquire(run_id, holder, takeover=takeover)
        run = self._state.runs[run_id]
        run.head = max(run.entries, default=0)
        return Claim(claim.epoch, run.head)


class Careless(MemoryStorage):
    """Lets everybody own a run whose owner is alive."""

    async def acquire(self, run_id, holder, *, takeover=False):
        return await super().acquire(run_id, holder, takeover=True)


class Premature(MemoryStorage):
    """Shows a blob while it is being written."""

    async def read_blob(self, run_id, name, *, offset=0, length=None):
        run = self._run(run_id)
        if name in run.parts:
            return b"".join(run.parts[name])
        return await super().read_blob(run_id, name, offset=offset, length=length)


class Repeating(MemoryStorage):
    """Replaces a posted message by a later one of its id."""

    async def post(self, run_id, message_id, data):
        await self.delete_posted(run_id, [message_id])
        return await super().post(run_id, message_id, data)


class Unordered(MemoryStorage):
    """Gives the inbox in the order of ids."""

    async def posted(self, run_id):
        return sorted(await super().posted(run_id), key=lambda message: message.message_id)


class Confusing(MemoryStorage):
    """Cuts run ids off at 255 characters."""

    async def acquire(self, run_id, holder, *, takeover=False):
        return await super().acquire(run_id[:255], holder, takeover=takeover)

    async def append(self, run_id, epoch, sequence, entry, meta):
        await super().append(run_id[:255], epoch, sequence, entry, meta)


class Clipping(MemoryStorage):
    """Keeps no more than 255 bytes of metadata."""

    async def append(self, run_id, epoch, sequence, entry, meta):
        await super().append(run_id, epoch, sequence, entry, meta)
        found, body = self._state.runs[run_id].entries[sequence]
        clipped = EntryInfo(found.epoch, sequence, found.size, found.meta[:255])
        self._state.runs[run_id].entries[sequence] = (clipped, body)


class Inexact(MemoryStorage):
    """Takes the length of a range for its end."""

    async def read(self, run_id, epoch, sequence, *, offset=0, length=None):
        whole = await super().read(run_id, epoch, sequence)
        return whole[offset:length]


class Tearing(MemoryStorage):
    """Keeps half an entry when it is cancelled."""

    async def append(self, run_id, epoch, sequence, entry, meta):
        half = [b"".join(entry)[: sum(map(len, entry)) // 2]]
        await super().append(run_id, epoch, sequence, half, meta)
        await self._begin()
        found = EntryInfo(epoch, sequence, sum(map(len, entry)), meta)
        self._state.runs[run_id].entries[sequence] = (found, b"".join(entry))


class Upright(MemoryStorage):
    """Begins the newest entries at the oldest."""

    async def list_newest(self, run_id, *, limit=1000):
        return await self.list_entries(run_id, limit=limit)


class Undead(MemoryStorage):
    """Works on after it was closed."""

    async def aclose(self):
        await super().aclose()
        self._closed = False


LIARS = {
    Unfenced: "test_acquiring_again_supersedes_ones_own",
    Trusting: "test_the_old_owner_is_fenced_at_once",
    Gappy: "test_only_the_next_number_is_taken",
    Forgetful: "test_listing_in_pages",
    Rewinding: "test_deleting_keeps_head_and_epoch",
    Careless: "test_a_living_owner_is_respected",
    Premature: "test_a_blob_is_invisible_until_finished",
    Repeating: "test_posting_is_idempotent_and_ordered",
    Unordered: "test_posting_is_idempotent_and_ordered",
    Confusing: "test_odd_run_ids",
    Clipping: "test_the_metadata_limit",
    Inexact: "test_ranged_reads",
    Tearing: "test_cancelled_appends",
    Upright: "test_listing_from_the_end",
    Undead: "test_a_closed_backend",
}


async def failures(backend):
    """The names of the suite's tests that this backend fails."""
    failed = set()
    for name, test in inspect.getmembers(StorageConformance, inspect.iscoroutinefunction):
        state = MemoryState()

        async def open_client(state=state):
            return backend(state)

        try:
            await test(StorageConformance(), open_client)
        except (AssertionError, KernelCkptError):
            failed.add(name)
    return failed


async def test_an_honest_backend_fails_nothing():
    assert await failures(MemoryStorage) == set()


@pytest.mark.parametrize("backend", LIARS, ids=lambda backend: backend.__name__)
async def test_a_lying_backend_is_rejected(backend):
    assert LIARS[backend] in await failures(backend)
