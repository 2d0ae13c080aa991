"""Real file systems that fill up or become read-only under a working kernel, in a mount namespace."""

import asyncio
import json
import os
import sys
from pathlib import Path

import anyio
import pytest

pytestmark = pytest.mark.root
CHILD = Path(__file__).with_name("mounted_process.py")


@pytest.mark.parametrize(
    ("mode", "remedy"), [("full", "free space on that file system"), ("read-only", "remount it")]
)
async def test_a_file_system_that_fails_loses_nothing_and_is_gone_on_with(tmp_path, mode, remedy):
    assert os.geteuid() == 0, "mounting needs root: run `make test-root` as root"
    process = await asyncio.create_subprocess_exec(
        *("unshare", "--mount", "--propagation", "private"),
        *(sys.executable, str(CHILD), mode, str(tmp_path)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    with anyio.fail_after(120):
        out, complaints = await process.communicate()
    assert process.returncode == 0, complaints.decode()
    told = json.loads(out)
    assert told["acknowledged"] >= 4
    assert told["error"].startswith("CheckpointFailedError: run 'run': 6 checkpoints failed in a row")
    for error in (told["error"], told["again"]):
        assert remedy in error
        assert str(tmp_path / "mount") in error
