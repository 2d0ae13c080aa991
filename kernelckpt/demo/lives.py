"""One run through all its lives: start the child, kill it where it was aimed, start it again, to its end."""

from __future__ import annotations

import asyncio
import time
from asyncio.subprocess import Process
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from kernelckpt.demo.counter import request
from kernelckpt.demo.message import (
    Aim,
    Aimed,
    Answer,
    Asked,
    Begun,
    Config,
    Doubt,
    Failed,
    Finished,
    Inquiry,
    Moment,
    Progress,
    Report,
    Restored,
    Usage,
    line_of,
)
from kernelckpt.demo.process import kill_process, started
from kernelckpt.demo.report import REPORT_NAME
from kernelckpt.errors import KernelCkptError

_PATIENCE_SECONDS = 60.0
"""A child that says nothing, or commits no turn, for so long is taken to hang."""

_decoder: msgspec.json.Decoder[Report] = msgspec.json.Decoder(Report)


class Life(Struct):
    """From one start to the next kill.

    Attributes:
        moment: what the kill hit; None for the last life, which was not killed.
        turn: turns committed when it came, as far as the child had said.
        begun: turns begun.
        repeated: those among them that an earlier life had begun.
        restored: how it came back; None when there was nothing.
        in_doubt: filings of which nobody knew whether they had arrived.
        arrived: those among them that had.
        usage: what the hook had done, as far as the child had said.
    """

    moment: Moment | None = None
    turn: int = 0
    begun: int = 0
    repeated: int = 0
    restored: Restored | None = None
    in_doubt: int = 0
    arrived: int = 0
    usage: Usage = Usage()


class Run(Struct):
    """All lives of a run, and how it ended.

    Attributes:
        lives: in order.
        missed: kills whose moment did not come.
        finished: what the last life said at its end.
        filings: how often each finding was filed.
        report: the report's bytes.
        seconds: from the first start to the end.
    """

    lives: list[Life] = field(default_factory=list)
    missed: list[Moment] = field(default_factory=list)
    finished: Finished = Finished(0, 0)
    filings: dict[str, int] = field(default_factory=dict)
    report: bytes = b""
    seconds: float = 0.0

    def total(self, of: Callable[[Life], int]) -> int:
        """A count added up over the lives."""
        return sum(of(life) for life in self.lives)


class Watcher(Protocol):
    """Who is told what happens."""

    def progress(self, turn: int, ended: int) -> None:
        """So many turns are committed, so many agents have ended."""

    def killed(self, life: Life) -> None:
        """A life has ended by a kill."""


class Lives:
    """Drives one run."""

    def __init__(self, config: Config, kills: Sequence[Aim], watcher: Watcher) -> None:
        """Describe a run; `config.aims` is set for each life."""
        self._config = config
        self._kills = list(kills)
        self._watcher = watcher
        self._run = Run()
        self._known: set[tuple[str, int]] = set()
        self._moved = 0.0
        self._farthest = 0
        self._errors = Path(config.folder, "stderr.txt")

    async def run(self) -> Run:
        """All lives.

        Raises:
            KernelCkptError: a child ended, failed or hung by itself.
        """
        begun = time.perf_counter()
        while await self._live():
            pass
        self._run.seconds = time.perf_counter() - begun
        self._run.missed.extend(kill.moment for kill in self._kills)
        self._run.filings = await request(self._config.port, Inquiry(self._config.book))
        place = Path(self._config.folder, REPORT_NAME)
        self._run.report = place.read_bytes() if place.exists() else b""  # noqa: ASYNC240
        return self._run

    async def _live(self) -> bool:
        """One life; whether another one must follow."""
        life = Life()
        self._moved = time.monotonic()
        self._run.lives.append(life)
        async with started("kernelckpt.demo.child", self._errors) as process:
            _write(process, replace(self._config, aims=self._aims()))
            while await self._take(await self._read(process), life, process):
                pass
            if life.moment is not None:
                kill_process(process)
                await self._hear_out(process, life)
        self._farthest = max(self._farthest, life.turn)
        if life.moment is not None:
            self._watcher.killed(life)
        return life.moment is not None

    def _aims(self) -> tuple[Aim, ...]:
        """The kills that a life may come to; a coming back is killed once the survey has come that far."""
        aims = []
        for kill in self._kills:
            if kill.moment is not Moment.RESTORE:
                aims.append(kill)
            elif self._run.lives[1:] and self._farthest >= kill.turns:
                aims.append(Aim(kill.moment, 0))
        return tuple(aims)

    def _take_kill(self, moment: Moment) -> Moment | None:
        """The kill of this moment that is due, taken off the list; None when none is left."""
        due = next((kill for kill in self._kills if kill.moment is moment), None)
        if due is not None:
            self._kills.remove(due)
            return due.moment
        return None

    async def _read(self, process: Process) -> Report:
        assert process.stdout is not None
        try:
            line = await asyncio.wait_for(process.stdout.readline(), _PATIENCE_SECONDS)
        except TimeoutError as error:
            raise _broken("says nothing any more") from error
        if not line.endswith(b"\n"):
            said = self._errors.read_text(errors="replace").strip().rpartition("\n")[2]
            raise _broken(f"ended by itself: {said or 'it said nothing'}")
        return _decoder.decode(line)

    async def _take(self, report: Report, life: Life, process: Process) -> bool:
        """Act on a report; whether the life goes on."""
        match report:
            case Begun():
                self._count(report, life)
            case Progress():
                self._note(report, life)
            case Restored():
                life.restored = report
            case Doubt():
                await self._decide(report, life, process)
            case Asked():
                return self._answer(report, life, process)
            case Aimed():
                life.turn = report.turn
                life.moment = self._take_kill(report.moment)
                return False
            case Finished():
                life.turn, life.usage = report.turn, report.usage
                self._run.finished = report
                return False
            case Failed():
                raise _broken(f"failed: {report.error}")
        return True

    async def _hear_out(self, process: Process, life: Life) -> None:
        """Take note of what a killed child said between its aimed moment and its end."""
        assert process.stdout is not None
        while (line := await process.stdout.readline()).endswith(b"\n"):
            report = _decoder.decode(line)
            if isinstance(report, Begun):
                self._count(report, life)
            elif isinstance(report, Progress):
                life.turn, life.usage = report.turn, report.usage

    def _count(self, begun: Begun, life: Life) -> None:
        life.begun += 1
        life.repeated += (begun.task, begun.turn) in self._known
        self._known.add((begun.task, begun.turn))

    def _note(self, report: Progress, life: Life) -> None:
        now = time.monotonic()
        if report.turn != life.turn:
            self._moved = now
        elif now - self._moved > _PATIENCE_SECONDS:
            raise _broken(f"hangs at turn {report.turn}")
        life.turn, life.usage = report.turn, report.usage
        self._watcher.progress(report.turn, report.ended)

    async def _decide(self, doubt: Doubt, life: Life, process: Process) -> None:
        """Do what a human would: look whether the filing arrived, and have it done again if it did not."""
        filings = await request(self._config.port, Inquiry(self._config.book))
        arrived = doubt.finding in filings
        life.in_doubt += 1
        life.arrived += arrived
        _write(process, Answer(doubt.task, doubt.key, not arrived))

    def _answer(self, asked: Asked, life: Life, process: Process) -> bool:
        """Kill while the question is pending if that is planned, else say yes."""
        life.turn = asked.turn
        life.moment = self._take_kill(Moment.APPROVAL)
        if life.moment is not None:
            return False
        _write(process, Answer(asked.task, asked.key, approve=True))
        return True


def _broken(what: str) -> KernelCkptError:
    hint = "run it again with --keep FOLDER and look at stderr.txt in there"
    return KernelCkptError(f"a process of the demonstration {what}", hint=hint)


def _write(process: Process, message: Config | Answer) -> None:
    assert process.stdin is not None
    process.stdin.write(line_of(message))
