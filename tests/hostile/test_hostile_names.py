"""No name, link or odd file leads out of the storage's folder, and no two names share a file."""

import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from hostile_kit import RUN, open_log, outcome, write_small_run
from name_child import names

from kernelckpt import FileStorage, load
from kernelckpt.errors import InvalidValueError, StorageUnavailableError
from kernelckpt.storage.file.name import blob_file_name, inbox_name, run_folder_name, sort_names

SCRIPT = Path(__file__).with_name("name_child.py")
EACH = 2_500


def watched(folder, *arguments):
    folder.mkdir()
    command = [sys.executable, str(SCRIPT), str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.may_block
def test_ten_thousand_hostile_names_stay_within_the_folder(tmp_path):
    found = watched(tmp_path / "here", str(EACH))
    assert found["outside"] == []
    assert found["inside"] > 4 * EACH
    assert found["done"]["runs"] == found["done"]["messages"] == EACH
    assert found["done"]["blobs"] > EACH * 0.8, "the others are too long for a file"
    assert found["done"]["tasks"] > EACH * 0.8, "the others cannot be encoded"
    assert found["modes"] == ["0o100600", "0o40700"], "whatever the umask"
    assert {path.name for path in tmp_path.iterdir()} == {"here"}


@pytest.mark.may_block
def test_a_path_outside_is_seen(tmp_path):
    assert watched(tmp_path / "here", "3", "/nowhere/at/all")["outside"] == ["open '/nowhere/at/all'"]


def folded(name):
    """A name as the least discerning file system sees it."""
    return unicodedata.normalize("NFKC", name).casefold()


ALIKE = ("run", "RUN", "Run", "rUn", "a/b", "A/B", "%41", "%61", "A", "a")


@pytest.mark.parametrize("name_of", [run_folder_name, inbox_name, blob_file_name])
def test_no_two_of_ten_thousand_names_share_a_file(name_of):
    known, refused = {}, 0
    for name in [*names(10_000, "distinct"), *ALIKE]:
        try:
            file = name_of(name)
        except InvalidValueError:
            refused += 1
            continue
        assert known.setdefault(folded(file), name) == name
        assert file.isascii()
        assert file.isprintable()
        assert not set('/\\:*?"<>| ') & set(file)
        assert len(file) <= 240
    assert refused < 2_500


def test_blobs_are_found_by_the_names_of_their_files():
    for name in names(2_000, "blobs"):
        if len(name) < 20:
            assert sort_names([blob_file_name(name)]).blobs == {name: blob_file_name(name)}


async def test_a_storage_is_found_through_links_that_lead_to_it(tmp_path):
    """Whoever names the storage's folder says where it is, by a link too; within it none is followed."""
    made = await write_small_run(tmp_path / "true" / "state")
    (tmp_path / "parent").symlink_to("true")
    (tmp_path / "root").symlink_to("true/state")
    for path in (tmp_path / "parent" / "state", tmp_path / "root"):
        async with FileStorage(path) as storage:
            assert list(await storage.list_runs()) == [RUN]
            assert (await load(storage, RUN)).to_json() == made.good[made.newest]
            log = await open_log(storage)
            await log.aclose()
    assert {path.name for path in tmp_path.iterdir()} == {"true", "parent", "root"}


async def test_a_link_to_a_foreign_folder_is_refused_like_the_folder(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "secret").write_bytes(b"not for you")
    (tmp_path / "root").symlink_to("home")
    async with FileStorage(tmp_path / "root") as storage:
        with pytest.raises(StorageUnavailableError, match="foreign"):
            await storage.acquire(RUN, "a test")
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["secret"]


async def test_a_copy_by_hard_links_does_not_hear_of_what_comes_after(tmp_path):
    made = await write_small_run(tmp_path / "state")
    shutil.copytree(made.root, tmp_path / "copy", copy_function=os.link)
    before = {path: path.read_bytes() for path in (tmp_path / "copy").rglob("*") if path.is_file()}
    await write_more(made.root)
    assert {path: path.read_bytes() for path in before} == before
    copy = type(made)(tmp_path / "copy", made.run_id, made.good, made.ends)
    assert (await outcome(copy)).state == made.good[made.newest]
    assert (await outcome(made)).error is None


async def write_more(root):
    """A second life of a run, which acknowledges another entry."""
    async with FileStorage(root) as storage:
        claim = await storage.acquire(RUN, "a test")
        await storage.append(RUN, claim.epoch, claim.head + 1, [b"no checkpoint"], b"")
        await storage.release(RUN, claim.epoch)
        await storage.acquire(RUN, "a test")
        await storage.delete(RUN, claim.epoch + 1, entries=(await storage.list_entries(RUN))[-1:])


async def test_a_mark_that_is_another_file_by_a_second_name_is_not_written_to(tmp_path):
    made = await write_small_run(tmp_path / "state")
    secret = tmp_path / "secret"
    secret.write_bytes(b"what somebody else wrote" * 50)
    before = secret.read_bytes()
    (made.folder / "head").unlink()
    (made.folder / "head").hardlink_to(secret)
    await write_more(made.root)
    assert secret.read_bytes() == before
    assert stat.S_IMODE((made.folder / "head").stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["seg.1.1", "blob.base-1-1", "owner.1", "head", "run"])
async def test_a_socket_in_place_of_a_file_is_refused_by_name(tmp_path, monkeypatch, name):
    made = await write_small_run(tmp_path / "state")
    (made.folder / name).unlink()
    monkeypatch.chdir(made.folder)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(name)
        found = await outcome(made)
    assert isinstance(found.error, StorageUnavailableError)
    assert name in str(found.error)
    assert found.error.hint
