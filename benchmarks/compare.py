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
    """Keep the ratios of these results, or what is recorded already where that is worse.

    So the recorded ones are the worst of several runs; remove the file to begin anew.
    """
    kept = _recorded() if RECORDED.exists() else {}
    for key, outcome in _found(results).items():
        worse = max if outcome.at_most else min
        kept[key] = worse(kept.get(key, outcome.value), outcome.value)
    data = msgspec.json.encode(dict(sorted(kept.items())))
    RECORDED.write_bytes(msgspec.json.format(data, indent=1) + b"\n")


def compare(results: Iterable[Result]) -> dict[str, str]:
    """A line for each ratio that is 40 % worse than the recorded one, or missing, by benchmark and ratio."""
    found = _found(results)
    lines = {}
    for key, before in _recorded().items():
        outcome = found.get(key)
        if outcome is None:
            lines[key] = f"{key}: recorded, but not measured"
        elif _fell(outcome, before):
            lines[key] = f"{key}: {outcome.value:.3g}, recorded {before:.3g} ({outcome.words})"
    return lines


def _recorded() -> dict[str, float]:
    return msgspec.json.decode(RECORDED.read_bytes(), type=dict[str, float])


def _fell(outcome: Outcome, before: float) -> bool:
    kept = before / outcome.value if outcome.at_most else outcome.value / before
    return kept < 1 - ALLOWED


def _found(results: Iterable[Result]) -> dict[str, Outcome]:
    return {
        f"{result.name}/{outcome.key}": outcome
        for result in results
        for outcome in result.outcomes
        if outcome.compared
    }
