"""The figures of benchmarks are made of these: statistics, targets, tables, and a hook that can be asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.command import NAMES, NEED_SERVERS
from benchmarks.kit.result import Target, quantile, ratios, spread
from benchmarks.kit.rounds import interleaved
from benchmarks.sides.agents import Course, MeasuredHook, kernel_of, populate, resume
from benchmarks.sides.bare import Records
from benchmarks.table import number
from kernelckpt import MemoryStorage

FOLDER = Path(__file__).parent.parent.parent / "benchmarks"


def test_every_benchmark_can_be_named():
    found = {path.stem for path in FOLDER.glob("*.py") if "\nTARGETS = " in path.read_text()}
    assert found == {*NAMES, *NEED_SERVERS}


def test_a_target_is_reached_at_its_limit_by_the_median():
    at_most, at_least = Target("a", "", 2.0), Target("b", "", 2.0, at_most=False)
    assert at_most.judge([1.0, 2.0, 9.0]).reached
    assert not at_most.judge([1.0, 2.1, 2.2]).reached
    assert at_least.judge([0.0, 2.0, 2.0]).reached
    assert not at_least.judge(1.9).reached


def test_a_spread_is_the_median_and_the_quartiles():
    found = spread([5.0, 1.0, 3.0, 4.0, 2.0])
    assert (found.low, found.median, found.high) == (2.0, 3.0, 4.0)
    assert ratios([4.0, 9.0], [2.0, 3.0]) == [2.0, 3.0]


@pytest.mark.parametrize(("share", "found"), [(0.99, 99), (0.5, 50), (0.07, 7), (1.0, 100), (0.0, 1)])
def test_a_quantile_is_the_smallest_value_that_the_share_does_not_exceed(share, found):
    assert quantile(range(100, 0, -1), share) == found


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (12345.6, "12,346"), (3.14159, "3.14"), (0.01234, "0.0123"), (-27.2, "-27.2")],
)
def test_numbers_have_three_digits(value, text):
    assert number(value) == text


async def test_rounds_begin_with_another_side_each_time():
    order = []

    def side(name):
        async def measure():
            order.append(name)
            return len(order)

        return measure

    found = await interleaved(2, {"a": side("a"), "b": side("b")})
    assert order == ["a", "b", "b", "a"]
    assert found == {"a": [1, 4], "b": [2, 3]}


async def test_a_hold_is_told_once():
    hook = MeasuredHook(MemoryStorage(), every=None, durable=False)
    async with kernel_of(hook) as kernel:
        await populate(kernel, 3)
        await resume(kernel, range(3))
        await hook.checkpoint()
        assert hook.take_hold() > 0
        assert hook.take_hold() == 0
        assert [len(kernel.context(f"agent-{index}").history) for index in range(3)] == [2, 2, 2]


async def test_every_turn_is_acknowledged_before_the_next():
    hook = MeasuredHook(MemoryStorage(), every=None, max_ahead=0)
    course = Course(4)
    async with kernel_of(hook, course) as kernel:
        await kernel.submit("converse", task_id="one")
        await kernel.join()
    assert len(course.begun) == 4
    assert len(hook.acknowledged) == 4
    assert hook.ahead == 2  # the kernel begins, and is given a task, at once


def test_bare_records_are_all_read(tmp_path):
    records = Records(tmp_path / "records", 3, 2)
    records.write()
    assert records.read() > 0
