"""A copy into a folder, killed or without power at any point: what is there is marked, and gone on with."""

from unittest import mock

import pytest
from crash_kit_fs import FOLDER, RUN, repeatable

from kernelckpt import copy_run, load
from kernelckpt.abc import Claim
from kernelckpt.errors import NotFoundError, UnfinishedCopyError
from kernelckpt.storage import FileStorage, MemoryStorage
from kernelckpt.storage.file.claim import RunClaim
from kernelckpt.testing import SimFileSystem
from kernelckpt.testing.crash_explorer import SYNCS

pytestmark = pytest.mark.may_block  # the simulated file system is called on the loop; it waits for nothing

ENTRIES = ((3, 1), (3, 2), (3, 6), (4, 7), (9, 20), (9, 21))
"""Epochs and numbers, with holes."""


async def made_source():
    source = MemoryStorage(name="source")
    for epoch, number in ENTRIES:
        await source.acquire_as(RUN, "a test", Claim(epoch, number - 1))
        await source.append(RUN, epoch, number, [b"entry %d " % number * 9], b"meta %d" % number)
    await source.write_part(RUN, 9, "base-1", 0, [b"blob" * 90])
    await source.finish_blob(RUN, 9, "base-1")
    await source.post(RUN, "message", b"message" * 9)
    return source


async def found_in(storage):
    """All that is in the run, nothing of it damaged; None if there is no run."""
    try:
        entries = await storage.list_entries(RUN)
    except NotFoundError:
        return None
    assert not [entry for entry in entries if entry.damage], entries
    bodies = [
        (entry.epoch, entry.sequence, await storage.read(RUN, entry.epoch, entry.sequence))
        for entry in entries
    ]
    blobs = {blob.name: await storage.read_blob(RUN, blob.name) for blob in await storage.list_blobs(RUN)}
    return bodies, blobs, [(message.message_id, message.data) for message in await storage.posted(RUN)]


class Noted(FileStorage):
    """A folder that notes which entry it has acknowledged at which point."""

    def __init__(self, fs):
        super().__init__(FOLDER, ops=fs)
        self.fs = fs
        self.acknowledged = []

    async def append(self, run_id, epoch, sequence, entry, meta):
        await super().append(run_id, epoch, sequence, entry, meta)
        self.acknowledged.append((self.fs.point, sequence))


async def check(fs, source, acknowledged, point):
    """What a crash at a point has left: marked unless it is whole, and gone on with to the end."""
    whole = await found_in(source)
    storage = FileStorage(FOLDER, ops=fs)
    found = await found_in(storage)
    if found is not None and found != whole:
        entries = found[0]
        assert entries == whole[0][: len(entries)], point
        known = [sequence for at, sequence in acknowledged if at <= point]
        assert len(entries) >= len(known), (point, entries, known)
        if entries or found[1]:
            with pytest.raises(UnfinishedCopyError):
                await load(storage, RUN)
    await storage.aclose()
    again = Noted(fs)
    await copy_run(source, again, RUN)
    assert await found_in(again) == whole, point
    await again.aclose()
    return again.acknowledged


async def copied(source):
    fs = SimFileSystem()
    storage = Noted(fs)
    await copy_run(source, storage, RUN)
    await storage.aclose()
    return fs, storage.acknowledged


async def test_power_losses(monkeypatch):
    with repeatable(1):
        source = await made_source()
        fs, acknowledged = await copied(source)
    tried = set()
    for point in range(fs.point + 1):
        for image in fs.images(point, 8, sectors=(128,)):
            if image.key not in tried:
                tried.add(image.key)
                with repeatable(1, start=2):
                    await check(SimFileSystem.from_image(image), source, acknowledged, point)
    assert len(tried) > 100


async def test_kills_and_then_power_losses():
    """What the killed copy had not synced counts for the one that goes on, and must be made durable by it."""
    with repeatable(1):
        source = await made_source()
        fs, acknowledged = await copied(source)
    tried = set()
    for point in range(fs.point):
        if fs.log[point].call not in SYNCS:
            continue
        killed = fs.killed(point)
        with repeatable(1, start=2):
            later = await check(killed, source, acknowledged, point)
        for at in range(point, killed.point + 1):
            for image in killed.images(at, 2, sectors=(128,)):
                if image.key not in tried:
                    tried.add(image.key)
                    with repeatable(1, start=3):
                        await check(SimFileSystem.from_image(image), source, later, at)
    assert len(tried) > 100


STEPS = {
    "holes are durable before what follows them": mock.patch.object(
        RunClaim, "skip_to", lambda claim, head: setattr(claim, "head", head)
    ),
    "what was found is synced": mock.patch("kernelckpt.storage.file.claim.sync_found", return_value=None),
}


@pytest.mark.parametrize("step", STEPS)
async def test_every_step_is_needed(step):
    with STEPS[step], pytest.raises(AssertionError):
        await test_kills_and_then_power_losses()
