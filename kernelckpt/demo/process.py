"""The processes that the demonstration starts: they end when it ends, however it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import kernelckpt
from kernelckpt.demo.message import MOST_BYTES

_HOME = Path(kernelckpt.__file__).parent.parent
"""From here `-m` finds this package, and nothing of the user's folder."""


@asynccontextmanager
async def started(module: str, errors: Path) -> AsyncIterator[Process]:
    """Run a module of this package in a process of its own session; on leaving it is killed.

    Args:
        module: the module's name.
        errors: a file that what it says on standard error is added to.
    """
    with errors.open("ab") as stderr:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            stdin=PIPE,
            stdout=PIPE,
            stderr=stderr,
            cwd=_HOME,
            limit=MOST_BYTES,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        kill_process(process)
        await process.communicate()


def kill_process(process: Process) -> None:
    """Kill a process that has not ended; `Process.kill` would take its end from asyncio before it is seen."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
