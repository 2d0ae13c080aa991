"""Explores faults: every call of a run fails in turn, in every way, and what it leaves is crashed."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeAlias, TypeVar

from msgspec import Struct

from kernelckpt.testing.crash_explorer import Check, CrashExplorer, CrashFoundError
from kernelckpt.testing.faults import FaultyFileOps
from kernelckpt.testing.sim_disk import SimOp
from kernelckpt.testing.sim_fs import SimFileSystem

S = TypeVar("S")

FaultyRun: TypeAlias = Callable[[SimFileSystem, FaultyFileOps], Awaitable[tuple[SimFileSystem, Check[S]]]]
"""Writes through the second, which fails calls on the first, and copes as a program would.

It returns what is to be crashed (the first one, or that after a kill) and what may be found there.
"""

ERRORS = ("EIO", "ENOSPC", "EDQUOT", "EROFS", "EINTR")
_SHORT, _SHORT_BYTES = "short", 7
_ALWAYS = 1 << 30
_FAULT = ", fault "
_NEVER_FAIL = ("unlock", "wall_ns")


class Fault(Struct, frozen=True):
    """One way in which a run meets a fault; as text `call:number:error`, with a `+` when it lasts.

    Attributes:
        call: which call fails.
        number: the first of that name that fails, from 1 on.
        error: the name of its error number, or "short" for a write that takes only a few bytes.
        lasts: whether all later calls of that name fail too, until `FaultyFileOps.heal`.
    """

    call: str
    number: int
    error: str
    lasts: bool = False

    def __str__(self) -> str:
        return f"{self.call}:{self.number}:{self.error}{'+' * self.lasts}"

    @classmethod
    def parse(cls, text: str) -> Fault:
        """The fault of which this is the text."""
        call, number, error = text.removesuffix("+").split(":")
        return cls(call, int(number), error, text.endswith("+"))

    def put(self, ops: FaultyFileOps) -> None:
        """Let the calls meet it."""
        times = _ALWAYS if self.lasts else 1
        if self.error == _SHORT:
            ops.shorten(_SHORT_BYTES, nth=self.number, times=times)
        else:
            ops.fail(self.call, getattr(errno, self.error), nth=self.number, times=times)


def second_sync(log: Sequence[SimOp]) -> SimOp | None:
    """The first sync of a file of which a sync had failed: it succeeds, and means nothing."""
    failed: set[int] = set()
    for op in log:
        if op.call == "failed_sync":
            failed.add(op.inode)
        elif op.call in ("fsync", "fdatasync") and op.inode in failed:
            return op
    return None


class FaultExplorer(Generic[S]):
    """Fails every call of a run in turn, and crashes what the run then makes of it.

    Attributes:
        explorer: crashes what comes out; its counts tell of that.
        faults: how many runs met a fault.
    """

    def __init__(
        self, explorer: CrashExplorer[S], *, errors: Sequence[str] = ERRORS, points: int = 6
    ) -> None:
        """Explore nothing yet.

        Args:
            explorer: what crashes the runs.
            errors: the names of the error numbers with which calls fail; writes are shortened as well.
            points: at how many points after its fault each run is crashed; at others for other faults.
        """
        self.explorer = explorer
        self.faults = 0
        self._errors = errors
        self._points = points

    async def explore(self, run: FaultyRun[S], *, label: str = "", lasting: bool = False) -> None:
        """Run with each fault that the run can meet.

        Args:
            run: starts on an empty file system, and does the same each time.
            label: its name in failures.
            lasting: whether a fault stays until `FaultyFileOps.heal`.

        Raises:
            CrashFoundError: the run raised, or something is wrong after a crash of it; its label ends with
                `, fault ` and the fault's text.
        """
        fs = SimFileSystem()
        ops = FaultyFileOps(fs)
        await run(fs, ops)
        for number, (call, _) in enumerate(ops.log, 1):
            for error in self._errors_of(call):
                fault = Fault(call, [name for name, _ in ops.log[:number]].count(call), error, lasting)
                self.faults += 1
                ended, check, name = await self._run(run, fault, label)
                points = _some(_first_difference(ended.log, fs.log), ended.point, self._points, self.faults)
                await self.explorer.explore(ended, check, points=points, label=name)

    async def replay(self, run: FaultyRun[S], fault: Fault, trail: str, *, label: str = "") -> None:
        """Run with one fault, and do the crashes of a failure's trail.

        Raises:
            CrashFoundError: it fails again.
        """
        ended, check, name = await self._run(run, fault, label)
        await self.explorer.replay(ended, check, trail, label=name)

    def _errors_of(self, call: str) -> Sequence[str]:
        if call in _NEVER_FAIL:
            return ()
        return (*self._errors, _SHORT) if call == "pwritev" else self._errors

    async def _run(self, run: FaultyRun[S], fault: Fault, label: str) -> tuple[SimFileSystem, Check[S], str]:
        name = f"{label}{_FAULT}{fault}"
        fs = SimFileSystem()
        ops = FaultyFileOps(fs)
        fault.put(ops)
        try:
            return (*await run(fs, ops), name)
        except Exception as error:
            raise CrashFoundError(name, "", self.explorer.seed, error) from error


def _first_difference(log: Sequence[SimOp], other: Sequence[SimOp]) -> int:
    pairs = enumerate(zip(log, other, strict=False))
    return next((at for at, (op, usual) in pairs if op != usual), min(len(log), len(other)))


def _some(first: int, last: int, count: int, turn: int) -> list[int]:
    """So many points from the first to the last, which are always among them; others each turn."""
    step = max((last - first) // count, 1)
    return sorted({first, last, *range(first + turn % step, last, step)})
