"""A process that is denied something while it works: python limited_process.py file-size|files|rights FOLDER.

`file-size`: no file may grow beyond a limit (RLIMIT_FSIZE), which meets every offset of one base in turn.
`files`: no further file can be opened (RLIMIT_NOFILE). `rights`: the run's folder may not be written to; a
process of root gives root up first.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import crash_kit_fs
from crash_kit_fs import History, Life, read_only
from killing_ops import KillingFileOps
from traced_process import _upkeep, kernel_on

from kernelckpt import FileStorage, load
from kernelckpt.errors import CheckpointFailedError, StorageFullError
from kernelckpt.log import LogOptions
from kernelckpt.testing import ManualClock

NOBODY = 65534


def tell(**facts):
    os.write(1, json.dumps(facts).encode() + b"\n")


@contextmanager
def limit(kind, value):
    """Lower a limit for a while."""
    soft, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (value, hard))
    try:
        yield
    finally:
        resource.setrlimit(kind, (soft, hard))


def must_name(remedy, error):
    """Raise an error again that does not say what to do."""
    if remedy not in error.hint:
        raise error


async def every_offset(root):
    """Let one base after another fail at each of its offsets, until only its entry does not fit."""
    life = await Life.open(KillingFileOps(root), History())
    await life.delta()
    size = 0
    try:
        while True:
            scan = [*life.state.records.items(), *((key, None) for key in life.state.streams)]
            try:
                with limit(resource.RLIMIT_FSIZE, size):
                    await life.log.write_base(iter(scan))
            except StorageFullError as error:
                must_name("ulimit -f", error)
            size += 1
            if size % 64 == 0:
                await life.delta()
    except CheckpointFailedError as error:
        must_name("ulimit -f", error)
    await life.storage.aclose()
    assert await read_only(KillingFileOps(root)) == life.state
    life = await Life.open(KillingFileOps(root), History(life.state))
    await life.base()
    await life.close()
    assert await read_only(KillingFileOps(root)) == life.state
    tell(offsets=size, version=life.state.version)


@contextmanager
def no_files():
    """No descriptor is left; those that are open stay."""
    lowest = os.dup(0)
    os.close(lowest)
    with limit(resource.RLIMIT_NOFILE, lowest):
        yield


@contextmanager
def no_rights(folder):
    (run,) = folder.glob("run-*")
    run.chmod(0o500)
    try:
        yield
    finally:
        run.chmod(0o700)


async def denied(folder, denial):
    """Work, be denied something, work on; a base has to wait."""
    clock, told = ManualClock(), []
    storage = FileStorage(folder)
    kernel, hook = kernel_on(storage, clock)

    async def listen():
        async for event in kernel.events():
            if event.kind == "base_failed":
                told.append(event.data["error"])

    async with kernel:
        listening = asyncio.create_task(listen())
        await kernel.submit("clerk", task_id="clerk")
        await kernel.idle()
        await hook.checkpoint()
        with denial():
            await kernel.send("clerk", "meanwhile")
            await _upkeep(clock)
            bases = hook.stats.bases
        sent = 0
        while not hook.stats.bases and sent < 100:  # the next try is made after some entries
            await kernel.send("clerk", str(sent))
            await _upkeep(clock)
            sent += 1
        listening.cancel()
    history = [message.text for message in (await load(storage, "run")).context.history_messages]
    await storage.aclose()
    assert history == ["meanwhile", *map(str, range(sent))]
    tell(errors=told, meanwhile=bases, after=hook.stats.bases)


def give_root_up(folder):
    if os.geteuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)


def main(mode, folder):
    state = Path(folder) / "state"
    if mode == "file-size":
        with mock.patch.object(crash_kit_fs, "OPTIONS", LogOptions(max_consecutive_failures=0)):
            asyncio.run(every_offset(folder))
    elif mode == "files":
        asyncio.run(denied(state, no_files))
    else:
        give_root_up(folder)
        asyncio.run(denied(state, lambda: no_rights(state)))


if __name__ == "__main__":
    main(*sys.argv[1:])
