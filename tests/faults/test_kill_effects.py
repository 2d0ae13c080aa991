"""The usual form of `kill_effects.py`; the long one kills at every point, and 1,000 effects 50 times."""

import re

import pytest
from fault_script import run_script

SCRIPT = "kill_effects.py"
SMALL = ("--effects", "120", "--agents", "12", "--kills", "8")


async def test_no_kill_around_an_effect_repeats_or_loses_it():
    code, out = await run_script(SCRIPT, "--stride", "4", *SMALL)
    print("\n" + out)
    assert code == 0, out
    killed = [int(count) for count in re.findall(r"^\w+, \w+: (\d+) killed", out, re.MULTILINE)]
    assert len(killed) == 16
    assert sum(killed) >= 120
    random = r"^random: 12\d effects, 12 agents, 8 kills, .* 0 others done twice, 0 lost"
    assert re.search(random, out, re.MULTILINE)


@pytest.mark.parametrize("bug", ["intent-later", "repeated"])
async def test_a_planted_bug_is_found(bug):
    code, out = await run_script(SCRIPT, "--planted", bug, "--stride", "2", *SMALL)
    assert code == 1
    found = r"KillError: \w+, \w+: killed at point \d+, .*: KillError: .* was done (2 times|under 2 keys)"
    assert re.search(found, out), out
