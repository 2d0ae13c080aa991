"""What cannot work is refused with an error that says what to do, and nothing is destroyed by the refusal."""

import asyncio
import errno
import math
import os
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import msgpack
import pytest
from hook_kit import count, digests, listen, make, settled
from unprivileged import nobody

from kernelckpt import FileStorage, MemoryStorage, Program, load
from kernelckpt.errors import (
    CheckpointFailedError,
    InvalidValueError,
    KernelCkptError,
    StorageFullError,
    StorageUnavailableError,
    StorageUrlError,
    TaskMismatchError,
    UnknownProgramError,
    UnsupportedVersionError,
)
from kernelckpt.storage.file.ops import FileOps
from kernelckpt.testing import FaultyFileOps


async def enter(storage, **settings):
    """The state of a kernel that was entered and left."""
    kernel, _ = make(storage, {"listen": listen, "count": count}, **settings)
    async with kernel:
        return kernel.snapshot()


async def refusal(storage, kind):
    """The error that entering raises; it has a remedy."""
    with pytest.raises(kind) as caught:
        await enter(storage)
    assert caught.value.hint, caught.value
    return caught.value


@pytest.fixture
async def state(tmp_path):
    """A folder with a finished run."""
    kernel, _ = make(f"file:{tmp_path}/state", {"count": count, "listen": listen})
    async with kernel:
        await kernel.submit("count", task_id="c", input={"from": 1})
        await kernel.join("c")
        await kernel.submit("listen", task_id="l")
        await kernel.idle()
    return tmp_path / "state"


async def test_an_unknown_program():
    kernel, _ = make(MemoryStorage(), {"count": count})
    async with kernel:
        before = kernel.snapshot()
        with pytest.raises(UnknownProgramError, match="known programs: count"):
            await kernel.submit("cuont", task_id="c")
        assert kernel.snapshot() == before


async def test_a_task_with_another_input_or_program(state):
    kernel, _ = make(f"file:{state}", {"count": count, "listen": listen})
    async with kernel:
        before = kernel.snapshot()
        for program, value in (("count", {"from": 2}), ("count", None), ("listen", {"from": 1})):
            with pytest.raises(TaskMismatchError, match="use another task id"):
                await kernel.submit(program, task_id="c", input=value)
        assert await kernel.submit("count", task_id="c", input={"from": 1}) == "c"
        assert kernel.snapshot() == before


@pytest.mark.parametrize(
    "url",
    [
        "state",
        "",
        "ftp://example.org/state",
        "file:",
        "file:~/state",
        "file://host/state",
        "file:a%2",
        "a:b:c",
    ],
)
async def test_a_bad_url(url):
    error = await refusal(url, StorageUrlError)
    assert repr(url)[:20] in str(error) or "scheme" in str(error)


async def test_a_file_in_place_of_the_folder(tmp_path):
    await asyncio.to_thread((tmp_path / "state").write_text, "mine")
    error = await refusal(f"file:{tmp_path}/state", StorageUnavailableError)
    assert str(tmp_path) in str(error)
    assert await asyncio.to_thread((tmp_path / "state").read_text) == "mine"


async def test_a_folder_of_somebody_else(tmp_path):
    await asyncio.to_thread((tmp_path / "letters.txt").write_text, "mine")
    before = await asyncio.to_thread(digests, tmp_path)
    error = await refusal(f"file:{tmp_path}", StorageUnavailableError)
    assert str(tmp_path) in str(error)
    assert await asyncio.to_thread(digests, tmp_path) == before


async def test_a_foreign_file_in_the_folder_of_a_run_is_left_alone(state):
    run = next(path for path in state.iterdir() if path.is_dir())
    await asyncio.to_thread((run / "notes.txt").write_text, "mine")
    assert len((await enter(f"file:{state}")).tasks) == 2
    assert await asyncio.to_thread((run / "notes.txt").read_text) == "mine"


@pytest.mark.parametrize("call", ["listdir", "open", "create", "stat", "pread"])
@pytest.mark.parametrize("error", [errno.EACCES, errno.EIO, errno.EMFILE])
async def test_a_folder_that_cannot_be_used(state, call, error):
    before = await asyncio.to_thread(digests, state)
    ops = FaultyFileOps(FileOps())
    ops.fail(call, error, times=10_000)
    async with FileStorage(state, ops=ops) as storage:
        found = await refusal(storage, KernelCkptError)
        assert str(state) in str(found) or os.strerror(error) in str(found)
    after = await asyncio.to_thread(digests, state)
    assert before.items() <= after.items()
    assert len((await enter(f"file:{state}")).tasks) == 2


async def test_a_folder_without_permission(state):
    state.chmod(0)
    try:
        with nobody():
            error = await refusal(f"file:{state}", StorageUnavailableError)
        assert "Permission denied" in str(error)
    finally:
        state.chmod(0o700)
    assert len((await enter(f"file:{state}")).tasks) == 2


@pytest.mark.parametrize(
    ("call", "may_be_there"), [("pwritev", []), ("fdatasync", [["acknowledged", "not acknowledged"]])]
)
async def test_a_disk_that_is_full_halts_the_kernel_and_keeps_what_was_acknowledged(
    state, call, may_be_there
):
    ops = FaultyFileOps(FileOps())
    async with FileStorage(state, ops=ops) as storage:
        kernel, _ = make(storage, {"listen": listen, "count": count}, max_consecutive_failures=1)
        with pytest.raises(CheckpointFailedError) as caught:
            async with kernel:
                await kernel.send("l", "acknowledged")
                await kernel.idle()
                ops.fail(call, errno.ENOSPC, times=10_000)
                await kernel.send("l", "not acknowledged")
        assert caught.value.hint
    snapshot = await enter(f"file:{state}")
    texts = [message.text for message in snapshot.contexts["l"].history_messages]
    assert texts in [["acknowledged"], *may_be_there]


@pytest.fixture
def tiny_disk(tmp_path):
    """A real file system of 256 KiB."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs rights that this user has not")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.may_block
async def test_a_real_full_disk_heals(tiny_disk):
    async def hoard(turn):
        for message in turn.inbox:
            turn.append(message)
        return turn.wait_for_message()

    ballast = tiny_disk / "ballast"
    kernel, hook = make(f"file:{tiny_disk}/state", {"hoard": hoard}, max_consecutive_failures=1000)
    async with kernel:
        await kernel.submit("hoard", task_id="h")
        await kernel.idle()
        failed = asyncio.Event()

        async def watch(events):
            async for event in events:
                if event.kind == "checkpoint_failed":
                    failed.set()

        watching = asyncio.create_task(watch(kernel.events()))
        with pytest.raises(OSError, match="No space left"):
            ballast.write_bytes(bytes(1_000_000))
        sending = asyncio.create_task(kernel.send("h", "x" * 20_000))
        await asyncio.wait_for(failed.wait(), 30)
        assert not sending.done()
        ballast.unlink()
        await asyncio.wait_for(sending, 30)
        await kernel.idle()
        assert hook.stats.failures > 0
        watching.cancel()
    async with FileStorage(tiny_disk / "state") as storage:
        snapshot = await load(storage, "run")
    assert [len(message.text) for message in snapshot.context.history_messages] == [20_000]


async def test_a_folder_that_is_full_from_the_start(tmp_path):
    ops = FaultyFileOps(FileOps())
    ops.fail("create", errno.ENOSPC, times=10_000)
    async with FileStorage(tmp_path / "state", ops=ops) as storage:
        await refusal(storage, StorageFullError)


def rewrite(path: Path, change):
    """Replace the first msgpack object of a file, and keep the rest."""
    data = path.read_bytes()
    unpacker = msgpack.Unpacker()
    unpacker.feed(data)
    first = unpacker.unpack()
    path.write_bytes(msgpack.packb(change(first)) + data[unpacker.tell() :])


async def test_a_folder_written_by_a_newer_version(state):
    def newer(marker):
        kind, _, *fields, _ = marker
        head = msgpack.packb([kind, 99, *fields, 0])[:-1]
        return [kind, 99, *fields, zlib.crc32(head)]

    await asyncio.to_thread(rewrite, state / "kernelckpt", newer)
    before = await asyncio.to_thread(digests, state)
    error = await refusal(f"file:{state}", UnsupportedVersionError)
    assert (error.found, error.supported) == (99, 1)
    assert await asyncio.to_thread(digests, state) == before


def damages(folder: Path):
    """Every file of a run, truncated and with bytes flipped, a copy of the folder at a time."""
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        whole = path.read_bytes()
        for cut in sorted({0, 1, len(whole) // 2, len(whole) - 1}):
            path.write_bytes(whole[:cut])
            yield f"{path.name} cut at {cut}"
        for place in range(0, len(whole), max(1, len(whole) // 25)):
            data = bytearray(whole)
            data[place] ^= 1 << (place % 8)
            path.write_bytes(data)
            yield f"{path.name} flipped at {place}"
        path.write_bytes(whole)


@pytest.mark.may_block
async def test_files_cut_short_and_flipped_are_refused_or_make_no_difference(state, tmp_path):
    async with FileStorage(state) as storage:
        wanted = await load(storage, "run")
    refused = 0
    for what in damages(state):
        copy = tmp_path / "copy"
        shutil.copytree(state, copy)
        before = digests(copy)
        snapshot, hint = None, ""
        try:
            snapshot = await enter(f"file:{copy}")
        except KernelCkptError as error:
            hint = error.hint
        if snapshot is None:
            refused += 1
            assert hint, what
            assert digests(copy) == before, what
        else:
            assert (snapshot.contexts, snapshot.tasks) == (wanted.contexts, wanted.tasks), what
        shutil.rmtree(copy)
    assert refused > 20


BAD_VALUES = {
    "object": object(),
    "complex": 1j,
    "too large": 2**64,
    "set": {1},
    "tuple": (1,),
    "number as key": {1: 2},
    "function": len,
    "lone surrogate": "\ud800",
    "cycle": [],
}
BAD_VALUES["cycle"].append(BAD_VALUES["cycle"])


@pytest.mark.parametrize("name", BAD_VALUES)
async def test_a_state_that_cannot_be_kept_fails_the_task_and_nothing_else(name):
    async def keep(turn):
        turn.say("before")
        turn.set_state({"deep": [BAD_VALUES[name]]})

    storage = MemoryStorage()
    kernel, _ = make(storage, {"keep": keep, "count": count})
    async with kernel:
        await kernel.submit("keep", task_id="k")
        result = await kernel.join("k")
        assert result.error.startswith("InvalidValueError: state")
        assert "deep" in result.error
        await kernel.submit("count", task_id="c")
        assert (await kernel.join("c")).text == "counted"
        with pytest.raises(InvalidValueError) as caught:
            await kernel.submit("count", task_id="d", input=BAD_VALUES[name])
        assert caught.value.hint
        await settled()
    saved = await load(storage, "run")
    assert saved.contexts["k"].history_messages == ()
    assert [row.id for row in saved.tasks] == ["k", "c"]


async def test_a_state_that_is_not_of_its_declared_type():
    async def keep(turn):
        turn.set_state({"count": "many"})

    kernel, _ = make(MemoryStorage(), {"keep": Program(keep, state=dict[str, int])})
    async with kernel:
        await kernel.submit("keep", task_id="k")
        assert "state" in (await kernel.join("k")).error


async def test_numbers_that_are_none_survive():
    async def keep(turn):
        turn.set_state({"nan": math.nan, "inf": -math.inf})
        return turn.complete("kept")

    storage = MemoryStorage()
    kernel, _ = make(storage, {"keep": keep})
    async with kernel:
        await kernel.submit("keep", task_id="k")
        await kernel.join("k")
    value = msgpack.unpackb((await load(storage, "run")).states["k"].data)
    assert math.isnan(value["nan"])
    assert value["inf"] == -math.inf


PROGRAM = """
import asyncio, sys
from kernelckpt import CheckpointHook, Scheduler

async def work(turn):
    return turn.complete("done")

async def main(url, name):
    async with Scheduler({"work": work}, run_id="run", hooks=[CheckpointHook(url, owner_wait=0)]) as kernel:
        await kernel.submit(name, task_id="w")
        print((await kernel.join("w")).text)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.may_block
@pytest.mark.parametrize(
    ("url", "program", "error", "remedy"),
    [
        ("ftp://x", "work", "StorageUrlError", "file:"),
        ("file:{}/file", "work", "StorageUnavailableError", ""),
        ("file:{}/foreign", "work", "StorageUnavailableError", ""),
        ("file:{}/state", "wrok", "UnknownProgramError", "known programs: work"),
    ],
)
def test_a_program_that_is_refused_ends_with_the_error_its_remedy_and_a_code(
    tmp_path, url, program, error, remedy
):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "file").write_text("mine")
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM, url.format(tmp_path), program],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    last = found.stderr.rstrip().splitlines()[-1]
    assert found.returncode == 1
    assert error in last
    assert remedy in last
    assert last.endswith(")"), "the remedy stands in brackets"
