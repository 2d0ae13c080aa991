"""What a checkpoint hook has done so far."""

from __future__ import annotations

from msgspec import Struct


class HookStats(Struct, frozen=True):
    """Counts since the kernel was entered; statistics, not state.

    Attributes:
        checkpoints: deltas made durable.
        bytes_written: their bytes.
        bases: bases finished.
        base_bytes: their bytes.
        commits: commits seen.
        failures: attempts to save that failed.
        pruned_bytes: bytes that retention has removed.
        append_seconds: how long all appends took, waiting for the storage included.
        longest_hold_seconds: the longest time the hook held the event loop.
        restore_seconds: how long reading and rebuilding took on start.
    """

    checkpoints: int = 0
    bytes_written: int = 0
    bases: int = 0
    base_bytes: int = 0
    commits: int = 0
    failures: int = 0
    pruned_bytes: int = 0
    append_seconds: float = 0.0
    longest_hold_seconds: float = 0.0
    restore_seconds: float = 0.0
