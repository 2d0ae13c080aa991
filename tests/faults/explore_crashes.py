"""Crashes every sequence of operations on a run at every point, on a simulated file system.

python tests/faults/explore_crashes.py --ops 4 --images 400 --second-share 0.006 --shard 1/2
python tests/faults/explore_crashes.py --ops 2 --faults once
python tests/faults/explore_crashes.py --replay 12:3/7:1 delta base

All shards together do what one run without `--shard` does. A failure prints the command that shows it again.
"""

from __future__ import annotations

import argparse
import asyncio
import shlex
import sys
import time
from collections.abc import Sequence

from crash_kit_fs import OPERATIONS, SEGMENT_BYTES, Exploration
from fault_kit_fs import Faults

from kernelckpt.testing import CrashFoundError, Fault

SETTINGS = ("images", "second_images", "second_share", "kill_share", "generations", "segment_bytes", "seed")


def shard(text: str) -> tuple[int, int]:
    number, _, of = text.partition("/")
    if not 1 <= int(number) <= int(of):
        raise ValueError(text)
    return int(number), int(of)


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--ops", type=int, default=3, help="operations in a sequence")
    parser.add_argument("--images", type=int, default=40, help="images of a crash point")
    parser.add_argument("--second-images", type=int, default=4, help="images of a point of a second crash")
    parser.add_argument("--second-share", type=float, default=0.002, help="images whose recovery is crashed")
    parser.add_argument("--kill-share", type=float, default=0.01, help="syncs at which processes are killed")
    parser.add_argument("--generations", type=int, default=2, help="crashes one after the other")
    parser.add_argument("--segment-bytes", type=int, default=SEGMENT_BYTES, help="when a segment is full")
    parser.add_argument("--seed", type=int, default=0, help="another one chooses other images")
    parser.add_argument("--shard", type=shard, default=(1, 1), help="2/4: do the second quarter")
    parser.add_argument("--seconds", type=float, default=0, help="stop after so much processor time")
    parser.add_argument("--faults", choices=["once", "lasting"], help="let every call fail, in every way")
    parser.add_argument("--fault", metavar="FAULT", help="let one call fail, to replay")
    parser.add_argument("--replay", metavar="CRASH", help="do one crash of one sequence")
    parser.add_argument("operation", nargs="*", choices=[[], *OPERATIONS], help="the sequence, to replay")
    return parser.parse_args(arguments)


def replay_command(settings: dict[str, float], error: CrashFoundError) -> str:
    operations, _, fault = error.label.partition(", fault ")
    given = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    if fault:
        given.append(f"--fault={fault}")
    script = ["python", "tests/faults/explore_crashes.py"]
    return shlex.join([*script, *given, f"--replay={error.trail}", *operations.split()])


async def explore(exploration: Exploration, given: argparse.Namespace) -> None:
    """Explore until all is done or the time is over, and say how much it was."""
    began = time.process_time()
    whole = len(OPERATIONS) ** given.ops
    try:
        async for _ in exploration.each_workload(given.ops):
            passed = time.process_time() - began
            if given.seconds and passed > given.seconds:
                print(f"stopped: all of it would take about {passed * whole / exploration.workloads:.0f} s")
                break
    finally:
        passed, counts = time.process_time() - began, exploration.explorer.counts
        print(f"{exploration.workloads} of {whole} sequences in {passed:.0f} s of processor: {exploration}")
        print(f"{(counts.images + counts.second_images) / passed:.0f} images recovered per second")


def exploration_of(given: argparse.Namespace) -> Exploration:
    settings = {name: getattr(given, name) for name in SETTINGS}
    if given.faults or given.fault:
        return Faults(lasting=given.faults == "lasting", **settings)
    return Exploration(shard=given.shard, **settings)


async def main(arguments: Sequence[str]) -> int:
    given = parsed(arguments)
    exploration = exploration_of(given)
    try:
        if given.fault:
            await exploration.replay_fault(given.operation, Fault.parse(given.fault), given.replay)
        elif given.replay is not None:
            await exploration.replay(given.operation, given.replay)
        else:
            await explore(exploration, given)
    except CrashFoundError as error:
        print(str(error).replace("\n", " "))
        print(f"again: {replay_command({name: getattr(given, name) for name in SETTINGS}, error)}")
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("interrupted; nothing acknowledged was lost so far")
        return 130
    print("nothing acknowledged was lost")
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
