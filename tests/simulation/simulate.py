"""Simulates histories of a run: crashes, power cuts, failing disks, zombies - one seed, one history.

    python tests/simulation/simulate.py --seed 7 --verbose     one history, with its trace
    python tests/simulation/simulate.py --runs 1000            seeds 0 to 999
    python tests/simulation/simulate.py --seed 5000 --seconds 3600

The first history that breaks something ends it; what is printed then says how to see it again.
"""

import argparse
import sys
import time
from collections import Counter
from contextlib import nullcontext

from planted import PLANTED
from sim_history import STEPS, simulate
from sim_world import BrokenError


def main(arguments=None):
    options = _parser().parse_args(arguments)
    began, counts, seed = time.monotonic(), Counter(), options.seed
    while seed == options.seed or _goes_on(options, seed, time.monotonic() - began):
        try:
            with PLANTED[options.plant]() if options.plant else nullcontext():
                world = simulate(seed, steps=options.steps, verbose=options.verbose)
        except BrokenError as error:
            print(report(seed, error, options.steps))
            return 1
        counts.update(world.counts, steps=world.loop.steps, seconds=int(world.loop.time()))
        if options.digest or options.verbose:
            print(seed, world.digest)
        seed += 1
    took = time.monotonic() - began
    print(
        f"{seed - options.seed} histories in {took:.0f} s: "
        + ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))
    )
    return 0


def report(seed, error, steps=STEPS):
    """What broke, what came before it, and how to see it again."""
    text, world = error.args
    tail = "\n".join(f"  {line}" for line in world.tail)
    command = f"python tests/simulation/simulate.py --seed {seed} --verbose"
    command += f" --steps {steps}" if steps != STEPS else ""
    return f"{tail}\nseed {seed}, step {world.broken_at}: {text}\nagain: {command}"


def _goes_on(options, seed, took):
    if options.seconds is not None:
        return took < options.seconds
    return seed < options.seed + options.runs


def _parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--runs", type=int, default=1, help="how many seeds")
    parser.add_argument("--seconds", type=float, help="instead of --runs: for how long")
    parser.add_argument("--steps", type=int, default=STEPS, help="rounds of the loop a history may take")
    parser.add_argument("--verbose", action="store_true", help="print the trace")
    parser.add_argument("--plant", choices=sorted(PLANTED), help="a fault of the package, to see it found")
    parser.add_argument("--digest", action="store_true", help="print the digest of each history")
    return parser


if __name__ == "__main__":
    sys.exit(main())
