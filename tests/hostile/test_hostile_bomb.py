"""What is small and says that it is large is refused in bounded memory and time, however it is read."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hostile_kit import write_small_run

SCRIPT = Path(__file__).with_name("bomb_child.py")
REFUSED = {"DecodeError", "CorruptionError", "UnsupportedVersionError"}
MAX_MIB = 256


@pytest.fixture
async def folder(tmp_path):
    await write_small_run(tmp_path / "state")
    return tmp_path


def child(folder, *arguments):
    command = [sys.executable, str(SCRIPT), str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)


@pytest.mark.may_block
async def test_bombs_are_refused_in_little_memory_and_time(folder):
    done = child(folder)
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told.pop("peak_mib") < MAX_MIB
    assert set(told.pop("commands")) == {"exit code 5"}
    for read in told.pop("files"):
        assert set(read) == {"kernelckpt", "run", "seg.1.1", "blob.base-1-1", "owner.1", "head"}
        for name, outcomes in read.items():
            assert set(outcomes) <= {"read", *REFUSED}
            is_loaded = outcomes[0] == "read"
            assert is_loaded == (name in {"owner.1", "head"}), "these two say nothing of the state"
    plain = {"value", "payload"}
    for name, outcomes in told.items():
        assert len(outcomes) > 5
        assert set(outcomes) <= ({"read", *REFUSED} if name in plain else REFUSED), name
        assert set(outcomes) & REFUSED


@pytest.mark.may_block
async def test_the_limit_would_stop_a_reader_that_believes_a_bomb(folder):
    done = child(folder, "1000")
    assert done.returncode != 0
    assert "MemoryError" in done.stderr
