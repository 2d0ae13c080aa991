"""What a benchmark says: targets as data, what each side measured, and which targets were reached."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from statistics import median

from msgspec import Struct

from benchmarks.kit.machine import Machine


class Spread(Struct, frozen=True):
    """The middle and the quartiles of values of several rounds."""

    low: float
    median: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """The quartiles of some values; of fewer than four: the smallest, the median and the largest."""
    ordered = sorted(values)
    if len(ordered) < 4:
        return Spread(ordered[0], median(ordered), ordered[-1])
    count = len(ordered)
    return Spread(ordered[count // 4], median(ordered), ordered[3 * count // 4])


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that this share of them does not exceed: of a hundred, p99 is the second largest."""
    rank = ceil(round(share * len(values), 6))  # 0.07 * 100 is a little more than 7
    return sorted(values)[max(rank, 1) - 1]


class Outcome(Struct, frozen=True):
    """A target and what was measured for it.

    Attributes:
        key: its name in the recorded ratios.
        words: the target in words.
        value: what was measured: the median over the rounds.
        limit: the value to reach.
        unit: "" for a ratio of two figures of the same run.
        at_most: whether smaller is better.
        reached: whether it was.
        compared: whether `compare` watches it: a ratio that noise alone does not turn by 40 %.
    """

    key: str
    words: str
    value: float
    limit: float
    unit: str
    at_most: bool
    reached: bool
    compared: bool


class Target(Struct, frozen=True):
    """What is to be reached; the attributes are those of `Outcome`."""

    key: str
    words: str
    limit: float
    unit: str = ""
    at_most: bool = True
    compared: bool = True

    def judge(self, values: Sequence[float] | float) -> Outcome:
        """Compare the median of what was measured with the limit."""
        value = values if isinstance(values, (int, float)) else median(values)
        return Outcome(
            key=self.key,
            words=self.words,
            value=value,
            limit=self.limit,
            unit=self.unit,
            at_most=self.at_most,
            reached=value <= self.limit if self.at_most else value >= self.limit,
            compared=self.compared and not self.unit,
        )


class Side(Struct, frozen=True):
    """What one side measured: a value for each round."""

    side: str
    measure: str
    unit: str
    values: list[float]


class Curve(Struct, frozen=True):
    """How a figure of one side grows."""

    side: str
    x: str
    y: str
    points: list[tuple[float, float]]


class Findings(Struct, frozen=True):
    """What a benchmark hands back.

    Attributes:
        work: what was done, with its sizes.
        sides: figures of every side.
        outcomes: one for each target.
        curves: to be plotted.
    """

    work: str
    sides: list[Side]
    outcomes: list[Outcome]
    curves: list[Curve] = []


class Result(Struct, frozen=True):
    """Findings with where and when they were made; what `results/NAME.json` holds."""

    name: str
    title: str
    form: str
    date: str
    seconds: float
    machine: Machine
    work: str
    sides: list[Side]
    outcomes: list[Outcome]
    curves: list[Curve]


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Round by round, how many times theirs ours is."""
    return [a / b for a, b in zip(ours, theirs, strict=True)]


def differences(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Round by round, how much more ours is than theirs."""
    return [a - b for a, b in zip(ours, theirs, strict=True)]
