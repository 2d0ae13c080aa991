"""The simulation can find what it is for: faults planted into the package are found within a few seeds."""

import pytest
from planted import PLANTED, RARE
from sim_history import simulate
from sim_world import BrokenError

SEEDS = 80


@pytest.mark.parametrize("name", sorted(PLANTED.keys() - RARE))
def test_a_planted_fault_is_found(name):
    with PLANTED[name]():
        for seed in range(SEEDS):
            try:
                simulate(seed)
            except BrokenError:
                return
    pytest.fail(f"{name} was not found in {SEEDS} histories")
