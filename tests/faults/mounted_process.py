"""A process whose file system fails, in a mount namespace: mounted_process.py full|read-only FOLDER.

`full`: a tmpfs of 300 KiB fills up, then gets room. `read-only`: an ext4 meets an error, which makes it
read-only under the files that are open there (a plain remount is refused while files are), then is checked
and mounted again.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

from traced_process import clerk

from kernelckpt import CheckpointHook, LogOptions, Scheduler, load, open_storage
from kernelckpt.errors import CheckpointFailedError, KernelCkptError

QUICK = LogOptions(retry_first=0.001, base_min_bytes=50_000)


def run(*command, check=True):
    return subprocess.run(command, check=check, capture_output=True, text=True).stdout.strip()


async def fill(point, sent, spoil=None, *, most=1000):
    """Send until saving fails for good, or so many were sent; what is acknowledged is added to `sent`."""
    hook = CheckpointHook(
        f"file:{point}/state", every=0.05, owner_wait=0, max_consecutive_failures=5, log=QUICK
    )
    async with Scheduler({"clerk": clerk}, run_id="run", hooks=[hook]) as kernel:
        await kernel.submit("clerk", task_id="clerk")
        for number in range(len(sent), len(sent) + most):
            text = f"{number} " + "x" * 2000
            await kernel.send("clerk", text)
            sent.append(text)
            if number == 3 and spoil:
                spoil()


async def kept(point):
    async with open_storage(f"file:{point}/state") as storage:
        snapshot = await load(storage, "run")
    waiting = [entry.message.text for entry in snapshot.inbox.get("clerk", {}).values()]
    return [message.text for message in snapshot.contexts["clerk"].history_messages] + waiting


def fails(coroutine):
    """The error in which it must end."""
    try:
        asyncio.run(coroutine)
    except (CheckpointFailedError, KernelCkptError) as error:
        return f"{type(error).__name__}: {error}"
    raise AssertionError("it went on")


def full(folder):
    point = folder / "mount"
    run("mount", "-t", "tmpfs", "-o", "size=300k", "none", str(point))
    sent = []
    error = fails(fill(point, sent))
    again = fails(fill(point, sent))
    run("mount", "-o", "remount,size=4m", str(point))
    return error, again, sent, point


def read_only(folder):
    image, point = folder / "image", folder / "mount"
    with image.open("wb") as file:
        file.truncate(8 << 20)
    run("mkfs.ext4", "-q", "-F", str(image))
    device = run("losetup", "-f", "--show", str(image))
    try:
        run("mount", "-o", "errors=remount-ro", device, str(point))
        trigger = Path("/sys/fs/ext4", Path(device).name, "trigger_fs_error")
        sent = []
        error = fails(fill(point, sent, lambda: trigger.write_text("a fault")))
        again = fails(fill(point, sent))
        run("umount", str(point))
        run("e2fsck", "-f", "-y", device, check=False)
        run("mount", device, str(point))
        return error, again, sent, point
    finally:
        run("losetup", "-d", device)  # once it is not mounted any more


def main(mode, folder):
    Path(folder, "mount").mkdir()
    error, again, sent, point = (full if mode == "full" else read_only)(Path(folder))
    found = asyncio.run(kept(point))
    assert found[: len(sent)] == sent, f"{len(sent)} were acknowledged, {len(found)} are there"
    assert len(found) <= len(sent) + 2
    acknowledged = len(sent)
    sent[:] = found
    asyncio.run(fill(point, sent, most=10))
    assert asyncio.run(kept(point)) == sent
    run("umount", str(point))
    os.write(1, json.dumps({"error": error, "again": again, "acknowledged": acknowledged}).encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
