"""Kills a process at every call that changes a file, on real file systems, and looks for anything lost.

A victim works on a run through a sequence of operations, and tells by a pipe what it staged and what was
acknowledged to it. It dies by SIGKILL before a call, or when half of a write was done. Its run is restored
and compared with that, goes on, and is restored again; one in so many recoveries is killed as well.

python tests/faults/kill_points.py --memory 20000 --disk 10000 --spawned 1000
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path
from unittest import mock

import crash_kit_fs
from crash_kit_fs import (
    OPERATIONS,
    SEGMENT_BYTES,
    History,
    Life,
    Reader,
    State,
    next_version,
    read_only,
    work,
)
from killing_ops import KillingFileOps

from kernelckpt.log import LogOptions
from kernelckpt.storage.file import claim as file_claim
from kernelckpt.storage.file import owner as file_owner
from kernelckpt.storage.file import storage as file_storage
from kernelckpt.storage.file.claim import RunClaim

GO_ON = ("delta", "base")
SECOND_KILLS = 4
"""One in so many recoveries is killed as well."""


class KillError(Exception):
    """Something was lost, or a victim did not die as it should."""


class Told(list):
    """A list that says by a pipe what is added to it."""

    def __init__(self, fd, kind, known):
        super().__init__(known)
        self._fd, self._kind = fd, kind

    def append(self, item):
        super().append(item)
        os.write(self._fd, b"%s %d\n" % (self._kind, item[1]))


def at_once(work):
    """Stands for `aiofiles.os.wrap`: no thread, so that a process with storages can be forked."""

    async def run(executor):
        return work()

    return run


async def live(root, operations, fd, last=0, *, half=False, first=None):
    """What a victim does: own the run, work, and tell."""
    fs, history = KillingFileOps(root, last=last, half=half), History(first)
    history.staged = Told(fd, b"staged", history.staged)
    history.acknowledged = Told(fd, b"acknowledged", history.acknowledged)
    life, _ = await work(await Life.open(fs, history), operations)
    await life.close()
    return fs.calls


def model(version):
    """The state that every run has at a version."""
    state = State()
    while state.version < version:
        for changes in next_version(state):
            state = state.changed(*changes)
    return state


def fork_victim(root, operations, last, half, first=None):
    """Run a victim in a forked process.

    Returns:
        How it ended, and what it told.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        code = 1
        try:
            os.close(reading)
            asyncio.run(live(root, operations, writing, last, half=half, first=first))
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    with open(reading, "rb") as pipe:
        told = pipe.read()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), told


def spawn_victim(root, operations, last, half):
    """Run a victim in an interpreter of its own, with the storage's thread and names as they are."""
    arguments = ["--victim", root, ",".join(operations), str(last), str(int(half))]
    done = subprocess.run([sys.executable, __file__, *arguments], stdout=subprocess.PIPE, check=False)
    return done.returncode, done.stdout


def told_range(told):
    """The newest version that was acknowledged, and the newest staged; a line cut short says nothing."""
    newest = {b"staged": 0, b"acknowledged": 0}
    for line in told[: told.rfind(b"\n") + 1].splitlines():
        kind, version = line.split()
        newest[kind] = max(newest[kind], int(version))
    return newest[b"acknowledged"], max(newest.values())


async def restored(root, oldest, newest):
    """What is found, which must be one of the states from `oldest` to `newest`, field by field."""
    state = await read_only(KillingFileOps(root))
    if not oldest <= state.version <= newest:
        raise KillError(f"version {state.version} was restored, not {oldest} to {newest}")
    if state != model(state.version):
        raise KillError(f"{state} was restored, not {model(state.version)}")
    return state


async def go_on(root, state):
    """Own the run, add to it, write a base, and look whether all is there."""
    fs = KillingFileOps(root)
    life, _ = await work(await Life.open(fs, History(state)), GO_ON)
    await life.close()
    await restored(root, life.state.version, life.state.version)


def mark_first(claim, segment, pieces, write=RunClaim._write_acknowledged):
    """A planted bug: an entry is said to be acknowledged before it is written."""
    claim.check()
    file_owner.write_mark(claim.run.ops, claim._mark_fd, claim.epoch, claim.head + 1)
    write(claim, segment, pieces)


def write_in_place(ops, folder, name, data):
    """A planted bug: a file has its name before it has its bytes."""
    fd = ops.create(f"{folder}/{name}")
    file_owner.write_all(ops, fd, [data], 0)
    ops.close(fd)
    return True


PLANTED = {
    "none": {},
    "mark-first": {"kernelckpt.storage.file.claim.RunClaim._write_acknowledged": mark_first},
    "in-place": {"kernelckpt.storage.file.root.write_new": write_in_place},
}


class Trial:
    """Kills on one file system.

    Attributes:
        kills: how many victims died, those killed in recoveries included.
        second: how many of them died while recovering.
    """

    def __init__(self, folder, seed):
        self.kills = self.second = 0
        self._folder = folder
        self._random = random.Random(seed)
        self._recovery_calls = 0

    def one(self, operations, last, half, victim=fork_victim):
        """Kill at one point, restore, go on."""
        with tempfile.TemporaryDirectory(dir=self._folder, prefix="kill-") as root:
            try:
                told = self._kill(victim, root, operations, last, half)
                state = asyncio.run(restored(root, *told_range(told)))
                if self._random.randrange(SECOND_KILLS) == 0:
                    state = self._kill_again(root, state)
                asyncio.run(go_on(root, state))
            except Exception as error:
                kind = "in the middle of" if half else "before"
                where = f"{' '.join(operations)}: killed {kind} call {last}"
                raise KillError(f"{where}: {type(error).__name__}: {error}") from error

    def _kill(self, victim, root, operations, last, half, *first):
        code, told = victim(root, operations, last, half, *first)
        if code != -signal.SIGKILL:
            raise KillError(f"the victim ended with {code} instead of dying")
        self.kills += 1
        return told

    def _kill_again(self, root, state):
        """Kill the recovery too, at a random point; what was restored before counts as acknowledged."""
        self.second += 1
        last, half = self._random.randint(1, 25), self._random.random() < 0.5
        told = self._kill(fork_victim, root, GO_ON, last, half, state)
        oldest, newest = told_range(told)
        return asyncio.run(restored(root, max(oldest, state.version), max(newest, state.version)))


def points(length, folder):
    """Every point of every sequence of so many operations: (operations, call, in its middle)."""
    for operations in itertools.product(OPERATIONS, repeat=length):
        with tempfile.TemporaryDirectory(dir=folder) as root, open(os.devnull, "wb") as unheard:
            calls = asyncio.run(live(root, operations, unheard.fileno()))
        for last, call in enumerate(calls, 1):
            yield operations, last, False
            if call == "pwritev":
                yield operations, last, True


def spread(found, count, seed):
    """So many of the points, in an order that never changes."""
    found = list(found)
    random.Random(seed).shuffle(found)
    return list(itertools.islice(itertools.cycle(found), count))


def share(found, folder, seed, victim):
    """Kill at these points, in a process of its own."""
    trial = Trial(folder, seed)
    for point in found:
        trial.one(*point, victim)
    return trial.kills, trial.second


def run(name, folder, count, given, victim=fork_victim):
    """Kill at so many points on a file system, and say how it went."""
    began = time.perf_counter()
    found = spread(points(2 if count <= 5000 else 3, folder), count, given.seed)
    with ProcessPoolExecutor(given.jobs, get_context("fork")) as pool:
        shares = [
            pool.submit(share, found[number :: given.jobs], folder, number, victim)
            for number in range(given.jobs)
        ]
        kills, second = map(sum, zip(*(each.result() for each in shares), strict=True))
    print(
        f"{name} ({folder}): {kills} killed, {second} of them while recovering, "
        f"in {time.perf_counter() - began:.0f} s; nothing was lost",
        flush=True,
    )


def main():
    """Kill at as many points as were asked for; fails at the first one where something was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    shm, temporary = Path("/dev/shm"), tempfile.gettempdir()
    parser.add_argument("--memory", type=int, default=1700, help="points on a file system in memory")
    parser.add_argument("--disk", type=int, default=60, help="points on a disk")
    parser.add_argument("--spawned", type=int, default=5, help="points in interpreters of their own")
    parser.add_argument("--memory-folder", default=str(shm) if shm.is_dir() else temporary)
    parser.add_argument("--disk-folder", default=temporary)
    parser.add_argument("--seed", type=int, default=1, help="another one takes the points in another order")
    parser.add_argument("--jobs", type=int, default=2, help="processes that kill")
    parser.add_argument("--planted", choices=PLANTED, default="none", help="a bug that must be found")
    parser.add_argument("--victim", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    Reader.seal()
    if given.victim:
        root, operations, last, half = given.victim
        asyncio.run(live(root, tuple(operations.split(",")), 1, int(last), half=half == "1"))
        return 0
    gc.freeze()  # a forked victim need not look at what was there before
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(file_storage, "wrap", at_once))
        stack.enter_context(mock.patch.object(file_claim, "SEGMENT_BYTES", SEGMENT_BYTES))
        stack.enter_context(
            mock.patch.object(crash_kit_fs, "OPTIONS", LogOptions(max_consecutive_failures=0))
        )
        for name, function in PLANTED[given.planted].items():
            stack.enter_context(mock.patch(name, function))
        run("memory", given.memory_folder, given.memory, given)
        run("disk", given.disk_folder, given.disk, given)
        run("spawned", given.memory_folder, given.spawned, given, spawn_victim)
    return 0


if __name__ == "__main__":
    sys.exit(main())
