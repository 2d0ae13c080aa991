"""Lets owners of a run come between each other's file operations in every order, some of them interrupted.

python tests/faults/explore_ownership.py --interruptions 2 taker taker taker
python tests/faults/explore_ownership.py --replay 0011100222 taker taker taker
"""

from __future__ import annotations

import argparse
import sys
import time

from ownership_kit import Ownership, in_threads

from kernelckpt.testing import InterleavingFoundError

ACTORS = ("taker", "guest", "pruner", "copier", "meddler")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--interruptions", type=int, default=2, help="how many, over all owners")
    parser.add_argument("--runs", type=int, help="stop after so many orders")
    parser.add_argument("--random", type=int, default=0, help="try so many random orders as well")
    parser.add_argument("--replay", metavar="SCHEDULE", help="try one order")
    parser.add_argument("actor", nargs="+", choices=ACTORS, help="who takes part")
    given = parser.parse_args()
    ownership = Ownership(*given.actor)
    began, done = time.process_time(), True
    try:
        with in_threads():
            if given.replay:
                ownership.interleavings.replay(given.replay)
            else:
                done = ownership.explore(given.interruptions, limit=given.runs)
                ownership.sample(given.random)
    except InterleavingFoundError as error:
        print(error)
        print(f"again: python {sys.argv[0]} --replay={error.schedule} {' '.join(given.actor)}")
        return 1
    found, seconds = ownership.interleavings, time.process_time() - began
    print(
        f"{found.runs} orders, {'all' if done else 'not all'}, in {seconds:.0f} s of processor; all is well"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
