"""Lying backends: the conformance suite must reject each of them, by the test that is about the lie."""

import inspect
import weakref

import pytest

from kernelckpt.abc import Claim, EntryInfo
from kernelckpt.errors import FencedError, KernelCkptError
from kernelckpt.storage import MemoryState, MemoryStorage
from kernelckpt.testing import ProcessConformance, StorageConformance


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


class Hasty(MemoryStorage):
    """Leaves the blobs out of an overview."""

    async def overview(self, run_id, *, limit=1000):
        return await self.list_newest(run_id, limit=limit), ()


class Undead(MemoryStorage):
    """Works on after it was closed."""

    async def aclose(self):
        await super().aclose()
        self._closed = False


class Hesitating(MemoryStorage):
    """Looks whether it owns the run, and writes a moment later."""

    async def append(self, run_id, epoch, sequence, entry, meta):
        run = self._owned(run_id, epoch)
        await self._begin()
        await self._begin()
        if sequence != run.head + 1:
            raise FencedError("not the next")
        body = b"".join(entry)
        run.entries[sequence] = (EntryInfo(epoch, sequence, len(body), meta), body)
        run.head = sequence


class Renumbering(MemoryStorage):
    """Begins a copy where the run ends, whatever was claimed."""

    async def acquire_as(self, run_id, holder, claim):
        await super().acquire_as(run_id, holder, Claim(claim.epoch, 0))


class Rewriting(MemoryStorage):
    """Lists the entries of a copy under an epoch of its own."""

    async def append(self, run_id, epoch, sequence, entry, meta):
        await super().append(run_id, epoch, sequence, entry, meta)
        found, body = self._state.runs[run_id].entries[sequence]
        own = EntryInfo(min(found.epoch, 4), sequence, found.size, meta)
        self._state.runs[run_id].entries[sequence] = (own, body)


class Backward(MemoryStorage):
    """Lets a copy begin behind the run's end."""

    async def acquire_as(self, run_id, holder, claim):
        run = self._state.runs.get(run_id)
        ahead = claim if run is None else Claim(max(claim.epoch, run.epoch), max(claim.head, run.head))
        await super().acquire_as(run_id, holder, ahead)


class Pushing(MemoryStorage):
    """Gives a run whose owner is alive to a copy."""

    async def acquire_as(self, run_id, holder, claim):
        if run_id in self._state.runs:
            self._state.runs[run_id].owner = None
        await super().acquire_as(run_id, holder, claim)


class Emptying(MemoryStorage):
    """Takes everything out of the inbox, where only some of it was named."""

    async def delete_posted(self, run_id, message_ids):
        await super().delete_posted(run_id, message_ids)
        self._run(run_id).inbox.clear()


class Halving(MemoryStorage):
    """Adds half of a part, and the rest a moment later."""

    async def write_part(self, run_id, epoch, name, index, data):
        await super().write_part(run_id, epoch, name, index, [b"".join(data)[:3]])
        await self._begin()
        self._owned(run_id, epoch).parts[name][index] = b"".join(data)


class Clinging(MemoryStorage):
    """Leaves the run locked when it is cancelled before it has told what it was granted."""

    async def acquire(self, run_id, holder, *, takeover=False):
        claim = await super().acquire(run_id, holder, takeover=takeover)
        run = self._state.runs[run_id]
        run.owner = weakref.ref(LOCK)
        await self._begin()
        run.owner = weakref.ref(self)
        return claim


LOCK = MemoryStorage()


class Truncating(MemoryStorage):
    """Keeps no more than 20 MiB of a blob."""

    async def finish_blob(self, run_id, epoch, name):
        found = await super().finish_blob(run_id, epoch, name)
        run = self._state.runs[run_id]
        run.blobs[name] = run.blobs[name][: 20 << 20]
        return found


class Capped(MemoryStorage):
    """Finds no more than 2,000 entries of a run."""

    async def list_entries(self, run_id, *, after=0, limit=1000):
        found = await super().list_entries(run_id, limit=2000)
        return [entry for entry in found if entry.sequence > after][:limit]


class Overlooking(MemoryStorage):
    """Lists no more than a hundred runs."""

    async def list_runs(self):
        return (await super().list_runs())[:100]


class Patching(MemoryStorage):
    """Lists one page out of two moments."""

    async def list_entries(self, run_id, *, after=0, limit=1000):
        first = await super().list_entries(run_id, after=after, limit=max(limit // 2, 1))
        last = first[-1].sequence if first else after
        return [*first, *await super().list_entries(run_id, after=last + 3, limit=limit)][:limit]


class Dropping(MemoryStorage):
    """Gives up every run when one is released."""

    async def release(self, run_id, epoch):
        await super().release(run_id, epoch)
        for run in self._state.runs.values():
            if self._owns(run):
                run.owner = None


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
    Tearing: "test_an_append_cancelled_anywhere",
    Upright: "test_listing_from_the_end",
    Hasty: "test_an_overview_is_the_newest_entries_and_all_blobs",
    Undead: "test_a_closed_backend",
    Hesitating: "test_an_append_overtaken_anywhere",
    Renumbering: "test_a_copy_keeps_epochs_and_holes",
    Rewriting: "test_a_copy_keeps_epochs_and_holes",
    Backward: "test_a_claim_that_lies_behind",
    Pushing: "test_a_copy_respects_a_living_owner",
    Emptying: "test_posters_race_a_taker",
    Halving: "test_a_part_cancelled_anywhere",
    Clinging: "test_closing_after_a_cancelled_acquire",
    Truncating: "test_a_large_blob",
    Capped: "test_a_long_run",
    Overlooking: "test_a_thousand_runs",
    Patching: "test_reading_while_pruning",
    Dropping: "test_two_runs_of_one_client",
}


class SmallConformance(StorageConformance):
    """The suite as it is, with a run just longer than what a liar can hide."""

    many_entries = 2_100


TESTS = [name for name, _ in inspect.getmembers(SmallConformance, inspect.iscoroutinefunction)]


async def rejects(test, backend):
    """Whether this test of the suite fails for this backend."""
    state = MemoryState()

    async def open_client():
        return backend(state)

    try:
        await getattr(SmallConformance(), test)(open_client)
    except (AssertionError, KernelCkptError):
        return True
    return False


@pytest.mark.parametrize("test", TESTS)
async def test_an_honest_backend_is_not_rejected(test):
    assert not await rejects(test, MemoryStorage)


@pytest.mark.parametrize("backend", LIARS, ids=lambda backend: backend.__name__)
async def test_a_lying_backend_is_rejected(backend):
    assert await rejects(LIARS[backend], backend)


class ShortConformance(ProcessConformance):
    takeover_seconds = 2.0


@pytest.mark.parametrize("name", [name for name in dir(ProcessConformance) if name.startswith("test_")])
async def test_what_is_kept_in_one_process_is_rejected(name):
    with pytest.raises((AssertionError, KernelCkptError, TimeoutError)):
        await getattr(ShortConformance(), name)("memory:shared")
