"""Crashes every sequence of operations on a run at every point, on a simulated file system.

python tests/faults/explore_crashes.py --ops 4 --limit 40 --share 0.02
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time

from crash_kit_fs import SEGMENT_BYTES, BrokenRunError, Exploration


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--ops", type=int, default=3, help="operations in a sequence")
    parser.add_argument("--limit", type=int, default=20, help="images of a crash point")
    parser.add_argument("--share", type=float, default=0.01, help="images that meet a second crash")
    parser.add_argument("--kills", type=float, default=0.02, help="syncs at which processes are killed first")
    parser.add_argument("--second-limit", type=int, default=4, help="images of a point of a second crash")
    parser.add_argument("--segment-bytes", type=int, default=SEGMENT_BYTES, help="when a segment is full")
    parser.add_argument("--seed", type=int, default=0, help="another one chooses other images")
    return parser.parse_args()


async def main() -> int:
    given = arguments()
    exploration = Exploration(
        limit=given.limit,
        second_limit=given.second_limit,
        share=given.share,
        kills=given.kills,
        segment_bytes=given.segment_bytes,
        seed=given.seed,
    )
    began = time.perf_counter()
    try:
        await exploration.all_workloads(given.ops)
    except BrokenRunError as error:
        print(error)
        return 1
    finally:
        print(f"{exploration.counts}, in {time.perf_counter() - began:.0f} s")
    print("nothing acknowledged was lost")
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
