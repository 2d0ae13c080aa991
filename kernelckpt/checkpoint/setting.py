"""Settings that are numbers of something: checked before anything is begun."""

from __future__ import annotations

from kernelckpt.errors import UsageError


def check_more_than_0(**settings: float | None) -> None:
    """Raise `UsageError`, by name, for one that is 0 or less; None stands for none."""
    for name, value in settings.items():
        if value is not None and value <= 0:
            raise UsageError(f"{name} is {value}", hint="more than 0, or None")


def check_0_or_more(**settings: float) -> None:
    """Raise `UsageError`, by name, for one that is less than 0."""
    for name, value in settings.items():
        if value < 0:
            raise UsageError(f"{name} is {value}", hint="0 or more")
