"""Every call of the file system fails in every way: the run goes on, or ends typed, and nothing is lost."""

import shlex
from unittest import mock

import explore_crashes
import pytest
from fault_kit_fs import Faults

from kernelckpt.storage.file.claim import RunClaim
from kernelckpt.storage.file.owner import write_mark, write_removed
from kernelckpt.testing import CrashFoundError

CLAIM = "kernelckpt.storage.file.claim."

pytestmark = pytest.mark.may_block  # the simulated file system is called on the loop; it waits for nothing


@pytest.mark.parametrize(
    ("operations", "lasting"),
    [
        ("delta takeover", False),
        ("base base prune", False),
        ("base base prune", True),
        ("restart batch", True),
    ],
)
async def test_every_call_may_fail(operations, lasting):
    """Each fails once; or from one time on until the process has seen it, as a full disk does."""
    exploration = Faults(images=3, points=2, lasting=lasting)
    await exploration.all_faults(operations.split())
    print(f"\n{exploration}")
    assert exploration.faults.faults > 800
    assert exploration.explorer.counts.images > 500
    assert exploration.died > 0 or not lasting


def mark_again(claim, removed):
    write_mark(claim._ops, claim._mark_fd, claim.epoch, claim.head)
    write_removed(claim._ops, claim._mark_fd, removed)


def retried_sync(ops, fd, path):
    try:
        ops.fdatasync(fd)
    except OSError:
        ops.fdatasync(fd)


def write_once(ops, fd, pieces, offset):
    return offset + ops.pwritev(fd, pieces, offset)


def write_nothing(ops, fd, pieces, offset):
    return offset + sum(map(len, pieces))


STEPS = {
    "a failed sync is not tried again": (mock.patch(CLAIM + "sync_data", retried_sync), False),
    "a segment ends with a failure": (
        mock.patch.object(RunClaim, "_close_segment", return_value=None),
        False,
    ),
    "a short write is gone on with": (mock.patch(CLAIM + "write_all", write_once), False),
    "a mark whose sync failed is not used again": (
        mock.patch.object(RunClaim, "_write_removed", mark_again),
        False,
    ),
    "what was found is written again": (
        mock.patch("kernelckpt.storage.file.sync.write_all", write_nothing),
        True,
    ),
}
"""Each with whether it is needed for faults that last."""


@pytest.mark.parametrize("step", STEPS)
async def test_every_step_is_needed(step):
    """The exploration sees what each step is for."""
    broken, lasting = STEPS[step]
    exploration = Faults(images=6, errors=["EIO"], lasting=lasting)
    with broken, pytest.raises(CrashFoundError):
        await exploration.all_faults(["delta", "base", "delta", "base", "prune"])


async def test_a_failure_prints_the_command_that_comes_to_it_again(capsys):
    with STEPS["a short write is gone on with"][0]:
        assert await explore_crashes.main(["--ops", "1", "--images", "6", "--faults", "once"]) == 1
        found, command = capsys.readouterr().out.splitlines()[-2:]
        assert ":short" in command
        assert await explore_crashes.main(shlex.split(command)[3:]) == 1
        assert capsys.readouterr().out.splitlines() == [found, command]
