"""A kernel that goes on from a hostile state, as a target: it refuses, or goes on; it raises nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress

from seeds import Golden, small_states, snapshot_from
from target_states import cells_of, one_changed
from targets import Target

from kernelckpt import KernelSnapshot, MilestoneCheckResult, RestoreFrom, Scheduler, tool
from kernelckpt.errors import KernelCkptError, SchedulerStopped
from kernelckpt.kernel.snapshot import SnapshotRecords
from kernelckpt.kernel.turn.turn import Turn
from kernelckpt.testing import ManualClock

PROGRAMS = ("lead", "helper", "build", "listen", "ask")
"""Those of the golden run of a kernel; here each only reads all that it can."""

READS = (
    "state",
    "input",
    "messages",
    "inbox",
    "signals",
    "notes",
    "approvals",
    "results",
    "run_spec",
    "milestone",
)


def kernels(golden: list[Golden]) -> Iterator[Target]:
    """Kernels that are restored from states in which one record was changed."""
    parts = [part for run in golden if run.run_id == "life" for part in small_states(run)]
    cells = [cell for part in parts for cell in cells_of(part)]
    yield Target("restored kernel", cells, one_changed, _go_on, 0.05)


def _go_on(state: SnapshotRecords) -> None:
    asyncio.run(going_on(snapshot_from(state)))


async def going_on(snapshot: KernelSnapshot) -> KernelSnapshot:
    """Start a kernel, let it do what it can by itself, and answer what it asks."""
    programs = dict.fromkeys(PROGRAMS, read_all)
    kernel = Scheduler(
        programs, run_id="life", hooks=[RestoreFrom(snapshot)], tools=TOOLS, clock=ManualClock()
    )
    async with kernel:
        with suppress(SchedulerStopped):
            await kernel.idle()
            for item in kernel.approvals():
                await kernel.approve(item.task_id, item.key)
            for phase in kernel.evaluations():
                await kernel.judge(phase.task_id, MilestoneCheckResult.pass_(phase.phase_id))
            for row in list(kernel.tasks):
                if not row.state.is_terminal():
                    await kernel.send(row.id, "a line")
            await kernel.idle()
        return kernel.snapshot()


async def read_all(turn: Turn):
    """Read all that a program can read."""
    for name in READS:
        with suppress(KernelCkptError):
            repr(getattr(turn, name))
    return turn.wait_external("it was read")


async def fetch(**arguments: object) -> int:
    """Take any arguments."""
    return len(arguments)


async def pay(**arguments: object) -> int:
    """Take any arguments."""
    return len(arguments)


TOOLS = [tool(fetch), tool(pay)]
"""Made once: making one evaluates what its function says of its value."""
