"""Gives every decoder inputs that nobody wrote, by a seed: only typed errors may come out of them, and soon.

`python tests/hostile/fuzz.py --inputs 1000000 --seed 1`; `--only NAME` for the decoders with that in their
names, `--processes 2` for two at once. A fault is printed with the name of its decoder, the seed and a
number: `--only NAME --seed SEED --number NUMBER` makes that input again, shows it, and lets the error out.
"""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
import itertools
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

from msgspec import Struct
from mutation import one_of
from peak import peak_mib
from seeds import read_golden
from target_command import commands
from target_kernel import kernels
from target_states import names_and_urls, whole_states
from targets import Target, decoders

from kernelckpt.errors import KernelCkptError

BLOCK = 1000
"""Inputs that are made by one random generator; making it costs as much as making several inputs."""

PATIENCE_SECONDS = 2.0
"""How long one input may take, of the processor's time: other work on the machine does not count."""

HANG_SECONDS = 120
"""How long a block may take before all stacks are shown and the process ends."""

MAX_MIB = 160
"""What the whole process may use, far more than all inputs of a block together."""


class Found(Struct):
    """What one decoder did: how many inputs it took and refused, the slowest, and its faults."""

    taken: int = 0
    refused: int = 0
    slowest_seconds: float = 0.0
    faults: list[str] = []


class Shard(Struct, frozen=True):
    """Which blocks are ours: each `of`-th, beginning with `index`."""

    index: int = 0
    of: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """ "1/2" is the first of two."""
        index, of = map(int, text.split("/"))
        return cls(index - 1, of)


async def targets() -> list[Target]:
    """Every target there is."""
    golden = await read_golden()
    found = [*decoders(golden), *whole_states(golden), *kernels(golden), *names_and_urls(), *commands()]
    assert len({target.name for target in found}) == len(found)
    return found


def inputs_of(target: Target, seed: int, block: int, count: int = BLOCK) -> list[Any]:
    """The first inputs of a block of one decoder; always the same."""
    pick = Random(f"{seed} {target.name} {block}").random
    return [target.mutate(pick, one_of(pick, target.seeds)) for _ in range(count)]


def input_of(target: Target, seed: int, number: int) -> Any:
    """One input again, by its number."""
    block, at = divmod(number, BLOCK)
    return inputs_of(target, seed, block, at + 1)[at]


def fuzz(
    target: Target,
    inputs: int,
    seed: int,
    shard: Shard = Shard(),  # noqa: B008 - it is frozen
    *,
    clock: Callable[[], float] = time.process_time,
) -> Found:
    """Give one decoder so many inputs, or this shard's share of them."""
    found = Found()
    for block in range(shard.index, -(-inputs // BLOCK), shard.of):
        faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)
        given = inputs_of(target, seed, block, min(BLOCK, inputs - block * BLOCK))
        begun = clock()
        for number, data in zip(itertools.count(block * BLOCK), given, strict=False):
            fault = _fault_of(target, data, found)
            ended = clock()
            if ended - begun > found.slowest_seconds:
                found.slowest_seconds = ended - begun
                if found.slowest_seconds > PATIENCE_SECONDS:
                    fault = fault or f"took {found.slowest_seconds:.1f} s"
            if fault:
                found.faults.append(f"{target.name} {number}, seed {seed}: {fault}")
            begun = ended
    faulthandler.cancel_dump_traceback_later()
    return found


def _fault_of(target: Target, data: Any, found: Found) -> str:
    """What is wrong with how the decoder met its input; "" for nothing."""
    try:
        target.decode(data)
    except KernelCkptError:
        found.refused += 1
    except KeyboardInterrupt:
        raise
    except BaseException as raised:
        error = _innermost(raised)
        return f"{type(error).__name__}: {str(error)[:200]} at {_place(error)}"
    else:
        found.taken += 1
    return ""


def _innermost(error: BaseException) -> BaseException:
    """What went wrong, out of the groups that tasks put around it."""
    return _innermost(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename.split('/')[-1]}:{trace.tb_lineno}" if trace else "?"


def shared_out(found: list[Target], inputs: int) -> list[tuple[Target, int]]:
    """How many inputs each decoder gets, at least a few."""
    whole = sum(target.share for target in found)
    return [(target, max(20, round(inputs * target.share / whole))) for target in found]


def run(chosen: list[Target], inputs: int, seed: int, shard: Shard) -> tuple[dict[str, Found], list[str]]:
    """Fuzz all decoders; what each did, and all faults."""
    done = {target.name: fuzz(target, count, seed, shard) for target, count in shared_out(chosen, inputs)}
    peak = peak_mib()
    faults = [fault for found in done.values() for fault in found.faults]
    return done, faults + ([f"memory: {peak} MiB were used"] if peak > MAX_MIB else [])


def report(done: dict[str, Found], faults: list[str], seconds: float) -> None:
    """Print what was found."""
    for name, found in done.items():
        counts = f"{found.taken:9} taken {found.refused:10} refused"
        print(f"{name:32} {counts}  slowest {found.slowest_seconds * 1000:8.1f} ms")
    for fault in faults[:20]:
        print(f"FAULT {fault}")
    for kind, count in Counter(fault.split(": ", 1)[-1] for fault in faults).most_common(20):
        print(f"{count:8} {kind}")
    total = sum(found.taken + found.refused for found in done.values()) + len(faults)
    print(f"{total} inputs, {len(faults)} faults, {peak_mib()} MiB at most, {seconds:.0f} s")


def in_processes(count: int, arguments: list[str]) -> int:
    """Run a shard in each of so many processes; 1 when one of them found something."""
    command = [sys.executable, __file__, *arguments]
    shards = [f"--shard={index + 1}/{count}" for index in range(count)]
    running = [subprocess.Popen([*command, shard]) for shard in shards]
    return max(process.wait() != 0 for process in running)


def main() -> int:
    """Fuzz, and print what was found; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="a part of the names of decoders")
    parser.add_argument("--shard", type=Shard.parse, default=Shard(), help="1/2 for the first of two")
    parser.add_argument("--processes", type=int, default=1, help="how many shards to run at once")
    parser.add_argument("--number", type=int, help="make one input of one decoder again")
    given = parser.parse_args()
    if given.processes > 1:
        again = [f"--inputs={given.inputs}", f"--seed={given.seed}", f"--only={given.only}"]
        return in_processes(given.processes, again)
    chosen = [target for target in asyncio.run(targets()) if given.only in target.name]
    if not chosen:
        parser.error(f"no decoder has {given.only!r} in its name")
    if given.number is not None:
        target = next((each for each in chosen if each.name == given.only), chosen[0])
        data = input_of(target, given.seed, given.number)
        print(f"{target.name}: {data!r}")
        target.decode(data)
        return 0
    begun = time.perf_counter()
    done, faults = run(chosen, given.inputs, given.seed, given.shard)
    report(done, faults, time.perf_counter() - begun)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
