"""No crash, at any point of any short run, into any image, loses what was acknowledged or leaves a half."""

import shlex
from unittest import mock

import explore_crashes
import pytest
from crash_kit_fs import FOLDER, OPERATIONS, RUN, Exploration, repeatable

from kernelckpt.errors import NotFoundError
from kernelckpt.storage import FileStorage
from kernelckpt.storage.file.claim import RunClaim
from kernelckpt.testing import CrashFoundError, SimFileSystem

STORAGE = "kernelckpt.storage."

pytestmark = pytest.mark.may_block  # the simulated file system is called on the loop; it waits for nothing


@pytest.mark.timeout(1800)
async def test_every_crash_of_every_short_run_can_be_restored():
    """Run with -s to see how much was explored; `explore_crashes.py` explores more."""
    exploration = Exploration(images=70, second_images=6, second_share=0.004, kill_share=0.03)
    async for _ in exploration.each_workload(3):
        pass
    counts = exploration.explorer.counts
    print(f"\n{exploration.workloads} sequences: {counts}")
    assert exploration.workloads == len(OPERATIONS) ** 3
    assert counts.images >= 50_000
    assert counts.second_images >= 10_000


async def test_segments_that_two_entries_fill_are_explored_too():
    exploration = Exploration(images=8, second_images=4, second_share=0.005, segment_bytes=300)
    async for _ in exploration.each_workload(2):
        pass
    print(f"\n{exploration.workloads} sequences: {exploration.explorer.counts}")
    assert exploration.explorer.counts.images > 1000


async def test_a_run_whose_maker_was_killed_is_made_again_and_survives_a_power_loss():
    """Also killed between the marker of the storage's folder and the sync that makes its name durable."""
    exploration = Exploration(images=4, second_images=8, kill_share=1.0)
    await exploration.workload(())
    assert exploration.explorer.counts.kills > 5


def skip(*_, **__):
    return None


STEPS = {
    "the data is synced": mock.patch.object(SimFileSystem, "fdatasync", skip),
    "new files are synced": mock.patch.object(SimFileSystem, "fsync", skip),
    "new names are synced": mock.patch.object(SimFileSystem, "fsync_folder", skip),
    "an owner syncs its first segment's name": mock.patch(STORAGE + "file.claim.sync_folder", skip),
    "an owner syncs what it found": mock.patch(STORAGE + "file.claim.sync_found", skip),
    "a blob is synced before it counts": mock.patch(STORAGE + "file.claim.sync_file", skip),
    "the last body is checked": mock.patch(STORAGE + "file.scan.body_is_sound", return_value=True),
    "the epoch is checked before the acknowledgement": mock.patch.object(RunClaim, "check", skip),
    "an epoch's beginning ends older ones": mock.patch(
        STORAGE + "file.listing._limits", lambda segments, *_: [1 << 64] * len(segments)
    ),
    "owners of kept segments stay": mock.patch(
        STORAGE + "file.prune.sort_names",
        lambda names: mock.Mock(
            segments=[], owners=sorted(int(name[6:]) for name in names if name.startswith("owner."))
        ),
    ),
}


@pytest.mark.parametrize("step", STEPS)
async def test_every_step_is_needed(step):
    """The exploration sees what each step of the protocol is for: without it, some crash breaks a run."""
    exploration = Exploration(images=8, second_images=2, kill_share=1.0, segment_bytes=300)
    with STEPS[step], pytest.raises(CrashFoundError):
        await exploration.workload(("delta", "base", "takeover", "prune"))


async def test_a_failure_prints_the_command_that_comes_to_it_again(capsys):
    with STEPS["new names are synced"]:
        assert await explore_crashes.main(["--ops", "1", "--images", "7", "--seed", "3"]) == 1
        found, command = capsys.readouterr().out.splitlines()[-2:]
        assert command.startswith("again: python tests/faults/explore_crashes.py --images=7 ")
        assert await explore_crashes.main(shlex.split(command)[3:]) == 1
        assert capsys.readouterr().out.splitlines() == [found, command]


async def test_shards_together_explore_what_one_run_does(capsys):
    whole = Exploration(images=8)
    shards = [Exploration(images=8, shard=(number, 2)) for number in (1, 2)]
    for exploration in (whole, *shards):
        await exploration.workload(("delta", "restart"))
    counts = [exploration.explorer.counts.images for exploration in (whole, *shards)]
    assert counts[0] == counts[1] + counts[2]
    assert min(counts) > 50


async def used(fs):
    """Calls that the log does not make; yields what must hold from here on, as (call, name)."""
    storage = FileStorage(FOLDER, ops=fs)
    claim = await storage.acquire(RUN, "test")
    facts = {"head": 0, "posted": set(), "taken": set()}
    yield facts
    for number in (1, 2, 3):
        await storage.append(RUN, claim.epoch, number, [b"x" * 200], b"")
        facts["head"] = number
        yield facts
    for name in ("one", "two"):
        await storage.post(RUN, name, b"message")
        facts["posted"] = {*facts["posted"], name}
        yield facts
    await storage.delete(RUN, claim.epoch, entries=await storage.list_entries(RUN))
    facts["pruned"] = True
    yield facts
    facts["taken"] = {"one"}
    yield facts
    await storage.delete_posted(RUN, ["one"])
    facts["gone"] = {"one"}
    yield facts
    await storage.aclose()


async def look(image):
    """What the next owner finds: the head, how many entries, the messages; a new entry can be added."""
    storage = FileStorage(FOLDER, ops=SimFileSystem.from_image(image))
    claim = await storage.acquire(RUN, "next")
    entries = await storage.list_entries(RUN)
    assert not [entry for entry in entries if entry.damage], entries
    posted = await storage.posted(RUN)
    assert {message.data for message in posted} <= {b"message"}
    await storage.append(RUN, claim.epoch, claim.head + 1, [b"more"], b"")
    await storage.aclose()
    return claim.head, [entry.sequence for entry in entries], {message.message_id for message in posted}


def is_allowed(found, facts):
    head, listed, posted = found
    known = facts["posted"] - facts["taken"]
    whole = listed == list(range(1, head + 1)) or facts["head"] == 3
    kept = "pruned" in facts or len(facts["posted"]) == 2 or len(listed) >= facts["head"]
    return (
        head >= facts["head"] and whole and kept and known <= posted and not facts.get("gone", set()) & posted
    )


async def test_heads_and_messages_survive_every_crash():
    """The head outlives the deletion of every entry; a posted message stays until it is taken."""
    with repeatable(300):
        fs, marks = SimFileSystem(), [(0, {"head": 0, "posted": set(), "taken": set()})]
        async for facts in used(fs):
            marks.append((fs.point, dict(facts)))
    seen = 0
    for point in range(fs.point + 1):
        facts = [facts for at, facts in marks if at <= point][-1]
        for number, image in enumerate(fs.images(point, 20, sectors=[128])):
            with repeatable(300, start=2):
                found = await look(image)
            assert is_allowed(found, facts), (point, number, found, facts)
            seen += 1
    assert seen > 200


async def test_a_deleted_run_is_whole_or_gone_and_stays_gone():
    with repeatable(700):
        fs = SimFileSystem()
        storage = FileStorage(FOLDER, ops=fs)
        claim = await storage.acquire(RUN, "test")
        await storage.append(RUN, claim.epoch, 1, [b"one"], b"")
        await storage.release(RUN, claim.epoch)
        begun = fs.point
        await storage.delete_run(RUN)
    kept = {point: await entries_in(fs, point) for point in range(begun, fs.point + 1)}
    renamed = next(at for at in range(begun, fs.point) if fs.log[at].call == "rename")
    synced = next(at for at in range(renamed, fs.point) if fs.log[at].call == "fsync_folder")
    assert kept[renamed] == {1}
    assert kept[renamed + 1] == {0, 1}
    assert [kept[point] for point in range(synced + 1, fs.point + 1)] == [{0}] * (fs.point - synced)


async def entries_in(fs, point):
    """How many sound entries the images of a point hold."""
    found = set()
    for image in fs.images(point):
        with repeatable(700, start=2):
            storage = FileStorage(FOLDER, ops=SimFileSystem.from_image(image))
            try:
                entries = await storage.list_entries(RUN)
                assert not [entry for entry in entries if entry.damage]
                found.add(len(entries))
            except NotFoundError:
                found.add(0)
    return found
