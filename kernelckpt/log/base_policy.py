"""When a base pays: once reading the deltas again costs more than the base did."""

from __future__ import annotations

from kernelckpt.log.options import LogOptions
from kernelckpt.log.read_run import LoadedRun

_FAILED_PAUSE_ENTRIES = 16


class BasePolicy:
    """Counts what was written since the last base."""

    def __init__(self, options: LogOptions, loaded: LoadedRun) -> None:
        """Go on counting from a run as it was loaded."""
        self._options = options
        self._entries = loaded.deltas
        self._bytes = loaded.delta_bytes
        self._base_size = loaded.facts.state.size if loaded.facts else 0
        self._wanted = bool(loaded.bad_bases)
        self._failures = 0
        self._not_before = 0

    @property
    def due(self) -> bool:
        """Whether a base should be written now."""
        if self._entries < self._not_before:
            return False
        options = self._options
        bytes_due = max(options.base_min_bytes, options.base_factor * self._base_size)
        return self._wanted or self._bytes > bytes_due or self._entries > options.base_max_entries

    def want(self) -> None:
        """A base is due at once: what was written earlier may not be there after all."""
        self._wanted = True

    def entry_written(self, size: int) -> None:
        """Count an entry."""
        self._entries += 1
        self._bytes += size

    def base_failed(self) -> None:
        """Wait for some entries, twice as many each time, before the next try."""
        self._not_before = self._entries + _FAILED_PAUSE_ENTRIES * 2 ** min(self._failures, 6)
        self._failures += 1

    def base_written(self, size: int, entries: int, entry_bytes: int) -> None:
        """Count anew from a base of this size; so many entries were written while it was scanned."""
        self._entries = entries
        self._bytes = entry_bytes
        self._base_size = size
        self._wanted = False
        self._failures = 0
        self._not_before = 0
