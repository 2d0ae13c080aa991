"""Plots of results, as small SVG files that are the same for the same results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt

from benchmarks.kit.result import Curve, Result, Side, spread

mpl.use("svg")
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "kernelckpt",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}


def plot_curves(name: str, curves: Sequence[Curve], path: Path) -> None:
    """One line for each side, both axes logarithmic."""
    with mpl.rc_context(_STYLE):
        _, axes = plt.subplots(figsize=(5.2, 3.2), layout="constrained")
        for curve in curves:
            axes.plot(*zip(*curve.points, strict=True), marker="o", markersize=3, label=curve.side)
        axes.set(xscale="log", yscale="log", xlabel=curves[0].x, ylabel=curves[0].y, title=name)
        axes.legend()
        _save(path)


def plot_sides(result: Result, path: Path) -> None:
    """One bar for each side of the first measure that several sides have, with the quartiles."""
    sides = _shared_measure(result.sides)
    spreads = [spread(side.values) for side in sides]
    with mpl.rc_context(_STYLE):
        _, axes = plt.subplots(figsize=(5.6, 0.8 + 0.34 * len(sides)), layout="constrained")
        middles = [found.median for found in spreads]
        errors = [
            [found.median - found.low for found in spreads],
            [found.high - found.median for found in spreads],
        ]
        colours = ["#2a6f97" if "kernelckpt" in side.side else "#b0b0b0" for side in sides]
        axes.barh([side.side for side in sides], middles, xerr=errors, color=colours)
        axes.invert_yaxis()
        positive = [value for value in middles if value > 0]
        if positive and max(positive) > 30 * min(positive):
            axes.set_xscale("log")
        axes.set_xlabel(f"{sides[0].measure} ({sides[0].unit})" if sides[0].unit else sides[0].measure)
        _save(path)


def _shared_measure(sides: Sequence[Side]) -> list[Side]:
    """The sides of the measure that most have."""
    counts: dict[tuple[str, str], int] = {}
    for side in sides:
        counts[side.measure, side.unit] = counts.get((side.measure, side.unit), 0) + 1
    measure = max(counts, key=lambda key: counts[key])
    return [side for side in sides if (side.measure, side.unit) == measure]


def _save(path: Path) -> None:
    plt.savefig(path, metadata={"Date": None})
    plt.close()
