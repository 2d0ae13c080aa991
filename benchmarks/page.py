"""Writes the measured part of docs/performance.md, and the plots it shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.kit.machine import Machine
from benchmarks.kit.result import Curve, Result
from benchmarks.table import outcome_table, side_table

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
PLOTS = PAGE.parent / "plots"
_BEGIN = "<!-- measured: written by `python -m benchmarks page`, not by hand -->"
_END = "<!-- end of what was measured -->"


def write_page(results: Sequence[Result]) -> None:
    """Replace what lies between the marks of the page; what stands around them is written by hand."""
    PLOTS.mkdir(exist_ok=True)
    page = PAGE.read_text()
    before, _, rest = page.partition(_BEGIN)
    after = rest.partition(_END)[2]
    parts = [_summary(results), *(_section(result) for result in results)]
    PAGE.write_text(before + _BEGIN + "\n\n" + "\n\n".join(parts) + "\n\n" + _END + after)


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
    plots = "\n".join(f"![{name}](plots/{path.name})" for name, path in _plots(result))
    return (
        f"## {result.title}\n\n`python -m benchmarks {result.name}`, {result.form} form, {result.date}, "
        f"load {result.machine.load:g}: {result.work}.\n\n{side_table(result)}\n\n{plots}"
    )


def _plots(result: Result) -> list[tuple[str, Path]]:
    from benchmarks.plot import plot_curves, plot_sides  # noqa: PLC0415 - takes a second, and only this needs it

    if not result.curves:
        path = PLOTS / f"{result.name}.svg"
        plot_sides(result, path)
        return [(result.title, path)]
    groups: dict[tuple[str, str], list[Curve]] = {}
    for curve in result.curves:
        groups.setdefault((curve.x, curve.y), []).append(curve)
    made = []
    for (x, y), curves in groups.items():
        path = PLOTS / f"{result.name}-{x}-{y}.svg".replace(" ", "-")
        plot_curves(f"{y} over {x}", curves, path)
        made.append((f"{y} over {x}", path))
    return made
