"""Which records could not be read: a rule says nothing of what only looks wrong without them."""

from __future__ import annotations

from kernelckpt.abc import Key
from kernelckpt.checkpoint.decoded_run import DecodedRun
from kernelckpt.codec.record import path_of


def is_unreadable(run: DecodedRun, *keys: Key) -> bool:
    """Whether one of these records is there, but is not what it should be."""
    paths = tuple(path_of(key) for key in keys)
    inside = tuple(f"{path}{mark}" for path in paths for mark in ".[")
    return any(found.where in paths or found.where.startswith(inside) for found in run.findings)
