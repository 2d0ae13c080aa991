"""Processes race for one run of any storage: who acquires it appends, the others must be told.

python tests/servers/race.py postgresql://postgres@127.0.0.1/postgres --processes 50 --rounds 20

Each round every process acquires the run, every second one by taking it over, and adds a few entries. What
is listed at the end must be what was acknowledged, each number once, and besides it only what was in doubt. A
process that did not add all its entries must have been told so by an `OwnershipError`. Ends with 1 if
anything is off.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections import Counter

from kernelckpt.errors import OwnershipError, UnknownOutcomeError
from kernelckpt.storage import open_storage

APPENDS = 3
PATIENCE = 300.0


async def take_part(url, run_id, number):
    """One process: a round for each line that comes in, its outcome on a line that goes out."""
    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async with open_storage(url) as storage:
        print(json.dumps("ready"), flush=True)
        while turn := (await lines.readline()).decode().strip():
            found = {"end": "finished", "acknowledged": [], "doubtful": []}
            try:
                await add_some(storage, run_id, f"process {number}, round {turn}", number % 2 == 0, found)
            except OwnershipError as error:
                found["end"] = type(error).__name__
            except Exception as error:  # whatever it is, it is told
                found["end"] = f"{type(error).__name__}: {error}"
            print(json.dumps(found), flush=True)


async def add_some(storage, run_id, holder, takeover, found):
    """Acquire the run and add entries, which say whose they are."""
    claim = await storage.acquire(run_id, holder, takeover=takeover)
    for sequence in range(claim.head + 1, claim.head + 1 + APPENDS):
        body = f"{holder}, epoch {claim.epoch}, entry {sequence}"
        try:
            await storage.append(run_id, claim.epoch, sequence, [body.encode()], b"")
        except UnknownOutcomeError:
            found["doubtful"].append([sequence, claim.epoch, body])
            raise
        found["acknowledged"].append([sequence, claim.epoch, body])


async def start(url, run_id, number):
    """Start one process, and wait until it has opened the storage."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        __file__,
        url,
        "--run",
        run_id,
        "--number",
        str(number),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    await answer(child)
    return child


async def answer(child):
    line = await asyncio.wait_for(child.stdout.readline(), PATIENCE)
    if not line:
        raise RuntimeError("a process has ended too early")
    return json.loads(line)


async def race(url, run_id, processes, rounds):
    """Hold the rounds; the outcomes of all processes in all rounds."""
    children = []
    try:
        for first in range(0, processes, 4):  # starting costs more than racing
            some = range(first, min(first + 4, processes))
            children += await asyncio.gather(*(start(url, run_id, number) for number in some))
        outcomes = []
        for turn in range(rounds):
            for child in children:
                child.stdin.write(f"{turn + 1}\n".encode())
            outcomes += await asyncio.gather(*map(answer, children))
        return outcomes
    finally:
        for child in children:
            child.stdin.close()
        await asyncio.gather(*(child.wait() for child in children))


async def listed(url, run_id):
    """What the run holds in the end, as the processes tell it."""
    found = []
    async with open_storage(url) as storage:
        while page := await storage.list_entries(run_id, after=found[-1][0] if found else 0):
            for entry in page:
                body = await storage.read(run_id, entry.epoch, entry.sequence)
                found.append([entry.sequence, entry.epoch, body.decode()])
    return found


def faults(outcomes, found):
    """What is off, in words."""
    acknowledged = [entry for outcome in outcomes for entry in outcome["acknowledged"]]
    doubtful = [entry for outcome in outcomes for entry in outcome["doubtful"]]
    for sequence, times in Counter(sequence for sequence, _, _ in acknowledged).items():
        if times > 1:
            yield f"entry {sequence} was acknowledged {times} times"
    if [sequence for sequence, _, _ in found] != list(range(1, len(found) + 1)):
        yield "the numbers that are listed have gaps"
    if [epoch for _, epoch, _ in found] != sorted(epoch for _, epoch, _ in found):
        yield "an older epoch follows a newer one"
    for entry in acknowledged:
        if entry not in found:
            yield f"lost although acknowledged: {entry}"
    for entry in found:
        if entry not in acknowledged and entry not in doubtful:
            yield f"listed although never acknowledged: {entry}"
    for outcome in outcomes:
        if outcome["end"] not in {"finished", "RunOwnedError", "FencedError"} and not outcome["doubtful"]:
            yield f"ended by {outcome['end']}"


async def main(url, run_id, processes, rounds):
    """Race, tell the figures, and say whether all is well."""
    began = time.monotonic()
    outcomes = await race(url, run_id, processes, rounds)
    found = await listed(url, run_id)
    ends = Counter(outcome["end"].partition(":")[0] for outcome in outcomes)
    wrong = list(faults(outcomes, found))
    print(f"{processes} processes, {rounds} rounds, {time.monotonic() - began:.1f} s")
    for what in ("acknowledged", "doubtful"):
        print(f"{sum(len(outcome[what]) for outcome in outcomes)} entries {what}")
    print(f"{len(found)} entries listed")
    for end, times in ends.most_common():
        print(f"{times} times: {end}")
    for fault in wrong[:20]:
        print(f"FAULT: {fault}")
    print(f"{len(wrong)} faults")
    return 1 if wrong or not found else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("url")
    parser.add_argument("--processes", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--run", default=f"race-{time.time_ns()}")
    parser.add_argument("--number", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.number is None:
        sys.exit(asyncio.run(main(given.url, given.run, given.processes, given.rounds)))
    asyncio.run(take_part(given.url, given.run, given.number))
