"""CI looks at ratios: one that fell far below the recorded one, or is not measured any more, is named."""

from __future__ import annotations

import msgspec
import pytest

from benchmarks import compare
from benchmarks.kit.machine import Machine
from benchmarks.kit.result import Result, Target

MORE = Target("more", "as much as can be", 20, at_most=False)
LESS = Target("less", "as little as can be", 1.1)
TIME = Target("time", "under 5 ms", 5, "ms")


def result_of(**values):
    targets = {"more": MORE, "less": LESS, "time": TIME}
    return Result(
        name="bench",
        title="",
        form="short",
        date="",
        seconds=0,
        machine=Machine(1, 1, 0, "", "", 0, {}),
        work="",
        sides=[],
        outcomes=[targets[key].judge(value) for key, value in values.items()],
        curves=[],
    )


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    monkeypatch.setattr(compare, "RECORDED", tmp_path / "recorded.json")
    compare.record([result_of(more=30.0, less=1.0, time=4.0)])
    return tmp_path / "recorded.json"


def test_only_ratios_are_recorded(recorded):
    assert msgspec.json.decode(recorded.read_bytes()) == {"bench/less": 1.0, "bench/more": 30.0}


@pytest.mark.parametrize(("more", "less"), [(30.0, 1.0), (19.0, 1.6), (300.0, 0.1)])
def test_what_is_better_or_a_little_worse_passes(recorded, more, less):
    assert compare.compare([result_of(more=more, less=less, time=400.0)]) == {}


def test_what_fell_by_more_than_40_percent_is_named(recorded):
    assert len(compare.compare([result_of(more=17.9, less=1.0)])) == 1
    [(key, line)] = compare.compare([result_of(more=30.0, less=1.7)]).items()
    assert key == "bench/less"
    assert line.startswith("bench/less: 1.7, recorded 1")


def test_what_is_not_measured_any_more_is_named(recorded):
    assert compare.compare([result_of(less=1.0)]) == {"bench/more": "bench/more: recorded, but not measured"}


def test_the_worst_of_several_runs_is_recorded(recorded):
    compare.record([result_of(more=40.0, less=0.5, time=1.0)])
    assert msgspec.json.decode(recorded.read_bytes()) == {"bench/less": 1.0, "bench/more": 30.0}
    compare.record([result_of(more=20.0, less=1.5, time=1.0)])
    assert msgspec.json.decode(recorded.read_bytes()) == {"bench/less": 1.5, "bench/more": 20.0}
