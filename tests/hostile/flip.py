"""Flips bits of a small run and cuts its files short, and judges what a reader makes of each.

Run it by itself for every single bit: `python tests/hostile/flip.py --every 1`.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from hostile_kit import DirectStorage, Outcome, SmallRun, outcome_of, write_small_run

from kernelckpt.errors import KernelCkptError

EDGE_BYTES = 16
"""The first and last bytes of a file that are always tried bit by bit: headers and closings."""


class Damage(NamedTuple):
    """One damage to one file.

    Attributes:
        what: what was done, for the report.
        data: the file's bytes afterwards.
        at: the first byte that is not what it was.
        is_cut: whether everything from there on is gone.
    """

    what: str
    data: bytes
    at: int
    is_cut: bool


def damages(path: Path, every: int) -> Iterator[Damage]:
    """The file with one bit flipped, and the file cut short, in all places.

    Args:
        path: the file.
        every: n for only every n-th bit and length between its edges.
    """
    data = path.read_bytes()
    for bit in range(len(data) * 8):
        at = bit // 8
        if bit % every == 0 or _is_edge(at, len(data)):
            changed = bytearray(data)
            changed[at] ^= 1 << bit % 8
            yield Damage(f"{path.name}: bit {bit % 8} of byte {at}", bytes(changed), at, is_cut=False)
    for size in range(len(data)):
        if size % every == 0 or _is_edge(size, len(data)):
            yield Damage(f"{path.name}: cut to {size} bytes", data[:size], size, is_cut=True)


def _is_edge(at: int, size: int) -> bool:
    return at < EDGE_BYTES or at >= size - EDGE_BYTES


def fault(run: SmallRun, found: Outcome, acceptable: set[int]) -> str:
    """What is wrong with an outcome; "" when nothing is.

    Args:
        run: the run.
        found: the outcome.
        acceptable: numbers of the checkpoints that may be given without a word.
    """
    if found.error is not None:
        return "" if found.error.hint else f"an error without advice: {found.error}"
    numbers = {number for number, state in run.good.items() if state == found.state}
    if not numbers:
        return "a state that never was"
    return "" if found.notes or numbers & acceptable else f"checkpoint {max(numbers)} without a word"


def torn(run: SmallRun, damage: Damage) -> set[int]:
    """What may be given of a run whose mark was lost, so that nothing says where it ended."""
    if damage.is_cut:
        return {max(number for number, end in run.ends.items() if end <= damage.at)}
    return {run.newest, run.newest - 1} if damage.at >= run.ends[run.newest - 1] else {run.newest}


async def judge(run: SmallRun, path: Path, every: int, *, marked: bool) -> tuple[Counter[str], list[str]]:
    """Damage one file of a run in many ways; how often was what the outcome, and all faults."""
    counts: Counter[str] = Counter()
    faults: list[str] = []
    whole = path.read_bytes()
    for damage in damages(path, every):
        path.write_bytes(damage.data)
        acceptable = {run.newest} if marked else torn(run, damage)
        for choice, found in await _readings(run):
            wrong = fault(run, found, acceptable)
            faults += [f"{damage.what}, {choice}: {wrong}"] if wrong else []
            faults += [f"{damage.what}: a note, but no refusal"] if choice == "refuse" and found.notes else []
            counts[f"{choice}: {type(found.error).__name__ if found.error else 'a state'}"] += 1
    path.write_bytes(whole)
    return counts, faults


async def _readings(run: SmallRun) -> list[tuple[str, Outcome]]:
    """What a reader is given, and what one who accepts a loss is given where the first is refused."""
    async with DirectStorage(run.root) as storage:
        readings = [("refuse", await outcome_of(storage, run.run_id, "refuse"))]
        if readings[0][1].error is not None:
            readings.append(("fall back", await outcome_of(storage, run.run_id, "fall_back")))
    return readings


async def judge_inbox(run: SmallRun, every: int) -> tuple[Counter[str], list[str]]:
    """Damage a posted message in many ways: it is read as it was, or refused."""
    counts: Counter[str] = Counter()
    faults: list[str] = []
    async with DirectStorage(run.root) as storage:
        await storage.post(run.run_id, "m1", b"posted")
        posted = await storage.posted(run.run_id)
        (path,) = run.folder.glob("inbox.*")
        for damage in damages(path, every):
            path.write_bytes(damage.data)
            try:
                (found,) = await storage.posted(run.run_id)
                counts[f"posted: {'damaged' if found.damage else 'as it was'}"] += 1
                wrong = "" if found.damage or [found] == posted else "another message"
            except KernelCkptError as error:
                wrong = "" if error.hint else "an error without advice"
                counts[f"posted: {type(error).__name__}"] += 1
            faults += [f"{damage.what}: {wrong}"] if wrong else []
        path.unlink()
    return counts, faults


async def judge_all(root: Path, every: int) -> tuple[Counter[str], list[str]]:
    """Judge every damage to every file of a run, its inbox, and the segment of one whose mark was lost.

    A power cut may leave a run without its mark; its newest entry may then be a torn tail.
    """
    run = await write_small_run(root)
    counts: Counter[str] = Counter()
    faults: list[str] = []
    for path in run.files():
        more, wrong = await judge(run, path, every, marked=True)
        counts += more
        faults += wrong
    more, wrong = await judge_inbox(run, every)
    counts, faults = counts + more, faults + wrong
    (run.folder / "head").unlink()
    more, wrong = await judge(run, run.segment, every, marked=False)
    return counts + more, faults + wrong


async def main(every: int) -> int:
    """Judge, and print what was found; the exit code."""
    with tempfile.TemporaryDirectory() as root:
        counts, faults = await judge_all(Path(root) / "state", every)
    print(f"{sum(counts.values())} readings")
    for outcome, count in sorted(counts.items()):
        print(f"  {count:8} {outcome}")
    for wrong in faults[:20]:
        print(f"  FAULT {wrong}")
    print(f"{len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="only every n-th bit and length within a file")
    sys.exit(asyncio.run(main(parser.parse_args().every)))
