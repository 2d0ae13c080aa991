"""The comparison can fail: every difference between the runs is found."""

import pytest
from msgspec.structs import replace

from kernelckpt.demo.demonstration import Demonstration
from kernelckpt.demo.lives import Life, Run
from kernelckpt.demo.message import Finished, Moment, Restored
from kernelckpt.demo.tree import Tree
from kernelckpt.demo.verdict import checks, lost_turns

TREE = Tree("/source", 2, 1, (), ())


def a_run(**changes):
    run = Run(finished=Finished(5, 70, "digest"), filings={"a": 1, "b": 1}, report=b"one\ntwo\n")
    return replace(run, **changes)


def problems(killed):
    made = Demonstration(TREE, TREE, killed, a_run(), a_run())
    return {check.name: check.problem for check in checks(made) if check.problem}


def test_the_same_is_the_same():
    assert problems(a_run()) == {}


@pytest.mark.parametrize(
    ("change", "name", "said"),
    [
        ({"finished": Finished(6, 70, "digest")}, "turns equal", "6 with kills, 5 without"),
        ({"finished": Finished(5, 71, "digest")}, "tokens equal", "71 with kills, 70 without"),
        ({"finished": Finished(5, 70, "other")}, "every agent's history and result identical", "other"),
        ({"finished": Finished(5, 70, "digest", problem="boom")}, "both runs ended well", "boom"),
        ({"report": b"one\nTWO\n"}, "reports byte-identical", "line 2"),
        ({"report": b""}, "reports byte-identical", "line 1"),
        ({"report": b"one\ntwo"}, "reports byte-identical", "differ"),
        ({"filings": {"a": 2, "b": 1}}, "findings filed once each", "'a': 2 and 1 times"),
        ({"filings": {"a": 1}}, "findings filed once each", "'b': 0 and 1 times"),
        ({"filings": {"a": 1, "b": 1, "c": 1}}, "findings filed once each", "'c': 1 and 0 times"),
    ],
)
def test_a_difference_is_found(change, name, said):
    found = problems(a_run(**change))
    assert list(found) == [name]
    assert said in found[name]


def test_two_missing_reports_are_no_match():
    made = Demonstration(TREE, TREE, a_run(report=b""), a_run(report=b""), a_run())
    assert [check.name for check in checks(made) if check.problem] == ["reports byte-identical"]


def test_lost_turns_are_counted_at_the_kill_that_lost_them():
    back = Restored(turn=9, live=1, interrupted=0, in_doubt=0, seconds=0.1)
    kernel = [
        Life(moment=Moment.TURN, turn=10, begun=10),
        Life(moment=Moment.RESTORE),
        Life(turn=20, begun=11, restored=back),
    ]
    assert list(lost_turns(kernel)) == [0, 1]
    bare = [
        Life(moment=Moment.TURN, turn=10, begun=12),
        Life(moment=Moment.ANY, turn=4, begun=4),
        Life(begun=20),
    ]
    assert list(lost_turns(bare)) == [10, 4]
