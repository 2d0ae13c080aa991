"""A disk that fills up: what was acknowledged stays, the error says so, and with space the run goes on."""

import asyncio
import errno
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from unittest import mock

import anyio
import crash_kit_fs
import pytest
from crash_kit_fs import History, Life, repeatable, work

from kernelckpt.errors import CheckpointFailedError, StorageFullError
from kernelckpt.log import LogOptions
from kernelckpt.testing import SimFileSystem

CHILD = Path(__file__).with_name("limited_process.py")
PLENTY = 1 << 40


class SmallDisk:
    """A simulated file system that has room for so many more bytes; a write takes what fits, as on Linux.

    Attributes:
        room: bytes by which files may still grow.
    """

    def __init__(self, fs, room=PLENTY):
        self._fs = fs
        self.room = room

    def __getattr__(self, name):
        return getattr(self._fs, name)

    def pwritev(self, fd, pieces, offset):
        data = b"".join(pieces)
        size = self._fs.fstat(fd).size
        growth = min(max(0, offset + len(data) - size), self.room)
        taken = data[: size + growth - offset]
        if data and not taken:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.room -= growth
        return self._fs.pwritev(fd, [taken], offset)


@pytest.fixture
def start():
    """A run of some entries and a base, to be gone on with again and again."""
    with (
        repeatable(1 << 20),
        mock.patch.object(crash_kit_fs, "OPTIONS", LogOptions(max_consecutive_failures=0)),
    ):
        yield


async def prepared():
    fs = SimFileSystem()
    life, _ = await work(await Life.open(fs, History()), ("delta", "base", "delta"))
    await life.close()
    return fs


async def attempt(life, operations):
    """Do these until one fails; returns the error, or None."""
    try:
        for operation in operations:
            await getattr(life, operation)()
    except (StorageFullError, CheckpointFailedError) as error:
        return error
    return None


async def test_space_may_end_at_every_byte_of_a_base_and_its_entries(start):
    fs = await prepared()
    state = await state_of(fs)
    error, room = StorageFullError(""), -1
    while error is not None:
        room += 1
        disk = SmallDisk(fs.killed(fs.point))
        with repeatable(1 << 20, start=2):
            life = await Life.open(disk, History(state))
            disk.room = room
            error = await attempt(life, ("base",))
            assert error is None or "free space" in error.hint, room
            disk.room = PLENTY
            if life.log.failure is not None:
                await life.storage.aclose()
                life = await Life.open(disk, life.history)
            await life.delta()
            await life.close()
            assert await state_of(disk) == life.state, room
    assert room > 400


async def state_of(fs):
    """What somebody finds who comes by."""
    return await crash_kit_fs.read_only(fs.killed(fs.point))


@pytest.fixture
def open_folder():
    """A folder that everybody may pass, for a process that gives up its rights."""
    base = "/dev/shm" if os.path.isdir("/dev/shm") else None
    path = tempfile.mkdtemp(dir=base)
    os.chmod(path, 0o755)
    yield path
    shutil.rmtree(path)


async def limited(mode, folder):
    """What the process told in the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(CHILD),
        mode,
        folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    with anyio.fail_after(60):
        out, complaints = await process.communicate()
    assert process.returncode == 0, complaints.decode()
    return json.loads(out)


async def test_a_limit_on_file_sizes_may_be_met_at_every_offset_of_a_base(open_folder):
    told = await limited("file-size", open_folder)
    assert told["offsets"] > 100
    assert told["version"] > 2


async def test_a_process_without_descriptors_goes_on_and_its_bases_wait(open_folder):
    told = await limited("files", open_folder)
    assert (told["meanwhile"], told["after"]) == (0, 1)
    assert "Too many open files" in told["errors"][0]
    assert "ulimit -n" in told["errors"][0]
    assert open_folder in told["errors"][0]


async def test_a_folder_that_may_not_be_written_to_holds_back_bases_only(open_folder):
    told = await limited("rights", open_folder)
    assert (told["meanwhile"], told["after"]) == (0, 1)
    assert "give this user the right" in told["errors"][0]
    assert open_folder in told["errors"][0]
