"""The usual form of `kill_points.py`: thousands of kills, and bugs that must be found by them."""

import asyncio
import re
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("kill_points.py")


async def kill_points(*arguments):
    """Run the script; its exit code and what it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(SCRIPT),
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    return process.returncode, out.decode()


async def test_no_kill_at_any_call_loses_anything():
    code, out = await kill_points()
    print("\n" + out)
    assert code == 0, out
    kills = {
        name: int(count) for name, count in re.findall(r"^(\w+) \(.*\): (\d+) killed", out, re.MULTILINE)
    }
    assert kills["memory"] >= 2000
    assert kills["disk"] >= 60
    assert kills["spawned"] >= 5


@pytest.mark.parametrize(
    ("bug", "found"), [("mark-first", "CorruptionError"), ("in-place", "no whole 'kernelckpt-\\w+' record")]
)
async def test_a_planted_bug_is_found(bug, found):
    code, out = await kill_points("--planted", bug, "--memory", "300", "--disk", "0", "--spawned", "0")
    assert code == 1
    assert re.search(rf"KillError: .*: killed .* call \d+: .*{found}", out), out
