"""Object stores, and processes that fork and end."""

import asyncio
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.servers, pytest.mark.may_block]

FORKS = """
import asyncio, os, sys
from kernelckpt.errors import StorageUnavailableError
from kernelckpt.storage.objects.storage import open_objects

async def use():
    async with await open_objects(sys.argv[1]) as storage:
        claim = await storage.acquire("run", "test")
        await storage.append("run", claim.epoch, claim.head + 1, [b"x"], b"")

async def parent():
    storage = await open_objects(sys.argv[1])
    await storage.acquire("run", "test")
    return storage

async def child(storage):
    refused = 0
    for call in (use, storage.list_runs):
        try:
            await call()
        except StorageUnavailableError as error:
            refused += "forked" in str(error)
    await storage.aclose()
    return refused

storage = None
if sys.argv[2] == "used":
    storage = asyncio.run(parent())
pid = os.fork()
if pid == 0:
    if storage is None:
        asyncio.run(use())
        os._exit(0)
    os._exit(0 if asyncio.run(child(storage)) == 2 else 1)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
if storage is None:
    asyncio.run(use())
"""


@pytest.mark.parametrize("before", ["used", "not used"])
async def test_a_forked_child_is_told_instead_of_waiting_for_ever(object_server, before):
    """A store that is opened only after the fork is a store like any other, in both."""
    url = object_server.url(object_server.make_bucket())
    command = [sys.executable, "-c", FORKS, url, before]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr
