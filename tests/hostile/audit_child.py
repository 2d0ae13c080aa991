"""Reads a run with an audit hook in place, and prints what that saw: `python audit_child.py FOLDER [PLANT]`.

Everything is done twice: the first time warms up what Python imports and compiles when it is first used; in
the second time nothing of that may happen. PLANT makes it do what must not be done, to show that it is seen.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import life

from kernelckpt import CheckpointHook, FileStorage, KernelSnapshot, RestoreFrom, load, verify
from kernelckpt.testing import ManualClock

WATCHED = ("import", "exec", "compile", "subprocess.", "os.exec", "os.system", "os.posix_spawn", "os.fork")
WATCHED_TOO = ("marshal.", "pickle.", "code.", "ctypes.", "socket.connect", "socket.bind", "shutil.")
CHANGING = ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


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
        elif event.startswith((*WATCHED, *WATCHED_TOO, *CHANGING)) and not self._within(arguments):
            self.seen.append(f"{event} {str(arguments)[:200]}")

    def _within(self, arguments: tuple[object, ...]) -> bool:
        return bool(arguments) and str(arguments[0]).startswith(self.folder)


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


def plant(what: str) -> None:
    """Do what must not be done."""
    if what == "import":
        import colorsys  # noqa: F401
    elif what == "exec":
        exec("1 + 1")
    elif what == "open":
        Path(f"{os.devnull}").open("w").close()


def main(folder: Path, what: str = "") -> None:
    """Warm up, then watch."""
    watch = Watch(str(folder))
    sys.addaudithook(watch)
    for watched in (False, True):
        for work in (read, restore):
            loop = asyncio.new_event_loop()
            watch.on = watched
            loop.run_until_complete(work(folder))
            watch.on = False
            loop.close()
    watch.on = True
    plant(what)
    watch.on = False
    print(json.dumps({"seen": watch.seen, "events": watch.events}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
