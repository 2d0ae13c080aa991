"""The usual form of `kill_points.py`: thousands of kills, and bugs that must be found by them."""

import re

import pytest
from fault_script import run_script

SCRIPT = "kill_points.py"


async def test_no_kill_at_any_call_loses_anything():
    code, out = await run_script(SCRIPT)
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
    code, out = await run_script(SCRIPT, "--planted", bug, "--memory", "300", "--disk", "0", "--spawned", "0")
    assert code == 1
    assert re.search(rf"KillError: .*: killed .* call \d+: .*{found}", out), out
