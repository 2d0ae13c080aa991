"""The version of the format, and the registry of steps that bring older bytes up to it."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from kernelckpt.abc import Change
from kernelckpt.errors import DecodeError, UnsupportedVersionError

FORMAT: Final = "kckpt"
"""The first object of every entry and blob begins with this name."""

FORMAT_VERSION = 2
"""What this package writes, and the newest it reads."""

UpgradeStep: TypeAlias = Callable[[Sequence[Change]], Sequence[Change]]
"""Changes as version v kept them, to the same changes as version v + 1 keeps them."""


def _unchanged(changes: Sequence[Change]) -> Sequence[Change]:
    """Version 2 names the key of a container in its header; changes are kept as in version 1."""
    return changes


UPGRADES: Mapping[int, UpgradeStep] = {1: _unchanged}
"""The step away from each older version that is still read, by that version."""


def check_version(found: Any, where: str, steps: Mapping[int, UpgradeStep] = UPGRADES) -> int:
    """Return the version found if it can be read.

    Args:
        found: the second element of a header or of an entry's metadata.
        where: the place, for the message.
        steps: the upgrade steps at hand.

    Raises:
        UnsupportedVersionError: it is newer, or older than the oldest step.
        DecodeError: it is no version number.
    """
    if type(found) is not int or found < 0:
        raise DecodeError(f"{where}: {reprlib.repr(found)} is no format version", path=where)
    if found > FORMAT_VERSION:
        raise UnsupportedVersionError(
            f"{where}: written in format {found}, this package reads up to {FORMAT_VERSION}",
            hint="upgrade kernelckpt",
            found=found,
            supported=FORMAT_VERSION,
        )
    for version in range(found, FORMAT_VERSION):
        if version not in steps:
            raise UnsupportedVersionError(
                f"{where}: written in format {found}, and no step leads from {version} to {version + 1}",
                hint="restore with the kernelckpt release that wrote it, or an older one than this",
                found=found,
                supported=FORMAT_VERSION,
            )
    return found


def upgrade(
    changes: Sequence[Change], found: int, steps: Mapping[int, UpgradeStep] = UPGRADES
) -> Sequence[Change]:
    """Changes written in version `found`, as the present version keeps them."""
    for version in range(found, FORMAT_VERSION):
        changes = steps[version](changes)
    return changes
