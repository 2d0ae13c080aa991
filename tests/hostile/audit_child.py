"""Reads what it is told to with an audit hook in place, and prints what that saw.

`python audit_child.py FOLDER [PLANT]`: the golden run in the folder is loaded, verified, restored and shown.
`python audit_child.py FOLDER --payloads`: every run in it is, with no word on what comes out.
`python audit_child.py FOLDER --fuzz`: every decoder is given inputs that nobody wrote.

Everything is done twice: the first time warms up what Python imports and compiles when it is first used; in
the second time nothing of that may happen. PLANT makes it do what must not be done, to show that it is seen.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout, suppress
from io import StringIO
from pathlib import Path

import life
from fuzz import fuzz, targets
from typer.main import get_command

from kernelckpt import CheckpointHook, FileStorage, KernelSnapshot, RestoreFrom, Scheduler, load, verify
from kernelckpt.cli.app import app
from kernelckpt.errors import KernelCkptError
from kernelckpt.testing import ManualClock

WATCHED = ("import", "exec", "compile", "subprocess.", "os.exec", "os.system", "os.posix_spawn", "os.fork")
WATCHED_TOO = ("marshal.", "pickle.", "code.", "ctypes.", "socket.connect", "socket.bind", "shutil.")
CHANGING = ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate")
CHANGING_TOO = ("os.kill", "os.putenv", "os.chdir")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
COMMAND = get_command(app)
"""Made once: typer evaluates the annotations of the commands for it."""

SHARE = 0.1
"""Decoders that get fewer inputs than this are slow, and get few here."""


NOTED = (*WATCHED, *WATCHED_TOO, *CHANGING, *CHANGING_TOO)


class Watch:
    """Notes the events of the interpreter that mean that something is executed, or written elsewhere."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.on = False
        self.seen: list[str] = []
        self.events = 0

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self.on:
            return
        self.events += 1
        if event == "open":
            path, _, flags = arguments
            written = isinstance(flags, int) and flags & WRITING
            if written and not str(path).startswith(self.folder):
                self.seen.append(f"open {path}")
        elif event.startswith(NOTED) and not self._within(arguments):
            self.seen.append(f"{event} {str(arguments)[:200]}")

    def _within(self, arguments: tuple[object, ...]) -> bool:
        return bool(arguments) and str(arguments[0]).startswith(self.folder)


def golden(folder: Path) -> str:
    """Load, verify, read as JSON, restore from the storage and from the snapshot, and show."""
    asyncio.run(read(folder))
    asyncio.run(restore(folder))
    for command in (["show", life.RUN], ["show", life.RUN, "--json"], ["show", life.RUN, "--task", "lead"]):
        assert show(folder, *command) == 0
    assert show(folder, "verify", life.RUN) == 0
    assert show(folder, "log", life.RUN) == 0
    return "the golden run"


async def read(folder: Path) -> None:
    """Load, verify, read the snapshot as JSON."""
    async with FileStorage(folder) as storage:
        snapshot = await load(storage, life.RUN)
        report = await verify(storage, life.RUN)
    assert report.ok
    assert KernelSnapshot.from_json(snapshot.to_json()) == snapshot


async def restore(folder: Path) -> None:
    """Start a kernel from the storage, and one from a snapshot; no turn is run to its end."""
    async with FileStorage(folder) as storage:
        async with life.kernel_of(CheckpointHook(storage, every=None), clock=ManualClock()) as kernel:
            snapshot = kernel.snapshot()
        async with life.kernel_of(RestoreFrom(snapshot), clock=ManualClock()) as kernel:
            assert kernel.snapshot() is not None


def show(folder: Path, *command: str) -> int:
    """The exit code of a command on the runs in a folder."""
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        return COMMAND.main([*command, "--storage", f"file:{folder}"], standalone_mode=False)


def payloads(folder: Path) -> str:
    """All that can be done with runs whose bytes a stranger wrote; what each came to."""
    return json.dumps(asyncio.run(_payloads(folder)))


async def _payloads(folder: Path) -> dict[str, list[str]]:
    async with FileStorage(folder) as storage:
        runs = await storage.list_runs()
        told = {run: [await _told(work(storage, run)) for work in (_load, verify, _start)] for run in runs}
    for run in runs:
        await asyncio.to_thread(show, folder, "show", run, "--json")
        await asyncio.to_thread(show, folder, "show", run, "--task", "agent")
    return told


async def _load(storage: FileStorage, run: str) -> None:
    snapshot = await load(storage, run)
    snapshot.to_json()


async def _start(storage: FileStorage, run: str) -> None:
    """A kernel whose program reads whatever its task was left."""
    hook = CheckpointHook(storage, every=None, owner_wait=0)
    async with Scheduler({"agent": read_all}, run_id=run, hooks=[hook], clock=ManualClock()) as kernel:
        await kernel.idle()


async def read_all(turn):
    """Read all that a program can read."""
    for name in ("state", "input", "messages", "inbox", "signals", "approvals", "results", "run_spec"):
        with suppress(KernelCkptError):
            repr(getattr(turn, name))
    return turn.wait_external("done")


async def _told(work) -> str:
    try:
        await work
    except KernelCkptError as error:
        return type(error).__name__
    return "done"


def fuzzed(_folder: Path) -> str:
    """Every decoder on a block of its inputs."""
    total = 0
    for target in asyncio.run(targets()):
        inputs = 1000 if target.share >= SHARE else 10
        found = fuzz(target, inputs, 5)
        assert not found.faults
        total += inputs
    return f"{total} inputs"


def plant(what: str) -> None:
    """Do what must not be done."""
    if what == "import":
        import colorsys  # noqa: F401
    elif what == "exec":
        exec("1 + 1")
    elif what == "open":
        Path(f"{os.devnull}").open("w").close()
    elif what == "mkdir":
        with suppress(FileExistsError):
            os.mkdir("/")


def main(folder: Path, what: str = "") -> None:
    """Warm up, then watch."""
    works: dict[str, Callable[[Path], str]] = {"--payloads": payloads, "--fuzz": fuzzed}
    work = works.get(what, golden)
    watch = Watch(str(folder))
    sys.addaudithook(watch)
    work(folder)
    watch.on = True
    told = work(folder)
    plant(what)
    watch.on = False
    print(json.dumps({"seen": watch.seen, "events": watch.events, "told": told}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
