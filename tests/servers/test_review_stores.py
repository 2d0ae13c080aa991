"""Stores that are forked, closed in the middle, copied to by the command line, and asked by it."""

# ruff: noqa: F811 - a fixture is imported, and named by what uses it

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import warnings

import anyio
import pytest
from stores import store  # noqa: F401 - a fixture
from test_store_runs import heard, life

from kernelckpt import Retention, open_storage
from kernelckpt.abc import Claim
from kernelckpt.errors import CorruptionError, RunOwnedError, StorageUnavailableError
from kernelckpt.storage.objects.key import run_key

pytestmark = [pytest.mark.servers, pytest.mark.may_block]


async def test_a_forked_child_leaves_a_postgres_session_to_its_parent(postgres_server):
    """What it sent over the socket that both have would be the parent's word, and end its ownership."""
    async with open_storage(postgres_server.url("forked")) as storage:
        claim = await storage.acquire("run", "test")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of newer Pythons, about threads
            child = os.fork()
        if not child:
            refused = 0
            try:
                for call in (
                    storage.append("run", claim.epoch, 1, [b"of the child"], b""),
                    storage.list_runs(),
                    storage.aclose(),
                ):
                    try:
                        call.send(None)
                    except (StorageUnavailableError, StopIteration):
                        refused += 1
            finally:
                os._exit(refused)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
        await storage.append("run", claim.epoch, 1, [b"of the parent"], b"")


async def test_an_idle_owner_is_alive_after_its_postgres_server_was_started_again(postgres_server):
    """Looking into its inbox is enough for the kernel to hold its run."""
    url = postgres_server.url("again")
    async with open_storage(url) as storage, open_storage(url) as other:
        claim = await storage.acquire("run", "who waits")
        postgres_server.stop()
        postgres_server.start()
        assert await storage.posted("run") == []
        with pytest.raises(RunOwnedError):
            await other.acquire("run", "other")
        await storage.append("run", claim.epoch, 1, [b"x"], b"")


async def test_a_run_acquired_while_its_store_closes_is_given_up(store):
    async with open_storage(store.url) as storage:
        acquiring = asyncio.create_task(storage.acquire("run", "test"))
        await asyncio.sleep(0)
    await asyncio.gather(acquiring, return_exceptions=True)
    async with asyncio.timeout(30), open_storage(store.url) as storage:
        while asyncio.all_tasks() != {asyncio.current_task()}:
            await asyncio.sleep(0)  # what is left of closing
        assert (await storage.acquire("run", "test")).epoch <= 2


async def test_a_run_in_a_bucket_is_not_begun_anew_where_its_place_is_damaged(object_server):
    async with open_storage(object_server.url(object_server.make_bucket())) as storage:
        claim = await storage.acquire("run", "test")
        await storage.append("run", claim.epoch, 1, [b"x"], b"")
        await storage.release("run", claim.epoch)
        key = f"runs/{run_key('run')}/run"
        sound = (await storage._client.get(key)).data
        await storage._client.overwrite(key, sound[:9] + bytes([sound[9] ^ 1]) + sound[10:])
        for call in (storage.acquire("run", "test"), storage.list_runs(), storage.posted("run")):
            with pytest.raises(CorruptionError, match="header is damaged"):
                await call
        await storage._client.overwrite(key, sound)
        assert await storage.acquire("run", "test") == Claim(2, 1)


def command(*words, code=0):
    """What a command prints."""
    line = [sys.executable, "-m", "kernelckpt", *words]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode in {code, 0}, done.stderr
    return done.stdout if done.returncode == 0 else None


def facts(*words):
    return json.loads(command(*words, "--json"))


def make_run(url):
    """A run with bases, a history, and a message that nobody has taken."""
    texts = anyio.run(lambda: life(url, ["first", "second"], Retention(keep_all=True), bases=3))
    command("send", "run", "t", "not taken yet", "--storage", url)
    return texts


COPY = """
import sys
from itertools import count
import anyio
from kernelckpt.checkpoint.copy_target import CopyTarget
from kernelckpt.cli.app import main

add, numbers = CopyTarget.add_entry, count(1)

async def stopping(self, entry, data):
    await add(self, entry, data)
    if next(numbers) == 5:
        print("ready", flush=True)
        await anyio.sleep_forever()

CopyTarget.add_entry = stopping
sys.argv = ["kernelckpt", "copy", *sys.argv[1:]]
main()
"""


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
def test_a_copy_to_a_store_is_interrupted_and_gone_on_with(store, tmp_path, ending):
    source = f"file:{tmp_path}/source"
    texts = make_run(source)
    line = [sys.executable, "-c", COPY, "run", source, store.url]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(ending)
        _, err = process.communicate(timeout=60)
    if ending == signal.SIGINT:
        assert process.returncode == 130
        assert b"Traceback" not in err
    assert command("show", "run", "--storage", store.url, code=6) is None
    while (done := command("copy", "run", source, store.url, "--json", code=4)) is None:
        assert ending == signal.SIGKILL, "who was interrupted has let go"
        time.sleep(0.5)  # a lease runs out
    copied = json.loads(done)
    assert copied["entries"] - copied["new_entries"] == 5
    assert copied["messages"] == 1
    command("verify", "run", "--all", "--storage", store.url)
    assert command("log", "run", "--storage", store.url) == command("log", "run", "--storage", source)
    assert anyio.run(heard, store.url) == texts
    assert facts("copy", "run", source, store.url)["new_size"] == 0
    back = f"sqlite:{tmp_path}/back.db"
    assert facts("copy", "run", store.url, back)["new_size"] == copied["size"]
    anyio.run(lambda: life(store.url, [*texts, "not taken yet", "more"], Retention()))
    assert anyio.run(heard, store.url)[-2:] == ["not taken yet", "more"]


def test_commands_on_a_run_of_every_store(store, tmp_path):
    make_run(store.url)
    given = ("--storage", store.url)
    assert [run["run"] for run in facts("runs", *given)["runs"]] == ["run"]
    assert facts("log", "run", *given)["checkpoints"]
    assert [task["id"] for task in facts("show", "run", *given)["tasks"]] == ["t"]
    assert facts("approvals", "run", *given)["approvals"] == []
    assert command("verify", "run", "--all", *given)
    assert command("prune", "run", "--bases", "1", *given)
    (tmp_path / "keys").write_text(f"k1:{'A' * 43}=\n")
    keyed = (*given, "--accept-plaintext", "--key-file", str(tmp_path / "keys"))
    assert command("rekey", "run", *keyed)
    assert command("verify", "run", *keyed)
