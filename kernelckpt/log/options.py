"""Settings and statistics of a log."""

from __future__ import annotations

from msgspec import Struct


class LogOptions(Struct, frozen=True):
    """When bases pay, and how failures are met.

    Attributes:
        base_min_bytes: no base is due before that many bytes of deltas, nor before they are half of the items
            that the last base refers to, until that comes to eight times as many.
        base_factor: ... nor before the deltas are that many times as large as the last base,
        base_max_entries: unless that many entries were written since.
        sparse_below: items are copied out of a segment once less than this share of it is alive.
        max_consecutive_failures: with one more failed append in a row the log gives up; with the pauses
            below, half a minute after the first one.
        retry_first: seconds to wait after the first failure; doubled for each further one,
        retry_longest: up to this.
        append_seconds: an append that takes longer is taken for one whose answer was lost.
        slice_seconds: how long the log works before it lets the event loop run others; on an entry of over
            500 changes for longer, if they take longer as well: half as long, and no more than 5 us a change.
    """

    base_min_bytes: int = 1024 * 1024
    base_factor: float = 2.0
    base_max_entries: int = 2000
    sparse_below: float = 0.5
    max_consecutive_failures: int = 12
    retry_first: float = 0.05
    retry_longest: float = 5.0
    append_seconds: float = 60.0
    slice_seconds: float = 0.0005


class LogStats(Struct):
    """Counts of one log since it was opened.

    Attributes:
        entries: entries made durable.
        bytes_written: their bytes.
        changes: changes in them.
        bases: bases finished.
        base_bytes: their bytes.
        failures: attempts that failed.
        consecutive_failures: ... since the last success.
        append_seconds: how long all appends took, waiting for the storage included.
        last_append_seconds: how long the last one took.
        longest_slice_seconds: the longest time the log held the event loop.
    """

    entries: int = 0
    bytes_written: int = 0
    changes: int = 0
    bases: int = 0
    base_bytes: int = 0
    failures: int = 0
    consecutive_failures: int = 0
    append_seconds: float = 0.0
    last_append_seconds: float = 0.0
    longest_slice_seconds: float = 0.0
