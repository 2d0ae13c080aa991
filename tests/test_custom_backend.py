"""The example of a storage of one's own passes the conformance suite, and keeps what it acknowledged."""

import errno
import sys
from pathlib import Path

import pytest
from test_examples import EXAMPLES, output_of

from kernelckpt.errors import CorruptionError, SyncFailedError
from kernelckpt.testing import StorageConformance

sys.path.insert(0, str(EXAMPLES))
from custom_backend import MARK, JournalStorage

sys.path.remove(str(EXAMPLES))


class TestJournalStorage(StorageConformance):
    many_entries = 2_000  # each is synced
    many_runs = 300

    @pytest.fixture
    def storage_factory(self, tmp_path):
        async def open_client():
            return JournalStorage(tmp_path / "journal")

        return open_client


async def test_it_counts_on_when_it_is_run_again(tmp_path):
    assert await output_of(tmp_path, "custom_backend.py") == "turn 1\nturn 2\nturn 3\n"
    assert await output_of(tmp_path, "custom_backend.py") == "turn 4\nturn 5\nturn 6\n"
    assert [path.name for path in tmp_path.iterdir()] == ["journal"], "no lock is left behind"


async def written(path: Path) -> bytes:
    """A journal of two entries."""
    async with JournalStorage(path) as storage:
        claim = await storage.acquire("run", "the test")
        for sequence in (1, 2):
            await storage.append("run", claim.epoch, sequence, [b"entry %d" % sequence], b"")
    return path.read_bytes()


async def head_of(path: Path) -> int:
    async with JournalStorage(path) as storage:
        return (await storage.acquire("run", "the next")).head


async def test_a_line_cut_short_at_any_byte_is_as_if_it_never_was(tmp_path):
    path = tmp_path / "journal"
    whole = await written(path)
    last = whole.rindex(MARK)  # that of closing
    second = whole.rindex(MARK, 0, last)
    for end in range(second, last + 1):
        path.write_bytes(whole[:end])
        assert await head_of(path) == (2 if end == last else 1)
        assert await head_of(path) == (2 if end == last else 1)


async def test_damage_before_the_end_is_an_error(tmp_path):
    path = tmp_path / "journal"
    whole = await written(path)
    place = whole.index(b"entry 1")
    path.write_bytes(whole[:place] + b"x" + whole[place + 1 :])
    storage = JournalStorage(path)
    for call in (lambda: storage.acquire("run", "the next"), storage.aclose):
        with pytest.raises(CorruptionError):
            await call()


async def test_what_could_not_be_synced_is_not_there(tmp_path, monkeypatch):
    path = tmp_path / "journal"
    async with JournalStorage(path) as storage:
        claim = await storage.acquire("run", "the test")
        with monkeypatch.context() as patch:
            patch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(errno.EIO, "lost")))
            with pytest.raises(SyncFailedError):
                await storage.append("run", claim.epoch, 1, [b"one"], b"")
        await storage.append("run", claim.epoch, 1, [b"another"], b"")
    async with JournalStorage(path) as storage:
        (entry,) = await storage.list_entries("run")
        assert await storage.read("run", entry.epoch, 1) == b"another"
