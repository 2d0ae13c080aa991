"""A forked child that inherits a storage or a hook owns nothing, hangs nowhere, and keeps nobody out."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import anyio
import pytest

from kernelckpt import load, open_storage

CHILD = Path(__file__).with_name("fork_process.py")


@pytest.fixture(params=["file", "sqlite"])
def url(request, tmp_path):
    return f"{request.param}:{tmp_path}/state"


async def run(url, mode):
    """How the process ended, and its lines; the child of its own may live on."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(CHILD), url, mode, stdout=asyncio.subprocess.PIPE
    )
    with anyio.fail_after(60):
        lines = [await process.stdout.readline()]
        if mode == "write":
            lines += (await process.stdout.read()).splitlines()
        return await process.wait(), [line.decode().strip() for line in lines]


async def texts(url):
    async with open_storage(url) as storage:
        return [message.text for message in (await load(storage, "run")).context.history_messages]


async def test_a_child_cannot_write_with_what_it_inherited_and_the_parent_goes_on(url):
    code, lines = await run(url, "write")
    assert code == 0
    said = dict(line.split(": ", 1) for line in lines)
    for call in ("append", "blob", "checkpoint"):
        assert said[call].startswith("FencedError"), lines
    assert said["acquire"].startswith("RunOwnedError"), "its parent is alive"
    assert int(said["read"]) > 0, "reading is allowed"
    assert said["close"] == "None"
    assert said["history"] == "['before', 'after']"
    assert await texts(url) == ["before", "after"]


async def test_a_child_that_outlives_its_killed_parent_keeps_nobody_from_the_run(url):
    code, lines = await run(url, "hold")
    child = int(lines[0].split()[1])
    try:
        assert code == -signal.SIGKILL
        os.kill(child, 0)  # it is there
        async with open_storage(url) as storage:
            assert (await storage.acquire("run", "next")).epoch == 2
        assert await texts(url) == ["before"]
    finally:
        os.kill(child, signal.SIGKILL)
