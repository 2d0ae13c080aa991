"""Golden runs: what each released format wrote is still read, is still the same, and can still go on."""

import json
import subprocess
import sys
from pathlib import Path

import life
import pytest
from make_golden import DONE, OUTSIDE, TO_DO, golden_runs, outside_kernel
from msgspec import structs
from next_release import louder, shout

from kernelckpt import CheckpointHook, FileStorage, KernelSnapshot, RestoreFrom, load, verify
from kernelckpt.checkpoint.load import snapshot_of_run
from kernelckpt.codec import version
from kernelckpt.codec.codec import Codec
from kernelckpt.codec.record import RECORD_TYPES, STREAM_ITEMS
from kernelckpt.errors import UnsupportedVersionError
from kernelckpt.log import list_checkpoints, read_run
from kernelckpt.testing import ManualClock

RUNS = [run for number in range(1, version.FORMAT_VERSION + 1) for run in golden_runs(number)]
PRESENT = golden_runs(version.FORMAT_VERSION)
LIFE = next(run for run in PRESENT if run.run_id == life.RUN)
LIVES = [run for run in RUNS if run.run_id == life.RUN]


GOLDEN = Path(__file__).parent


def digest_of(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(params=RUNS, ids=lambda run: f"{run.folder.parent.name}-{run.run_id}")
def run(request):
    return request.param


@pytest.fixture
async def storage(run, tmp_path):
    async with FileStorage(run.copy(tmp_path)) as found:
        yield found


async def test_each_checkpoint_is_what_it_was(run, storage):
    assert len(run.states) == 2, "a base and the newest checkpoint"
    for number, path in run.states.items():
        snapshot = await load(storage, run.run_id, number, keys=run.keys)
        assert json.loads(snapshot.to_json()) == json.loads(path.read_text())
        assert KernelSnapshot.from_json(path.read_text()) == snapshot
    assert await load(storage, run.run_id, keys=run.keys) == run.newest


async def test_every_checkpoint_that_is_listed_can_be_read(run, storage):
    infos = await list_checkpoints(storage, run.run_id, codec=Codec(run.keys))
    assert [info.damage for info in infos] == [""] * max(run.states)
    assert {info.kind for info in infos} == {"base", "delta"}
    for info in infos:
        assert (await load(storage, run.run_id, info.sequence, keys=run.keys)).turn >= 0
    await storage.acquire(run.run_id, "a test")
    assert len(await list_checkpoints(storage, run.run_id, codec=Codec(run.keys))) == len(infos)


async def test_the_golden_runs_of_the_present_format_hold_every_kind_of_record_and_stream(tmp_path):
    kinds, blobs = set(), set()
    for golden in PRESENT:
        async with FileStorage(golden.copy(tmp_path)) as storage:
            loaded = await read_run(storage, golden.run_id, codec=Codec(golden.keys))
            kinds |= {key[0] for key in (*loaded.records, *loaded.streams)}
            blobs |= {blob.name.split("-")[0] for blob in await storage.list_blobs(golden.run_id)}
    assert kinds == {*RECORD_TYPES, *STREAM_ITEMS}
    assert blobs == {"base", "items"}


@pytest.fixture(params=LIVES, ids=lambda run: run.folder.parent.name)
def lived(request):
    """The run of a kernel, of each version."""
    return request.param


async def test_the_run_of_a_kernel_is_sound_and_goes_on_to_its_end(lived, tmp_path):
    async with FileStorage(lived.copy(tmp_path)) as storage:
        assert (await verify(storage, life.RUN)).findings == ()
        assert [(item.message_id, item.data) for item in await storage.posted(life.RUN)] == [
            ("m1", b"posted while nobody was at home")
        ]
        async with life.kernel_of(CheckpointHook(storage, every=None), clock=ManualClock()) as kernel:
            assert kernel.restored.differences == ()
            ends = await life.finish(kernel)
        assert ends == ENDS
        assert (await verify(storage, life.RUN)).findings == ()


async def test_what_was_posted_is_done_once(tmp_path):
    run = next(run for run in PRESENT if run.run_id == OUTSIDE)
    assert {item.error for item in run.newest.commands.values()} == {"", "UnknownTaskError"}
    async with FileStorage(run.copy(tmp_path)) as storage:
        assert len(await storage.posted(OUTSIDE)) == len(DONE) + len(TO_DO)
        async with outside_kernel(storage, ManualClock()) as kernel:
            await kernel.idle()
            assert (await kernel.join("asker")).text == "['approved']"
            assert (await kernel.join("other")).error == "enough"
            await kernel.send("listener", "end")
            assert (await kernel.join("listener")).output == ["one", "two"]
        assert (await verify(storage, OUTSIDE)).findings == ()
        assert list(await storage.posted(OUTSIDE)) == []


ENDS = {
    "lead": ["all paid", {"turns": 3}, ""],
    "builder": ["claim 2", None, ""],
    "listener": ["heard all", ["listen well", "one", "two"], ""],
    "asker": ["['approved']", None, ""],
}


async def test_the_snapshot_beside_a_run_goes_on_to_the_same_end(lived):
    async with life.kernel_of(RestoreFrom(lived.newest), clock=ManualClock()) as kernel:
        assert await life.finish(kernel) == ENDS


def test_there_is_a_run_of_each_kind_for_every_version():
    versions = range(1, version.FORMAT_VERSION + 1)
    assert {path.name for path in GOLDEN.glob("v*")} == {f"v{number}" for number in versions}
    for number in versions:
        assert {run.run_id for run in golden_runs(number)} >= {"every", life.RUN}


@pytest.mark.parametrize("golden", PRESENT, ids=lambda run: run.run_id)
async def test_a_step_to_the_next_version_is_taken_for_all_of_a_run(golden, tmp_path, monkeypatch):
    monkeypatch.setattr(version, "FORMAT_VERSION", version.FORMAT_VERSION + 1)
    async with FileStorage(golden.copy(tmp_path)) as storage:
        steps = {**version.UPGRADES, version.FORMAT_VERSION - 1: louder}
        loaded = await read_run(storage, golden.run_id, codec=Codec(golden.keys, steps=steps))
    assert snapshot_of_run(loaded).contexts == shouted(golden.newest).contexts
    assert snapshot_of_run(loaded).tasks == golden.newest.tasks


def shouted(snapshot):
    """The snapshot as the next version would have it."""
    contexts = {
        task: structs.replace(context, history_messages=tuple(map(shout, context.history_messages)))
        for task, context in snapshot.contexts.items()
    }
    assert contexts != snapshot.contexts
    return structs.replace(snapshot, contexts=contexts)


@pytest.mark.may_block
async def test_what_the_next_release_has_gone_on_with_is_refused_by_name(tmp_path):
    root = LIFE.copy(tmp_path)
    script = Path(__file__).with_name("next_release.py")
    done = subprocess.run(
        [sys.executable, str(script), str(root)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert KernelSnapshot.from_dict(told["found"]).contexts == shouted(LIFE.newest).contexts
    assert told["ends"] == ENDS | {"listener": ["heard all", ["listen well!", "one!", "two!"], ""]}
    texts = [message["content"] for message in told["again"]["contexts"]["listener"]["history_messages"]]
    assert texts == ["listen well!", "one!", "two!", "end"], (
        "each part is brought up from the version it was written in"
    )
    before = digest_of(root)
    async with FileStorage(root) as storage:
        older = load(storage, life.RUN, at=max(LIFE.states))
        looked = (older, load(storage, life.RUN), verify(storage, life.RUN))
        for attempt in (*looked, *map(start(storage), CHOICES)):
            with pytest.raises(UnsupportedVersionError, match="upgrade kernelckpt") as caught:
                await attempt
            present = version.FORMAT_VERSION
            assert (caught.value.found, caught.value.supported) == (present + 1, present)
    assert digest_of(root) == before


CHOICES = ("refuse", "fall_back")


def start(storage):
    async def enter(choice):
        hook = CheckpointHook(storage, every=None, owner_wait=0, on_corruption=choice)
        async with life.kernel_of(hook, clock=ManualClock()):
            pytest.fail("it started")

    return enter
