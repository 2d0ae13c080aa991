"""A forked child that inherits a storage or a hook owns nothing, hangs nowhere, and keeps nobody out."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import anyio

from kernelckpt import FileStorage, load

CHILD = Path(__file__).with_name("fork_process.py")


async def run(folder, mode):
    """How the process ended, and its lines; the child of its own may live on."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(CHILD), str(folder), mode, stdout=asyncio.subprocess.PIPE
    )
    with anyio.fail_after(60):
        lines = [await process.stdout.readline()]
        if mode == "write":
            lines += (await process.stdout.read()).splitlines()
        return await process.wait(), [line.decode().strip() for line in lines]


async def texts(folder):
    async with FileStorage(folder) as storage:
        return [message.text for message in (await load(storage, "run")).context.history_messages]


async def test_a_child_cannot_write_with_what_it_inherited_and_the_parent_goes_on(tmp_path):
    code, lines = await run(tmp_path / "state", "write")
    assert code == 0
    said = dict(line.split(": ", 1) for line in lines)
    for call in ("append", "blob", "checkpoint"):
        assert said[call].startswith("FencedError"), lines
    assert said["acquire"].startswith("RunOwnedError"), "its parent is alive"
    assert int(said["read"]) > 0, "reading is allowed"
    assert said["close"] == "None"
    assert said["history"] == "['before', 'after']"
    assert await texts(tmp_path / "state") == ["before", "after"]


async def test_a_child_that_outlives_its_killed_parent_keeps_nobody_from_the_run(tmp_path):
    code, lines = await run(tmp_path / "state", "hold")
    child = int(lines[0].split()[1])
    try:
        assert code == -signal.SIGKILL
        os.kill(child, 0)  # it is there
        async with FileStorage(tmp_path / "state") as storage:
            assert (await storage.acquire("run", "next")).epoch == 2
        assert await texts(tmp_path / "state") == ["before"]
    finally:
        os.kill(child, signal.SIGKILL)
