"""Kills the chat agent at calls that change files, and looks for a model call made twice or charged wrongly.

python tests/chat_trial.py --kills 300
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import PIPE, STDOUT
from typing import Any

import httpx
from chat_server import USAGE

from kernelckpt import open_storage, verify
from kernelckpt.codec.record import decode_record
from kernelckpt.errors import NotFoundError
from kernelckpt.log import read_run

TESTS = Path(__file__).parent
EXAMPLE = TESTS.parent / "examples" / "chat_agent.py"
KILLING = TESTS / "faults" / "killing_run.py"
RUN_ID = "trip"
MOST_CALLS = 60
"""A life is killed at one of so many calls that change files; the example needs about 100 from end to end."""


def tokens_of(steps: Sequence[str]) -> int:
    """What these steps have used."""
    return sum(USAGE[step]["total_tokens"] for step in steps)


def cost_of(steps: Sequence[str]) -> int:
    """What these steps have cost by the prices of the example, each rounded up."""
    return sum(_cost(USAGE[step]) for step in steps)


def _cost(usage: dict[str, Any]) -> int:
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    quarters = (usage["prompt_tokens"] - cached) * 10 + cached * 5 + usage["completion_tokens"] * 40
    return -(-quarters // 4)


TOTALS = f"{tokens_of(list(USAGE))} tokens, {cost_of(list(USAGE))} micros"
"""What the example says in the end."""


@asynccontextmanager
async def model_server(**settings: str) -> AsyncIterator[str]:
    """The server in a process of its own; where it is."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(TESTS / "chat_server.py"), stdout=PIPE, env={**os.environ, **settings}
    )
    try:
        assert process.stdout is not None
        port = re.search(rb"port (\d+)\.", await process.stdout.readline())
        assert port is not None
        yield f"http://127.0.0.1:{int(port[1])}/v1"
    finally:
        process.kill()
        await process.wait()


async def asked(url: str) -> list[str]:
    """The steps that the server was asked for, in their order."""
    async with httpx.AsyncClient(trust_env=False) as client:
        return (await client.get(f"{url}/log")).json()


class Trial:
    """One trip through as many lives as it takes.

    Attributes:
        kills: how many lives were ended by SIGKILL.
        log: the steps that the server was asked for.
    """

    def __init__(self, folder: Path, url: str) -> None:
        self.kills = 0
        self.log: list[str] = []
        self._folder = folder
        self._url = url
        self._recorded: set[int] = set()

    async def life(self, last: int) -> str:
        """One life, killed at a call that changes files, or 0 for none; what it printed, "" if it was killed.

        Raises:
            AssertionError: a recorded model call was made again, or the charges are not those recorded.
        """
        answer = "deny" if self.booked else "approve"  # what is in doubt is done once all the same
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(KILLING), str(last), str(EXAMPLE), answer),
            stdout=PIPE,
            stderr=STDOUT,
            cwd=self._folder,
            env={**os.environ, "OPENAI_BASE_URL": self._url},
        )
        printed = (await process.communicate())[0].decode()
        assert process.returncode in {0, -signal.SIGKILL}, printed
        self.kills += process.returncode != 0
        await self._judge()
        return "" if process.returncode else printed

    @property
    def booked(self) -> list[str]:
        """What was booked."""
        path = self._folder / "booked.txt"
        return path.read_text().splitlines() if path.exists() else []

    async def _judge(self) -> None:
        before, self.log = len(self.log), await asked(self._url)
        known = {self.log[serial - 1] for serial in self._recorded}
        again = [step for step in self.log[before:] if step in known]
        assert not again, f"{again} were recorded, and asked for again"
        assert len(self.booked) <= 1
        found, tokens, cost = await self._kept()
        assert found >= self._recorded, f"{self._recorded - found} were recorded, and are gone"
        self._recorded = found
        steps = [self.log[serial - 1] for serial in found]
        assert len(set(steps)) == len(steps), f"two answers of one step were kept: {steps}"
        assert (tokens, cost) == (tokens_of(steps), cost_of(steps)), f"{tokens}, {cost} charged for {steps}"

    async def _kept(self) -> tuple[set[int], int, int]:
        """The numbers of the answers that are anywhere in the storage, and what was charged."""
        try:
            async with open_storage(f"file:{self._folder}/state") as storage:
                run = await read_run(storage, RUN_ID)
        except NotFoundError:
            return set(), 0, 0
        if not run.records:
            return set(), 0, 0
        totals: Any = decode_record(("kernel", "", 0), run.records[("kernel", "", 0)])
        data = b"".join([*run.records.values(), *(item for items in run.streams.values() for item in items)])
        return (
            {int(number) for number in re.findall(rb"<(\d+)>", data)},
            totals.total_tokens,
            totals.cost_micros,
        )


async def run_trial(folder: Path, seed: int) -> Trial:
    """Kill life after life at random points until one gets through; judge each."""
    places = random.Random(seed)
    async with model_server() as url:
        trial = Trial(folder, url)
        while not (printed := await trial.life(places.randint(1, MOST_CALLS))):
            pass
        assert printed.splitlines()[-2] == TOTALS, printed
        assert len(trial.booked) == 1
        async with open_storage(f"file:{folder}/state") as storage:
            report = await verify(storage, RUN_ID)
        assert report.ok, report.findings
        return trial


async def main(kills: int, seed: int) -> None:
    """Run trials until so many lives were killed."""
    killed = repeated = trials = 0
    while killed < kills:
        with tempfile.TemporaryDirectory(prefix="chat-") as folder:
            trial = await run_trial(Path(folder), seed + trials)
        trials, killed, repeated = trials + 1, killed + trial.kills, repeated + len(trial.log) - len(USAGE)
    print(
        f"{killed} kills in {trials} trips: {repeated} calls that were cut off were made again, none recorded"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    asyncio.run(main(options.kills, options.seed))
