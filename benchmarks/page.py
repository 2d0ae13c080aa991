"""Writes the measured part of docs/performance.md, and the plots it shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.kit.machine import Machine
from benchmarks.kit.result import Curve, Result
from benchmarks.table import outcome_table, side_table

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
PLOTS = "plots"
_BEGIN = "<!-- measured: written by `python -m benchmarks page`, not by hand -->"
_END = "<!-- end of what was measured -->"


def write_page(results: Sequence[Result]) -> None:
    """Replace what lies between the marks of the page; what stands around them is written by hand."""
    before, _, rest = PAGE.read_text().partition(_BEGIN)
    PAGE.write_text(before + measured(results) + rest.partition(_END)[2])
    _plot(results, PAGE.parent / PLOTS)


def measured(results: Sequence[Result]) -> str:
    """The measured part of the page, with its marks."""
    return "\n\n".join([_BEGIN, _summary(results), *map(_section, results), _END])


def _summary(results: Sequence[Result]) -> str:
    reached = [outcome.reached for result in results for outcome in result.outcomes]
    return (
        f"## Targets\n\n{sum(reached)} of {len(reached)} are reached. {_machine(results[-1].machine)}\n\n"
        + outcome_table(results)
    )


def _machine(machine: Machine) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    return (
        f"{machine.cores} cores, {machine.memory_mb / 1024:.0f} GiB, {machine.file_system}, a write and "
        f"`fdatasync` of 4 KiB in {machine.sync_ms:.2f} ms; {machine.system}; {versions}."
    )


def _section(result: Result) -> str:
    plots = "\n".join(f"![{title}]({PLOTS}/{name})" for title, name in _plot_names(result))
    return (
        f"## {result.title}\n\n`python -m benchmarks {result.name}`, {result.form} form, {result.date}, "
        f"load {result.machine.load:g}: {result.work}.\n\n{side_table(result)}\n\n{plots}"
    )


def _plot_names(result: Result) -> list[tuple[str, str]]:
    """Title and file of each plot."""
    if not result.curves:
        return [(result.title, f"{result.name}.svg")]
    return [
        (f"{y} over {x}", f"{result.name}-{x}-{y}.svg".replace(" ", "-")) for x, y in _curve_groups(result)
    ]


def _curve_groups(result: Result) -> dict[tuple[str, str], list[Curve]]:
    groups: dict[tuple[str, str], list[Curve]] = {}
    for curve in result.curves:
        groups.setdefault((curve.x, curve.y), []).append(curve)
    return groups


def _plot(results: Sequence[Result], folder: Path) -> None:
    from benchmarks.plot import plot_curves, plot_sides  # noqa: PLC0415 - tables are made without it

    folder.mkdir(exist_ok=True)
    for result in results:
        names = _plot_names(result)
        if not result.curves:
            plot_sides(result, folder / names[0][1])
        for (title, name), curves in zip(names, _curve_groups(result).values(), strict=False):
            plot_curves(title, curves, folder / name)
