"""Owners of one run that come between each other's calls, and what each of them was promised."""

from __future__ import annotations

import collections
import threading
from contextlib import contextmanager, suppress
from unittest import mock

from crash_kit_fs import FOLDER, RUN, at_once

from kernelckpt.abc import Claim
from kernelckpt.errors import (
    CorruptionError,
    FencedError,
    InvalidValueError,
    KernelCkptError,
    RunOwnedError,
)
from kernelckpt.storage import FileStorage
from kernelckpt.storage.file.name import run_folder_name
from kernelckpt.testing import Interleavings, SimFileSystem

NOTICED = {"listdir", "open", "stat", "create", "unlink", "pwritev", "pread", "rename"}
UNNOTICED = ("/run", "/kernelckpt")
"""Files that nobody changes once they are there."""


def visible(call, path):
    """Whether it matters who goes on before this call: what syncs do shows after a crash only."""
    return call == "link" or (call in NOTICED and "/tmp." not in path and not path.endswith(UNNOTICED))


def finish(coroutine):
    """Run a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waited")


@contextmanager
def in_threads():
    """Storages that run in the thread of their actor, with temporary names of its own."""
    counts = collections.Counter()

    def temporary_name():
        thread = threading.current_thread()
        counts[thread] += 1
        return f"tmp.{int(thread.name.rpartition('-')[2]):08x}{counts[thread]:024x}"

    with (
        mock.patch("kernelckpt.storage.file.storage.wrap", at_once),
        mock.patch("kernelckpt.storage.file.owner.temporary_name", temporary_name),
    ):
        yield


class Ownership:
    """One set of actors against each other; `Interleavings` says in which orders.

    Attributes:
        interleavings: what was tried.
    """

    def __init__(self, *actors):
        """Actors are names of methods."""
        self.interleavings = Interleavings(self._stage, self._check, visible=visible)
        self._actors = actors
        self._acknowledged = []
        self._refusals = [KernelCkptError] if "meddler" in actors else [FencedError, RunOwnedError]
        if "copier" in actors:
            self._refusals.append(InvalidValueError)  # it looked where the run ends, and somebody went on
        threading.current_thread().name = "check-99"
        with in_threads():
            fs = SimFileSystem()
            finish(self._begin(fs))
            self._image = fs.now

    def _stage(self):
        self._acknowledged = [(1, 1, b"the first")]
        fs = SimFileSystem.from_image(self._image)
        return fs, [self._actor(number, name) for number, name in enumerate(self._actors)]

    def _actor(self, number, name):
        async def act(ops):
            storage = FileStorage(FOLDER, ops=ops)
            with suppress(*self._refusals):
                await getattr(self, name)(storage, ops, b"owner %d" % number)

        return act

    def explore(self, interruptions, *, limit=None):
        """Every order with so many interruptions; whether all were tried."""
        with in_threads():
            return self.interleavings.explore(interruptions, limit=limit)

    def sample(self, runs):
        """So many random orders, with any number of interruptions."""
        with in_threads():
            self.interleavings.sample(runs)

    async def _begin(self, fs):
        storage = FileStorage(FOLDER, ops=fs)
        claim = await storage.acquire(RUN, "first")
        await storage.append(RUN, claim.epoch, 1, [b"the first"], b"")
        storage._release_all()  # `aclose` without an event loop

    async def taker(self, storage, ops, body):
        """Take the run over and add to it, never looking whether somebody took it over since."""
        claim = await self._acquire(storage, takeover=True)
        for number in (1, 2):
            await self._append(storage, claim.epoch, claim.head + number, body)

    async def guest(self, storage, ops, body):
        """Take the run only when its owner has left, and leave it."""
        claim = await self._acquire(storage, takeover=False)
        await self._append(storage, claim.epoch, claim.head + 1, body)
        await storage.release(RUN, claim.epoch)

    async def pruner(self, storage, ops, body):
        """Take the run over, add to it, and delete what was there before."""
        claim = await self._acquire(storage, takeover=True)
        await self._append(storage, claim.epoch, claim.head + 1, body)
        old = [entry for entry in await storage.list_entries(RUN) if entry.epoch < claim.epoch]
        await storage.delete(RUN, claim.epoch, entries=old)

    async def copier(self, storage, ops, body):
        """Go on with a copy when its owner has left: under a later epoch, then after a hole."""
        (last,) = await storage.list_newest(RUN, limit=1)
        for epoch, head in ((last.epoch + 5, last.sequence), (last.epoch + 5, last.sequence + 3)):
            await storage.acquire_as(RUN, "a copy", Claim(epoch, head))
            await self._append(storage, epoch, head + 1, body)
        await storage.release(RUN, epoch)

    async def meddler(self, storage, ops, body):
        """Not one of ours: delete the newest owner file, as somebody does who thinks it is a stale lock."""
        folder = f"{FOLDER}/{run_folder_name(RUN)}"
        newest = max(name for name in ops.listdir(folder) if name.startswith("owner."))
        ops.unlink(f"{folder}/{newest}")

    async def _acquire(self, storage, *, takeover):
        known = max(sequence for _, sequence, _ in self._acknowledged)
        claim = await storage.acquire(RUN, "an owner", takeover=takeover)
        assert claim.head >= known, f"{claim} does not know entry {known}, which was acknowledged"
        return claim

    async def _append(self, storage, epoch, sequence, body):
        body += b" %d" % sequence
        await storage.append(RUN, epoch, sequence, [body], b"")
        again = [found for found in self._acknowledged if found[1] == sequence]
        assert not again, f"entry {sequence} was acknowledged twice: {again} and {epoch, body}"
        self._acknowledged.append((epoch, sequence, body))

    def _check(self, fs):
        try:
            finish(self._found(fs))
        except CorruptionError:
            if "meddler" not in self._actors:
                raise

    async def _found(self, fs):
        """A later owner finds all that was acknowledged and not deleted, and can go on."""
        storage = FileStorage(FOLDER, ops=fs)
        claim = await storage.acquire(RUN, "the last", takeover=True)
        entries = await storage.list_entries(RUN)
        assert "meddler" in self._actors or not [entry for entry in entries if entry.damage], entries
        listed = [(entry.epoch, entry.sequence) for entry in entries if not entry.damage]
        sequences = [sequence for _, sequence in listed]
        assert sequences == sorted(set(sequences)), f"a void entry is listed: {listed}"
        oldest = min(sequences, default=0)
        for epoch, sequence, body in self._acknowledged:
            assert sequence <= claim.head
            if "pruner" in self._actors and sequence < oldest:
                continue
            assert (epoch, sequence) in listed, f"{epoch, sequence} was acknowledged, {listed} is there"
            assert await storage.read(RUN, epoch, sequence) == body
        await storage.append(RUN, claim.epoch, claim.head + 1, [b"more"], b"")
