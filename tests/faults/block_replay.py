"""Cuts the power of a real ext4, XFS or Btrfs at every write of its disk, and looks for anything lost.

A file in user space stands for the disk: it notes every write and every flush and, in the same order, what
a process acknowledged. Afterwards any state a power loss may leave is made again - all writes up to a flush,
and some of those after it - mounted, restored and compared, and now and then gone on with. With --eio one
write of data fails below the file system instead. Needs root, /dev/fuse, loop devices, mfusepy and mkfs:

apt-get install fuse3 libfuse2 xfsprogs btrfs-progs; pip install mfusepy
python tests/faults/block_replay.py ext4 --seconds 60
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import hashlib
import os
import random
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import mfusepy
from traced_process import LIVES, kernel_on, live

from kernelckpt import load, open_storage
from kernelckpt.errors import KernelCkptError, NotFoundError
from kernelckpt.storage.file.ops import FileOps
from kernelckpt.testing import ManualClock

MIB = 1024 * 1024
SYSTEMS = {
    "ext4": (6, "mkfs.ext4 -q -F -b 1024 -J size=1 -E lazy_itable_init=0,lazy_journal_init=0,nodiscard", ""),
    "ext4-writeback": (6, "mkfs.ext4 -q -F -b 1024 -J size=1 -E nodiscard", "data=writeback"),
    "ext4-journal": (6, "mkfs.ext4 -q -F -b 1024 -J size=1 -E nodiscard", "data=journal"),
    "xfs": (16, "mkfs.xfs -q -f -K --unsupported", ""),
    "btrfs": (112, "mkfs.btrfs -q -f -K", ""),
}
"""By name: the size of the disk in MiB, how it is made, and how it is mounted."""

FEW = 4
"""Of so many writes since a flush, every subset is tried."""
GO_ON = 5
"""One in so many images is gone on with."""
POISON = b"poisoned"
PLANTED = {"none": (), "no-folder-sync": ("fsync_folder",), "no-data-sync": ("fdatasync",)}
"""Bugs that must be found: calls that do nothing."""


class NotedDisk(mfusepy.Operations):
    """A disk in user space, as the file "disk"; "mark" takes what is acknowledged.

    Attributes:
        log: ("write", offset, data), ("flush",) and ("told", line), in order.
        poisoned: whether the next write of data that holds the poison fails.
    """

    use_ns = True

    def __init__(self, data):
        self.data = bytearray(data)
        self.log = []
        self.poisoned = False
        self._lock = threading.Lock()

    def getattr(self, path, fh=None):
        now = time.time_ns()
        times = {"st_ctime": now, "st_mtime": now, "st_atime": now, "st_nlink": 1}
        if path == "/":
            return {"st_mode": stat.S_IFDIR | 0o755, **times}
        if path not in ("/disk", "/mark"):
            raise mfusepy.FuseOSError(errno.ENOENT)
        return {"st_mode": stat.S_IFREG | 0o600, "st_size": len(self.data) * (path == "/disk"), **times}

    def readdir(self, path, fh):
        return [".", "..", "disk", "mark"]

    def open(self, path, flags):
        return 0

    def truncate(self, path, length, fh=None):
        return 0

    def read(self, path, size, offset, fh):
        return bytes(self.data[offset : offset + size]) if path == "/disk" else b""

    def write(self, path, data, offset, fh):
        with self._lock:
            if path == "/mark":
                self.log.append(("told", data.decode().strip()))
            elif self.poisoned and POISON in data:
                self.poisoned = False
                raise mfusepy.FuseOSError(errno.EIO)
            else:
                self.data[offset : offset + len(data)] = data
                self.log.append(("write", offset, bytes(data)))
        return len(data)

    def fsync(self, path, datasync, fh):
        with self._lock:
            if path == "/disk":
                self.log.append(("flush",))
        return 0


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@contextmanager
def mounted(system):
    """A fresh file system on a noted disk: the disk, where it is mounted, and the folder of the disk."""
    size, make, options = SYSTEMS[system]
    with tempfile.TemporaryDirectory() as folder:
        image, fuse, point = Path(folder, "image"), Path(folder, "fuse"), Path(folder, "mount")
        fuse.mkdir()
        point.mkdir()
        with image.open("wb") as file:
            file.truncate(size * MIB)
        run(*make.split(), str(image))
        disk = NotedDisk(image.read_bytes())
        image.unlink()
        serve = {"foreground": True, "nothreads": False, "direct_io": True, "allow_other": True}
        thread = threading.Thread(target=mfusepy.FUSE, args=(disk, str(fuse)), kwargs=serve, daemon=True)
        thread.start()
        while not os.path.ismount(fuse):
            assert thread.is_alive(), "the disk could not be mounted: is there /dev/fuse, and is this root?"
            time.sleep(0.05)
        loop = run("losetup", "-f", "--show", str(fuse / "disk"))
        try:
            run("mount", "-t", system.split("-")[0], "-o", options or "defaults", loop, str(point))
            try:
                yield disk, point, fuse
            finally:
                run("umount", str(point))
        finally:
            run("losetup", "-d", loop)
            run("umount", "-l", str(fuse))


def victim(url, planted):
    """Two lives and some posts between them; a planted bug leaves out a kind of sync."""
    for call in PLANTED[planted]:
        setattr(FileOps, call, lambda ops, where: None)
    asyncio.run(work(url))


async def work(url):
    def tell(line):
        os.write(1, line.encode() + b"\n")

    for numbers in LIVES:
        async with open_storage(url) as storage:
            await live(storage, numbers, lambda number: tell(f"acknowledged {number}"))
            for number in numbers:
                await storage.post("run", f"post {number}", b"%d" % number)
                tell(f"posted {number}")


def record(system, planted):
    """Let a process work; returns the disk as it was before, and the log since."""
    with mounted(system) as (disk, point, fuse):
        run("sync", "-f", str(point))
        before, begun = bytes(disk.data), len(disk.log)
        with (fuse / "mark").open("wb") as mark:
            command = [
                sys.executable,
                __file__,
                system,
                "--victim",
                f"file:{point}/state",
                "--planted",
                planted,
            ]
            subprocess.run(command, stdout=mark, check=True, timeout=300)
        return before, disk.log[begun:]


async def restored(url, *, go_on):
    """The messages that are found, the posts, and the messages after one more life."""
    async with open_storage(url) as storage:
        try:
            before = texts(await load(storage, "run"))
            posts = len(await storage.posted("run"))
        except NotFoundError:
            before, posts = [], 0
        if not go_on:
            return before, posts, [*before, "more"]
        kernel, _ = kernel_on(storage, ManualClock())
        async with kernel:
            await kernel.submit("clerk", task_id="clerk")
            await kernel.send("clerk", "more", key="more")
            await kernel.idle()
        return before, posts, texts(await load(storage, "run"))


def texts(snapshot):
    if "clerk" not in snapshot.contexts:
        return []
    waiting = [entry.message.text for entry in snapshot.inbox.get("clerk", {}).values()]
    return [message.text for message in snapshot.contexts["clerk"].history_messages] + waiting


def fault_of(image, told, point, system, *, go_on):
    """What is wrong with an image after these lines were told; empty when nothing is."""
    kind, options = system.split("-")[0], SYSTEMS[system][2]
    run("mount", "-t", kind, "-o", f"loop,{options}" if options else "loop", str(image), str(point))
    try:
        before, posts, after = asyncio.run(restored(f"file:{point}/state", go_on=go_on))
    except KernelCkptError as error:
        return f"{type(error).__name__}: {error}"
    finally:
        run("umount", str(point))
    sent = sum(line.startswith("acknowledged") for line in told)
    posted = len(told) - sent
    if before != [str(number) for number in range(len(before))] or not sent <= len(before) <= sent + 1:
        return f"{sent} messages were acknowledged, {before} is there"
    if not posted <= posts <= posted + 1:
        return f"{posted} posts were acknowledged, {posts} are there"
    return "" if after == [*before, "more"] else f"gone on from {before} to {after}"


def choices(count, chance):
    """Which of so many writes since a flush reached the disk: all subsets, or some of them."""
    if count <= FEW:
        yield from ([at for at in range(count) if mask >> at & 1] for mask in range(1 << count))
        return
    yield list(range(count))
    yield []
    yield from ([at for at in range(count) if at != left] for left in range(count))
    yield from ([at for at in range(count) if chance.random() < 0.5] for _ in range(4))


def images(before, log, seed):
    """Distinct disks that a power loss may leave, and how much had been told by then, in order of the log."""
    chance, seen = random.Random(seed), set()
    durable, since, told = bytearray(before), [], ()
    for event in [*log, ("end",)]:
        for chosen in choices(len(since), chance):
            data = bytearray(durable)
            for at in chosen:
                offset, piece = since[at]
                data[offset : offset + len(piece)] = piece
            key = (hashlib.sha256(data).digest(), told)
            if key not in seen:
                seen.add(key)
                yield data, told
        if event[0] == "write":
            since.append(event[1:])
        elif event[0] == "flush":
            for offset, piece in since:
                durable[offset : offset + len(piece)] = piece
            since = []
        elif event[0] == "told":
            told = (*told, event[1])


def replay(system, before, log, given):
    """Restore images until time is up; returns how many, and the faults."""
    faults, count, end = [], 0, time.monotonic() + given.seconds
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        image, point = Path(folder, "image"), Path(folder, "mount")
        point.mkdir()
        for data, told in images(before, log, given.seed):
            if len(told) < given.after:
                continue
            image.write_bytes(data)
            count += 1
            if fault := fault_of(image, told, point, system, go_on=count % GO_ON == 0):
                faults.append(fault)
            if time.monotonic() > end or faults:
                break
    return count, faults


async def outlive(url, disk):
    """Work while one write of data fails; returns what was acknowledged, and the failed saves."""
    async with open_storage(url) as storage:
        kernel, hook = kernel_on(storage, None)
        async with kernel:
            await kernel.submit("clerk", task_id="clerk")
            sent = ["first", POISON.decode(), "last"]
            for text in sent:
                disk.poisoned = text == POISON.decode()
                await kernel.send("clerk", text)
                await kernel.idle()
            await hook.checkpoint()
            return sent, hook.stats.failures


def eio(system):
    """One write of data fails below the file system: told, written elsewhere, and there after a new mount."""
    with mounted(system) as (disk, point, _):
        sent, failures = asyncio.run(outlive(f"file:{point}/state", disk))
        assert not disk.poisoned, "no write failed"
        device = run("findmnt", "-n", "-o", "SOURCE", str(point))
        run("umount", str(point))
        run("mount", "-t", system.split("-")[0], device, str(point))
        before, *_ = asyncio.run(restored(f"file:{point}/state", go_on=True))
    assert before == sent, f"{sent} was acknowledged, {before} is there"
    print(f"{system}: a write failed, {failures} saves failed for it, and nothing acknowledged was lost")
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("system", choices=SYSTEMS)
    parser.add_argument("--seconds", type=float, default=60, help="how long images are restored")
    parser.add_argument("--after", type=int, default=0, help="only images after so many acknowledgements")
    parser.add_argument("--planted", choices=PLANTED, default="none")
    parser.add_argument("--eio", action="store_true", help="one write fails, instead of power losses")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--victim", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.victim:
        victim(given.victim, given.planted)
        return 0
    assert shutil.which(SYSTEMS[given.system][1].split()[0]), "its mkfs is missing: see the top of this file"
    if given.eio:
        return eio(given.system)
    before, log = record(given.system, given.planted)
    kinds = [event[0] for event in log]
    began = time.perf_counter()
    count, faults = replay(given.system, before, log, given)
    seconds = time.perf_counter() - began
    print(
        f"{given.system}, planted: {given.planted}: {kinds.count('write')} writes, "
        f"{kinds.count('flush')} flushes, {kinds.count('told')} acknowledgements; "
        f"{count} images restored in {seconds:.0f} s, {len(faults)} bad"
    )
    for fault in faults[:3]:
        print(f"  {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
