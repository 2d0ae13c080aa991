"""Runs of the log on a file system whose calls fail, and what a program makes of it."""

from __future__ import annotations

import itertools

from crash_kit_fs import NAMES, OPERATIONS, Exploration, History, Life, repeatable

from kernelckpt.errors import KernelCkptError
from kernelckpt.testing import FaultExplorer, FaultyFileOps, second_sync
from kernelckpt.testing.fault_explorer import ERRORS

OPENING = ("open", "takeover", "restart")
"""What begins with a new owner."""


class Faults(Exploration):
    """Fails every call of sequences of operations, and crashes what follows.

    Attributes:
        faults: what was explored.
        died: how many processes gave up.
    """

    def __init__(self, *, points=4, errors=ERRORS, lasting=False, **settings):
        """Settings are those of `FaultExplorer` and `Exploration`."""
        super().__init__(**settings)
        self.faults = FaultExplorer(self.explorer, points=points, errors=errors)
        self.died = 0
        self._lasting = lasting

    def __str__(self):
        return f"{self.faults.faults} faults, {self.died} processes gave up; {self.explorer.counts}"

    async def each_workload(self, length):
        """Let each call of every sequence of so many operations fail, yielding after each sequence."""
        for operations in itertools.product(OPERATIONS, repeat=length):
            await self.all_faults(operations)
            self.workloads += 1
            yield operations

    async def all_faults(self, operations):
        """Let each call of these operations fail, in each way."""
        run, label = self._endure(operations), " ".join(operations)
        with repeatable(self._segment_bytes, sealed="rekey" in operations):
            await self.faults.explore(run, label=label, lasting=self._lasting)

    async def replay_fault(self, operations, fault, trail):
        """Do one fault and one trail of crashes again."""
        label = " ".join(operations)
        with repeatable(self._segment_bytes, sealed="rekey" in operations):
            await self.faults.replay(self._endure(operations), fault, trail, label=label)

    def _endure(self, operations):
        async def run(fs, ops):
            """Do the operations; a process that can do nothing more dies, and another goes on."""
            NAMES.start(fs.starts)
            process = Process(fs, ops, History())
            for operation in ("open", *operations, "delta"):
                if not await process.does(operation):
                    self.died += 1
                    process = await process.successor()
            return process.fs, process.history.check

        return run


class Process:
    """A process that works on the run through calls that may fail."""

    def __init__(self, fs, ops, history):
        self.fs, self.ops, self.history = fs, ops, history
        self.life = None
        self._since = 0

    async def does(self, operation):
        """Whether it does the operation, if need be at a second try, once nothing fails any more."""
        try:
            await self._do(operation)
        except KernelCkptError:
            self.ops.heal()
        else:
            return True
        if operation == "restart" or (self.life is not None and self.life.log.failure is not None):
            return False
        await self._do(operation)
        return True

    async def _do(self, operation):
        if operation in OPENING:
            self._since = self.fs.point
        try:
            if operation == "open":
                self.life = await Life.open(self.fs, self.history, ops=self.ops)
            else:
                self.life = await getattr(self.life, operation)()
        finally:
            # A new owner may sync what it found, having written it anew.
            again = second_sync(self.fs.log[self._since :])
            assert again is None, f"{again} is a sync of a file whose sync had failed"

    async def successor(self):
        """Another process, after this one has died."""
        fs = self.fs.killed(self.fs.point)
        NAMES.start(fs.starts)
        process = Process(fs, FaultyFileOps(fs), self.history)
        await process.does("open")
        return process
