"""Uses hostile names for everything that is named, and prints which paths outside of its folder were touched.

`python name_child.py FOLDER COUNT [PLANT]`; the folder is the working directory's only entry. PLANT opens
what must not be opened, to show that it is seen.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from random import Random

from mutation import PIECES, mutated_text, one_of

from kernelckpt import CheckpointHook, FileStorage, Scheduler
from kernelckpt.errors import KernelCkptError
from kernelckpt.storage.file.ops import FileOps
from kernelckpt.testing import ManualClock

AT_ONCE = 100
"""How many messages and blobs one run gets; each post looks at all that are there."""

MOUNTS = "/proc/self/mountinfo"
"""Read to learn what file system a folder is on."""

PATHS = ("open", "os.", "shutil.", "pathlib.", "glob.")


def names(count: int, seed: str) -> list[str]:
    """So many names that differ, none of them empty."""
    pick = Random(seed).random
    found: dict[str, None] = dict.fromkeys(PIECES)
    while len(found) <= count:
        found[mutated_text(pick, one_of(pick, ("", "demo", *PIECES)))] = None
    found.pop("", None)
    return list(found)[:count]


class QuickOps(FileOps):
    """The real file system, without waiting for the disk."""

    def fsync(self, fd: int) -> None:
        """Trust the cache."""

    fdatasync = fsync

    def fsync_folder(self, path: str) -> None:
        """Trust the cache."""


class Watch:
    """Notes every path that is given to the system and is not within the folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)
        self.on = False
        self.outside: set[str] = set()
        self.inside = 0

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self.on or not event.startswith(PATHS):
            return
        for path in arguments:
            if isinstance(path, bytes | str) and event != "os.fspath":
                whole = os.path.normpath(os.path.join(self.folder, os.fsdecode(path)))
                if whole == self.folder or whole.startswith(self.folder + os.sep):
                    self.inside += 1
                elif whole != MOUNTS:
                    self.outside.add(f"{event} {whole!r}")


async def use(folder: Path, count: int) -> dict[str, int]:
    """Name runs, blobs, messages and tasks; how many of each were taken."""
    done = dict.fromkeys(("runs", "messages", "blobs", "tasks"), 0)
    storage = FileStorage(folder, ops=QuickOps())
    for name in names(count, "runs"):
        claim = await storage.acquire(name, name)
        await storage.append(name, claim.epoch, 1, [b"x"], b"")
        assert await storage.read(name, claim.epoch, 1) == b"x"
        await storage.release(name, claim.epoch)
        done["runs"] += 1
    assert set(await storage.list_runs()) == set(names(count, "runs"))
    for begin in range(0, count, AT_ONCE):
        messages, blobs = (names(count, what)[begin : begin + AT_ONCE] for what in ("messages", "blobs"))
        done["messages"] += await post(storage, f"run {begin}", messages)
        done["blobs"] += await write_blobs(storage, f"run {begin}", blobs)
    for life in range(2):
        hook = CheckpointHook(storage, every=None)
        async with Scheduler({"agent": agent}, run_id="tasks", hooks=[hook], clock=ManualClock()) as kernel:
            for name in names(count, "tasks") if life == 0 else ():
                with suppress(KernelCkptError):
                    await kernel.submit("agent", task_id=name)
            done["tasks"] = len(list(kernel.tasks))
    await storage.aclose()
    return done


async def post(storage: FileStorage, run: str, messages: list[str]) -> int:
    """Post messages of these ids to a run."""
    await storage.acquire(run, "a test")
    for name in messages:
        assert await storage.post(run, name, name.encode("utf-8", "replace"))
    assert {item.message_id for item in await storage.posted(run)} == set(messages)
    return len(messages)


async def write_blobs(storage: FileStorage, run: str, blobs: list[str]) -> int:
    """Write blobs of these names into a run; how many names were not too long."""
    claim, done = await storage.acquire(run, "a test"), 0
    for name in blobs:
        with suppress(KernelCkptError):
            await storage.write_part(run, claim.epoch, name, 0, [name.encode("utf-8", "replace")])
            await storage.finish_blob(run, claim.epoch, name)
            assert await storage.read_blob(run, name) == name.encode("utf-8", "replace")
            done += 1
    assert len(await storage.list_blobs(run)) == done
    return done


async def agent(turn):
    """Wait for ever."""
    return turn.wait_for_message()


def main(folder: Path, count: int, plant: str = "") -> None:
    """Use names, watched."""
    os.umask(0)
    watch = Watch(folder)
    asyncio.run(use(folder / "warm", 3))  # what Python loads at first use lies elsewhere
    sys.addaudithook(watch)
    watch.on = True
    done = asyncio.run(use(folder / "state", count))
    with suppress(FileNotFoundError, IsADirectoryError):
        open(plant or folder)  # noqa: SIM115
    watch.on = False
    modes = {oct(path.stat().st_mode) for path in (folder / "state").rglob("*")}
    seen = {"outside": sorted(watch.outside), "inside": watch.inside}
    print(json.dumps(seen | {"done": done, "modes": sorted(modes)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
