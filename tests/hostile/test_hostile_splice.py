"""Parts of other runs, and odd things among the files: refused with a typed error, or without any effect."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hostile_kit import RUN, open_log, outcome, write_small_run
from unprivileged import nobody

from kernelckpt import FileStorage, load
from kernelckpt.errors import KernelCkptError, StorageUnavailableError


@pytest.fixture
async def run(tmp_path):
    return await write_small_run(tmp_path / "mine")


@pytest.fixture
async def twin(tmp_path):
    """A run of the same id, with the same epochs, numbers and times, whose agent said something else."""
    return await write_small_run(tmp_path / "twin", word="two")


@pytest.fixture
async def stranger(tmp_path):
    """A run of another id with the same content."""
    return await write_small_run(tmp_path / "stranger", run_id="another run")


async def judged(run):
    """The outcome for both choices: a typed error with advice, or a state of this run; never another one."""
    refused = await outcome(run)
    found = await outcome(run, "fall_back")
    for seen in (refused, found):
        assert seen.error is not None or seen.state in run.good.values()
        assert seen.error is None or seen.error.hint
    assert refused.error is not None or refused.state == run.good[run.newest]
    return refused, found


FILES = ["seg.1.1", "blob.base-1-1", "owner.1", "head", "run"]


@pytest.mark.parametrize("name", FILES)
async def test_a_file_of_another_run_never_gives_another_state(run, stranger, name):
    shutil.copy(stranger.folder / name, run.folder / name)
    refused, _ = await judged(run)
    assert (refused.error is None) == (name in {"owner.1", "head"}), "only these two say nothing of a run"


@pytest.mark.parametrize("name", ["seg.1.1", "blob.base-1-1"])
async def test_a_file_of_a_twin_never_gives_a_mixed_state(run, twin, name):
    shutil.copy(twin.folder / name, run.folder / name)
    refused, found = await outcome(run), await outcome(run, "fall_back")
    assert "is not the one" in str(refused.error)
    whole = [*run.good.values(), *twin.good.values()]  # all that the segment alone says is one run's
    assert found.state in whole
    assert "is damaged" in found.notes[0]


async def test_a_whole_run_under_the_folder_of_another_id_is_refused(run, stranger):
    shutil.rmtree(run.folder)
    shutil.copytree(stranger.folder, run.folder)
    refused, _ = await judged(run)
    assert refused.error is not None


def frames_of(run):
    """The segment's header, and the bytes of each entry in it."""
    data = run.segment.read_bytes()
    ends = [run.ends[number] for number in sorted(run.ends) if number]
    begins = [data.index(b"\x94\xcf"), *ends]
    return data[: begins[0]], [data[begin:end] for begin, end in zip(begins, ends, strict=False)]


async def test_entries_in_another_order_or_from_another_place_are_refused(run, twin):
    (head, mine), (_, others) = frames_of(run), frames_of(twin)
    assert head + b"".join(mine) == run.segment.read_bytes()
    tried = {
        "swapped": [*mine[:3], mine[4], mine[3]],
        "left out": [*mine[:3], mine[4]],
        "one of the twin": [*mine[:3], others[3], mine[4]],
        "the last of the twin": [*mine[:4], others[4]],
        "the first of another place": [mine[1], *mine[1:]],
    }
    for what, frames in tried.items():
        run.segment.write_bytes(head + b"".join(frames))
        refused, found = await judged(run)
        whole = [number for number, state in run.good.items() if state == (refused.state or found.state)]
        assert refused.error is not None or what == "the first of another place", (what, whole)


async def test_a_segment_of_another_epoch_is_refused_or_void(run):
    shutil.copy(run.segment, run.folder / "seg.2.1")
    await judged(run)
    run.segment.unlink()
    refused, _ = await judged(run)
    assert refused.error is not None


ODD_NAMES = [
    "a\nname",
    "näme \U0001f600",
    "\udcff\udcfe",  # bytes that are no UTF-8
    "seg.1.1\n",
    "seg.01.1",
    "seg.1.1.tmp",
    "seg.99999999999999999999.1",
    "owner.\u0662",  # a digit, in another script
    "blob.%6E",
    "blob.%FF",
    "inbox.x",
    " ",
    "x" * 255,
]


async def test_odd_names_beside_the_files_change_nothing(run):
    for name in ODD_NAMES:
        (run.folder / name).write_bytes(b"\x94\xff")
    (run.folder / "folder").mkdir()
    (run.root / "a\nfolder").mkdir()
    refused, _ = await judged(run)
    assert refused.state == run.good[run.newest]
    async with FileStorage(run.root) as storage:
        assert list(await storage.list_runs()) == [RUN]
        log = await open_log(storage)
        await log.aclose()
    assert all((run.folder / name).read_bytes() == b"\x94\xff" for name in ODD_NAMES)


@pytest.mark.parametrize("run_id", ["../../etc", "a\nb", "ä" * 200, "/", ".", "CON", "run%2F", "\u202e"])
async def test_odd_ids_of_runs_stay_within_the_folder(tmp_path, run_id):
    made = await write_small_run(tmp_path / "state", run_id=run_id)
    assert made.folder.parent == made.root
    assert {path.name for path in tmp_path.iterdir()} == {"state"}
    async with FileStorage(made.root) as storage:
        assert (await load(storage, run_id)).to_json() == made.good[made.newest]


KINDS = {
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to nothing": lambda path: path.symlink_to("nowhere"),
    "a link to the true file": lambda path: path.symlink_to(path.with_name("moved")),
    "a pipe": os.mkfifo,
    "a folder": lambda path: path.mkdir(),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FILES)
async def test_what_is_no_regular_file_is_refused_by_name_and_not_followed(run, name, kind):
    path = run.folder / name
    path.rename(path.with_name("moved"))
    KINDS[kind](path)
    for choice in ("refuse", "fall_back"):
        found = await outcome(run, choice)
        assert isinstance(found.error, StorageUnavailableError)
        assert found.error.hint
        assert name in str(found.error)
    path.rmdir() if kind == "a folder" else path.unlink()
    path.with_name("moved").rename(path)
    assert (await outcome(run)).state == run.good[run.newest]


@pytest.mark.parametrize("name", FILES)
async def test_a_file_that_may_not_be_read_is_refused_by_name(name):
    with tempfile.TemporaryDirectory() as place:  # pytest's own folders let nobody else in
        made = await write_small_run(Path(place) / "state")
        for folder in (Path(place), made.root, made.folder):
            folder.chmod(0o755)
        for path in made.files():
            path.chmod(0o644)
        (made.folder / name).chmod(0)
        with nobody():
            async with FileStorage(made.root) as storage:
                with pytest.raises(KernelCkptError, match="Permission denied") as caught:
                    await load(storage, RUN)
    assert caught.value.hint
    assert name in str(caught.value)
