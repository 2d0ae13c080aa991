"""Kills a kernel of many agents with SIGKILL, at random times, and looks for anything lost or done twice.

python tests/faults/kill9.py --kills 200 --agents 200 --seed 1
python tests/faults/kill9.py --url postgresql://me@localhost/db --kills 20 --agents 20
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from kill9_agents import RUN_ID
from kill9_record import Check, Record

from kernelckpt import load, open_storage
from kernelckpt.errors import NotFoundError
from kernelckpt.log import list_checkpoints

CHILD = Path(__file__).with_name("kill9_agents.py")
START_SECONDS = 60


class Life:
    """One life of the kernel: its process, and the driver that answers its agents."""

    def __init__(self, trial: Trial, process: asyncio.subprocess.Process) -> None:
        self._trial = trial
        self._record = trial.record
        self.process = process
        self.started = asyncio.Event()
        self.in_doubt: set[str] | None = None
        self._bases = 0
        self._decided: set[tuple[str, str]] = set()

    async def listen(self) -> None:
        """Take note of each line until the process is gone; a line cut short by the kill says nothing."""
        while (line := await self.process.stdout.readline()).endswith(b"\n"):
            self._hear(json.loads(line))

    def _hear(self, fact: dict[str, Any]) -> None:
        kind = next(iter(fact))
        self._record.totals[kind] += len(fact["durable"]) if kind == "durable" else 1
        getattr(self, "_" + kind)(**fact)

    def order(self, do: str, **facts: Any) -> None:
        """Ask something of the kernel."""
        with suppress(ConnectionError):
            self.process.stdin.write(json.dumps({"do": do, **facts}).encode() + b"\n")

    async def checkpoints(self) -> None:
        """Ask for a checkpoint now and then."""
        while True:
            self.order("checkpoint")
            await asyncio.sleep(0.1)

    def _started(self, started: list[str], notes: list[str]) -> None:
        self.in_doubt = set(started)
        self._record.totals["notes"] += len(notes)
        self.started.set()
        for task_id in self._trial.current:
            self.order("submit", task_id=task_id)
        for text, acknowledged in self._record.sent.items():
            if not acknowledged:
                self.order("send", task_id=text.split()[0], text=text)

    def _durable(self, durable: dict[str, int]) -> None:
        for task_id, turns in durable.items():
            self._record.turns[task_id] = max(turns, self._record.turns.get(task_id, 0))

    def _submitted(self, submitted: str) -> None:
        self._record.submitted.add(submitted)

    def _joined(self, joined: str, text: str) -> None:
        self._record.joined[joined] = text
        if text != f"{joined} is done":
            self._trial.faults.append(f"{joined} ended with {text!r}")
        successor = self._trial.succeed(joined)
        if successor:
            self.order("submit", task_id=successor)

    def _sent(self, sent: str) -> None:
        self._record.sent[sent] = True

    def _refused(self, refused: str, why: str) -> None:
        self._trial.faults.append(f"message {refused!r} was refused: {why}")

    def _answered(self, answered: list[str]) -> None:
        task_id, key, status = answered
        self._record.answered[task_id, key] = status

    def _saved(self, saved: int, bases: int) -> None:
        self._record.totals["bases"] += bases - self._bases
        self._bases = bases
        self._record.saved = max(saved, self._record.saved)

    def _listens(self, listens: str, turns: int) -> None:
        text = f"{listens} message {turns}"
        if text not in self._record.sent:
            self._record.sent[text] = False
            self.order("send", task_id=listens, text=text)

    def _asks(self, asks: str, key: str, effect: str, turns: int) -> None:
        if self._record.answered.get((asks, key)) and not effect:
            self._trial.faults.append(f"{asks}: {key} was answered and is asked again")
        if not effect:
            self._record.asked.add((asks, key))
        if (asks, key) in self._decided:
            return
        self._decided.add((asks, key))
        number = turns if effect == "file_tool" else turns + 1
        filed = effect and self._record.filings[asks, number]
        self._record.totals["in doubt"] += bool(effect)
        self.order("deny" if filed else "approve", task_id=asks, key=key)


class Trial:
    """All lives of one kernel on one storage; by default one in the folder."""

    def __init__(self, folder: Path, agents: int, seed: int, url: str = "") -> None:
        self.record = Record()
        self.faults: list[str] = []
        self.current = [f"agent-{slot}.0" for slot in range(agents)]
        self._url = url or f"file:{folder / 'state'}"
        self._random = random.Random(seed)
        self._socket = str(folder / "counter")
        self._open_filings = 0
        self._in_doubt: set[str] | None = None

    def succeed(self, task_id: str) -> str:
        """The task that follows a finished one."""
        name, _, generation = task_id.rpartition(".")
        successor = f"{name}.{int(generation) + 1}"
        if task_id not in self.current:
            return ""
        self.current[self.current.index(task_id)] = successor
        return successor

    async def run(self, kills: int) -> None:
        """Kill so many times, then end once in peace."""
        server = await asyncio.start_unix_server(self._count, self._socket)
        began = time.monotonic()
        async with server:
            for number in range(1, kills + 1):
                await self._live(kill=True)
                if number % 10 == 0 or number == kills:
                    self._say(number, kills, began)
                if self.faults:
                    return
            await self._live(kill=False)

    async def _count(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Count a filing; it counts whether or not the answer reaches anybody."""
        self._open_filings += 1
        with suppress(ConnectionError):
            line = await reader.readline()
            if line.endswith(b"\n"):
                task_id, number = line.decode().split()
                self.record.filings[task_id, int(number)] += 1
            writer.write(b"ok")
            await writer.drain()
        writer.close()
        self._open_filings -= 1

    async def _live(self, *, kill: bool) -> None:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(CHILD),
            self._url,
            self._socket,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            limit=1 << 24,
        )
        life = Life(self, process)
        hearing = asyncio.create_task(life.listen())
        complaints = asyncio.create_task(process.stderr.read())
        saving = asyncio.create_task(life.checkpoints())
        await (self._kill(life) if kill else self._end(life))
        saving.cancel()
        await hearing
        wanted = -signal.SIGKILL if kill else -signal.SIGTERM
        if await process.wait() != wanted:
            self.faults.append(
                f"it ended by itself ({process.returncode}): {(await complaints).decode()[-1500:]}"
            )
        await complaints
        await self._judge(life)

    async def _kill(self, life: Life) -> None:
        """Most kills come while agents work, some while the kernel comes back, a few after bases."""
        chance = self._random.random()
        if chance < 0.25:
            await asyncio.sleep(self._random.uniform(0.1, 1.0))
        else:
            await self._start(life)
            await asyncio.sleep(self._random.uniform(0.0, 3.0 if chance > 0.9 else 0.5))
        with suppress(ProcessLookupError):
            life.process.kill()

    async def _end(self, life: Life) -> None:
        await self._start(life)
        await asyncio.sleep(0.5)
        life.process.send_signal(signal.SIGTERM)

    async def _start(self, life: Life) -> None:
        gone = asyncio.create_task(life.process.wait())
        start = asyncio.create_task(life.started.wait())
        done, _ = await asyncio.wait(
            {gone, start}, timeout=START_SECONDS, return_when=asyncio.FIRST_COMPLETED
        )
        start.cancel()
        if start not in done:
            self.faults.append("a restart did not run")
        elif self._in_doubt is not None and life.in_doubt != self._in_doubt:
            self.faults.append(f"in doubt: {self._in_doubt}, reported: {life.in_doubt}")

    async def _judge(self, life: Life) -> None:
        """Compare what is in the storage with what was acknowledged."""
        while self._open_filings:
            await asyncio.sleep(0.001)
        async with open_storage(self._url) as storage:
            try:
                snapshot = await load(storage, RUN_ID)
                newest = (await list_checkpoints(storage, RUN_ID, 1))[-1].sequence
            except NotFoundError:
                if self.record.turns or self.record.submitted:
                    self.faults.append("the run is gone")
                return
        check = Check(self.record, snapshot, newest)
        self.faults += check.faults()
        self._in_doubt = check.in_doubt
        self.record.forget(check.gone)

    def _say(self, number: int, kills: int, began: float) -> None:
        told = self.record.totals
        print(
            f"{number}/{kills} kills, {time.monotonic() - began:.0f} s: {told['started']} starts, "
            f"{told['durable']} turns, {told['sent']} messages, {told['answered']} answers, "
            f"{told['joined']} joins, {told['bases']} bases, {told['in doubt']} effects in doubt, "
            f"{len(self.faults)} faults",
            flush=True,
        )


def main() -> int:
    """Run a trial; 0 when nothing was lost and nothing done twice."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--agents", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--dir", type=Path, help="an empty folder; kept. By default a temporary one")
    parser.add_argument("--url", default="", help="an empty storage. By default one in the folder")
    options = parser.parse_args()
    folder = options.dir or Path(tempfile.mkdtemp(prefix="kill9-"))
    folder.mkdir(parents=True, exist_ok=True)
    trial = Trial(folder, options.agents, options.seed, options.url)
    asyncio.run(trial.run(options.kills))
    for fault in trial.faults[:10]:
        print(f"FAULT: {fault}")
    print(f"{len(trial.faults)} faults after {options.kills} kills, seed {options.seed}")
    if trial.faults or options.dir:
        print(f"the state is in {folder}")
    else:
        shutil.rmtree(folder)
    return 1 if trial.faults else 0


if __name__ == "__main__":
    sys.exit(main())
