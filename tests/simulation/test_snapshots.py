"""A snapshot is one instant: that of the newest commit, whatever turns are under way."""

import asyncio

from sim_history import random_roots, repeatable
from sim_machine import FileMachine
from sim_owner import Owner
from sim_world import World

from kernelckpt.testing import SimLoop

SEEDS = 3
EVERY = 3
"""Rounds of the loop between two snapshots."""


def snapshots_of(seed):
    """Look at a kernel again and again while its agents work; how often, and at how many different states."""
    with repeatable(), SimLoop(seed, shuffled=True) as loop:
        world = World(loop, random_roots(loop.chance))
        owner = Owner(world, FileMachine(world), is_last=True)
        seen = []

        def look():
            if owner.kernel is not None and not owner.is_over and loop.steps % EVERY == 0:
                owner.look()  # compares the live kernel and a snapshot of it with the model
                seen.append(owner.model.digest)

        async def main():
            loop.on_step = look
            await asyncio.wait([owner.start()])
            loop.on_step = None

        loop.run(main())
        assert world.broken is None, f"seed {seed}: {world.broken}"
        assert owner.is_done
        return len(seen), len(set(seen))


def test_snapshots_are_states_of_commits_at_any_round_of_the_loop():
    counts = [snapshots_of(seed) for seed in range(SEEDS)]
    assert sum(taken for taken, _ in counts) > 300
    assert sum(different for _, different in counts) > 30
