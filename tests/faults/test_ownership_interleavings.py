"""However owners come between each other's calls, none is told that something is kept which is not."""

from unittest import mock

import pytest
from ownership_kit import Ownership

from kernelckpt.errors import FencedError
from kernelckpt.storage.file.claim import RunClaim
from kernelckpt.storage.file.listing import RunView
from kernelckpt.storage.file.name import owner_name
from kernelckpt.storage.file.owner import exists
from kernelckpt.testing import InterleavingFoundError

pytestmark = pytest.mark.may_block  # actors wait for their turn

CASTS = (
    ("taker", "taker", "taker"),
    ("taker", "guest", "pruner"),
    ("taker", "meddler", "taker"),
    ("copier", "copier", "taker"),
    ("copier", "guest", "taker"),
)
"""A meddler deletes the newest owner file, as if it were a stale lock."""


@pytest.mark.parametrize("cast", CASTS, ids="-".join)
def test_every_order_with_one_interruption(cast):
    """As when a process is stopped, and goes on later; `explore_ownership.py` tries more interruptions."""
    ownership = Ownership(*cast)
    assert ownership.explore(1)
    print(f"\n{ownership.interleavings.runs} orders of {ownership.interleavings.turns} turns")
    assert ownership.interleavings.runs > 400


@pytest.mark.parametrize("cast", [*CASTS, ("guest", "pruner", "pruner", "taker")], ids="-".join)
def test_random_orders(cast):
    Ownership(*cast).sample(200)


def skip(*_, **__):
    return None


def check_first(claim, segment, pieces):
    """Look whether the run is still ours before the write, not after it."""
    claim.check()
    claim.check = skip
    try:
        write_acknowledged(claim, segment, pieces)
    finally:
        del claim.check


def look_for_owners_only(claim):
    """Believe that no later owner file means no later owner."""
    if exists(claim._ops, f"{claim.run.path}/{owner_name(claim.epoch + 1)}") or not claim._has_own_file():
        raise FencedError("over")


def newer_than_all_owners(view):
    """Believe that what is older than all owner files was pruned."""
    return view.segments[-1].epoch if view.segments and view.segments[-1].epoch > view.newest_epoch else 0


write_acknowledged = RunClaim._write_acknowledged
STEPS = {
    "the epoch is checked": mock.patch.object(RunClaim, "check", skip),
    "it is checked after the write": mock.patch.object(RunClaim, "_write_acknowledged", check_first),
    "a segment tells of an owner file that was deleted": mock.patch.object(
        RunClaim, "check", look_for_owners_only
    ),
    "what has no owner file left was not pruned": mock.patch.object(
        RunView, "ownerless", property(newer_than_all_owners)
    ),
    "owners whose epochs are no neighbours find each other": mock.patch(
        "kernelckpt.storage.file.epoch._fence_older", return_value=True
    ),
    "an epoch's beginning ends older ones": mock.patch(
        "kernelckpt.storage.file.listing._limits", lambda segments, *_: [1 << 64] * len(segments)
    ),
}


@pytest.mark.parametrize("step", STEPS)
def test_every_step_is_needed(step):
    other = "meddler" if "owner file" in step else "copier" if "neighbours" in step else "taker"
    ownership = Ownership("taker", other, "taker")
    with STEPS[step], pytest.raises(InterleavingFoundError):
        ownership.explore(1)
