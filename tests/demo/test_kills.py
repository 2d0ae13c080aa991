"""Where the kills come."""

import pytest

from kernelckpt.demo.kills import kill_plan
from kernelckpt.demo.message import Moment


@pytest.mark.parametrize("seed", range(20))
def test_every_moment_is_hit_and_the_approval_last(seed):
    plan = kill_plan(1000, seed, False)
    assert {aim.moment for aim in plan} == set(Moment)
    assert plan[-1].moment is Moment.APPROVAL
    turns = [aim.turns for aim in plan if aim.turns]
    assert turns == sorted(turns)
    assert max(turns) < 1000


def test_a_seed_decides():
    assert kill_plan(1000, 1, False) == kill_plan(1000, 1, False)
    assert kill_plan(1000, 1, False) != kill_plan(1000, 2, False)


def test_bare_asyncio_gets_the_same_kills_as_far_as_they_exist():
    kernel, bare = kill_plan(500, 7, False), kill_plan(500, 7, True)
    assert [aim.turns for aim in kernel] == [aim.turns for aim in bare]
    changed = {one.moment for one, other in zip(kernel, bare, strict=True) if one != other}
    assert changed == {Moment.BASE}
