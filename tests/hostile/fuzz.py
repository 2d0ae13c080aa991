"""Gives every decoder inputs that nobody wrote, by a seed: only typed errors may come out of them.

`python tests/hostile/fuzz.py --inputs 1000000 --seed 1`; `--only NAME` for one decoder. What is found is
printed with the seed and the number of the input, which make it again.
"""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
import resource
import sys
import time
from collections import Counter
from random import Random

from msgspec import Struct
from targets import GOLDEN, Golden, Target, targets

from kernelckpt import FileStorage, load
from kernelckpt.errors import KernelCkptError
from kernelckpt.log import read_run

RARE = {
    "state": 0.5,
    "snapshot from_dict": 0.05,
    "snapshot from_json": 0.2,
    "session events": 0.5,
    "container": 0.2,
}
"""How often a decoder that takes its time gets an input, compared with others."""

PATIENCE_SECONDS = 60
MAX_MIB = 512
"""What the whole process may use; inputs are small, so that a decoder that believes a length needs more."""


class Found(Struct):
    """What one decoder did: how many inputs it took and refused, the slowest, and its faults."""

    taken: int = 0
    refused: int = 0
    slowest_ms: float = 0.0
    faults: list[str] = []


async def read_golden() -> list[Golden]:
    """The golden runs, read whole."""
    found = []
    for folder in sorted(GOLDEN.iterdir()):
        if not (folder / "storage").is_dir():
            continue
        run_id = folder.name
        async with FileStorage(folder / "storage") as storage:
            infos = await storage.list_entries(run_id)
            entries = [
                (info.epoch, info.sequence, info.meta, await storage.read(run_id, info.epoch, info.sequence))
                for info in infos
            ]
            names = [blob.name for blob in await storage.list_blobs(run_id)]
            blobs = {name: await storage.read_blob(run_id, name) for name in names}
            loaded = await read_run(storage, run_id)
            snapshot = await load(storage, run_id)
        found.append(Golden(run_id, entries, blobs, loaded.records, loaded.streams, snapshot))
    return found


def fuzz(target: Target, inputs: int, seed: int) -> Found:
    """Give one decoder so many inputs."""
    found = Found()
    for number in range(inputs):
        random = Random(f"{seed} {target.name} {number}")
        given = target.mutate(random, random.choice(target.seeds))
        begun = time.perf_counter()
        try:
            target.decode(given)
            found.taken += 1
        except KernelCkptError:
            found.refused += 1
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            text = f"{type(error).__name__}: {str(error)[:200]} at {_place(error)}"
            found.faults.append(f"{target.name} {number}, seed {seed}: {text}; input {repr(given)[:300]}")
        found.slowest_ms = max(found.slowest_ms, (time.perf_counter() - begun) * 1000)
    return found


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename.split('/')[-1]}:{trace.tb_lineno}" if trace else "?"


def shared_out(found: list[Target], inputs: int) -> list[tuple[Target, int]]:
    """How many inputs each decoder gets, at least a few."""
    weights = [RARE.get(target.name, 1.0) for target in found]
    return [
        (target, max(20, round(inputs * weight / sum(weights))))
        for target, weight in zip(found, weights, strict=True)
    ]


def run(inputs: int, seed: int, only: str = "") -> tuple[dict[str, Found], list[str]]:
    """Fuzz all decoders; what each did, and all faults."""
    chosen = [target for target in targets(asyncio.run(read_golden())) if only in target.name]
    done: dict[str, Found] = {}
    for target, count in shared_out(chosen, inputs):
        faulthandler.dump_traceback_later(PATIENCE_SECONDS + count // 100, exit=True)
        found, more = done.setdefault(target.name, Found()), fuzz(target, count, seed)
        found.taken += more.taken
        found.refused += more.refused
        found.slowest_ms = max(found.slowest_ms, more.slowest_ms)
        found.faults += more.faults
    faulthandler.cancel_dump_traceback_later()
    faults = [fault for found in done.values() for fault in found.faults]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return done, faults + ([f"{peak} MiB were used"] if peak > MAX_MIB else [])


def main() -> int:
    """Fuzz, and print what was found; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="a part of the names of decoders")
    given = parser.parse_args()
    done, faults = run(given.inputs, given.seed, given.only)
    for name, found in done.items():
        print(
            f"{name:26} {found.taken:8} taken {found.refused:9} refused  slowest {found.slowest_ms:8.1f} ms"
        )
    kinds = Counter(fault.split(": ", 1)[-1].split("; input")[0] for fault in faults)
    for fault in faults[:20]:
        print(f"FAULT {fault}")
    for kind, count in kinds.most_common(20):
        print(f"{count:8} {kind}")
    total = sum(found.taken + found.refused + len(found.faults) for found in done.values())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{total} inputs, {len(faults)} faults, {peak} MiB at most")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
