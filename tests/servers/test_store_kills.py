"""A kernel of agents on every storage, killed at random times: nothing is lost, and nothing is done twice."""

# ruff: noqa: F811 - a fixture is imported, and named by what uses it

import pytest
from fault_script import run_script
from stores import store  # noqa: F401 - a fixture

LEASED = {"redis", "objects"}
"""Where whoever was killed counts as alive for 20 s or more."""


@pytest.mark.slow
async def test_kills_lose_nothing_and_repeat_nothing(store):
    kills = 2 if store.kind in LEASED else 4
    options = ("--kills", f"{kills}", "--agents", "20", "--seed", "5")
    code, out = await run_script("kill9.py", *options, "--url", store.url)
    assert code == 0, out
    assert f"0 faults after {kills} kills" in out
