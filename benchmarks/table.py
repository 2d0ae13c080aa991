"""Results as Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.kit.result import Outcome, Result, Side, spread


def side_table(result: Result) -> str:
    """What each side measured: the median over the rounds, and the quartiles."""
    lines = ["| side | what | median | quartiles |", "|---|---|---|---|"]
    return "\n".join([*lines, *map(_side_row, result.sides)])


def _side_row(side: Side) -> str:
    found = spread(side.values)
    quartiles = f"{number(found.low)} - {number(found.high)}" if len(side.values) > 1 else ""
    return f"| {side.side} | {side.measure} | {number(found.median)} {side.unit} | {quartiles} |"


def outcome_table(results: Iterable[Result]) -> str:
    """The targets, what was measured for them, and whether they were reached."""
    lines = ["| benchmark | target | measured | reached |", "|---|---|---|---|"]
    return "\n".join(
        [*lines, *(_outcome_row(result, outcome) for result in results for outcome in result.outcomes)]
    )


def _outcome_row(result: Result, outcome: Outcome) -> str:
    measured = f"{number(outcome.value)} {outcome.unit or 'x'}"
    return f"| {result.name} | {outcome.words} | {measured} | {'yes' if outcome.reached else '**no**'} |"


def number(value: float) -> str:
    """Three digits that count, without an exponent."""
    if value == 0 or abs(value) >= 1000:
        return f"{value:,.0f}"
    digits = max(0, 2 - _magnitude(abs(value)))
    return f"{value:.{digits}f}"


def _magnitude(value: float) -> int:
    return int(f"{value:e}".split("e")[1])
