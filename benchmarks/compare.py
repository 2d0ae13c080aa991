"""Ratios of a new run beside recorded ones; times of different machines may not be compared."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from benchmarks.kit.result import Outcome, Result

RECORDED = Path(__file__).parent / "results" / "recorded.json"
ALLOWED = 0.4
"""A ratio may be worse by this share: two noisy cores make as much of nothing."""


def record(results: Iterable[Result]) -> None:
    """Keep the ratios of these results."""
    data = msgspec.json.encode(dict(sorted(_ratios(results).items())))
    RECORDED.write_bytes(msgspec.json.format(data, indent=1) + b"\n")


def compare(results: Iterable[Result]) -> list[str]:
    """A line for each ratio that is 40 % worse than the recorded one, or missing."""
    recorded = msgspec.json.decode(RECORDED.read_bytes(), type=dict[str, float])
    found = {key: outcome for result in results for key, outcome in _compared(result)}
    lines = []
    for key, before in recorded.items():
        outcome = found.get(key)
        if outcome is None:
            lines.append(f"{key}: recorded, but not measured")
        elif _fell(outcome, before):
            lines.append(f"{key}: {outcome.value:.3g}, recorded {before:.3g} ({outcome.words})")
    return lines


def _fell(outcome: Outcome, before: float) -> bool:
    kept = before / outcome.value if outcome.at_most else outcome.value / before
    return kept < 1 - ALLOWED


def _ratios(results: Iterable[Result]) -> dict[str, float]:
    return {key: outcome.value for result in results for key, outcome in _compared(result)}


def _compared(result: Result) -> list[tuple[str, Outcome]]:
    return [(f"{result.name}/{outcome.key}", outcome) for outcome in result.outcomes if outcome.compared]
