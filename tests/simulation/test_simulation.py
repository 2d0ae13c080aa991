"""The short form of the simulation; the long form is `python tests/simulation/simulate.py --runs ...`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import simulate as command
from sim_history import simulate
from sim_world import BrokenError

SCRIPT = Path(command.__file__)
CHUNKS = 6
SEEDS = 20
"""In each chunk."""


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_histories_break_nothing(chunk):
    for seed in range(chunk * SEEDS, (chunk + 1) * SEEDS):
        try:
            simulate(seed)
        except BrokenError as error:
            pytest.fail(command.report(seed, error), pytrace=False)


def digests(hash_seed):
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    ran = subprocess.run(
        [sys.executable, SCRIPT, "--runs", "6", "--digest"], env=environment, capture_output=True, check=True
    )
    return ran.stdout.decode().splitlines()[:6]


def test_a_seed_gives_one_history_in_every_process():
    """Every answer, commit, fault and written byte at the same step, whatever texts hash to."""
    here = [f"{seed} {simulate(seed).digest}" for seed in range(6)]
    assert digests("1") == digests("2") == here
    assert len({line.split()[1] for line in here}) == 6


def test_what_breaks_says_how_to_see_it_again(capsys):
    assert command.main(["--seed", "3", "--steps", "50"]) == 1
    told = capsys.readouterr().out
    assert "seed 3, step 51: no end after 50 steps" in told
    assert "again: python tests/simulation/simulate.py --seed 3 --verbose --steps 50" in told
