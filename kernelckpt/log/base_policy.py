"""When a base pays: once reading the deltas again costs more than the base did."""

from __future__ import annotations

from kernelckpt.codec.entry import BaseFacts
from kernelckpt.log.options import LogOptions
from kernelckpt.log.read_run import LoadedRun

_FAILED_PAUSE_ENTRIES = 16
_LIVE_SHARE = 0.5
_MOST_GROWTH = 8


class BasePolicy:
    """Counts what was written since the last base."""

    def __init__(self, options: LogOptions, loaded: LoadedRun) -> None:
        """Go on counting from a run as it was loaded."""
        self._options = options
        self._entries = loaded.deltas
        self._bytes = loaded.delta_bytes
        self._bytes_due = self._due_after(loaded.facts)
        self._wanted = bool(loaded.bad_bases)
        self._failures = 0
        self._not_before = 0

    @property
    def due(self) -> bool:
        """Whether a base should be written now."""
        if self._entries < self._not_before:
            return False
        too_many = self._entries > self._options.base_max_entries
        return self._wanted or self._bytes > self._bytes_due or too_many

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

    def base_written(self, facts: BaseFacts, entries: int, entry_bytes: int) -> None:
        """Count anew from this base; so many entries were written while it was scanned."""
        self._entries = entries
        self._bytes = entry_bytes
        self._bytes_due = self._due_after(facts)
        self._wanted = False
        self._failures = 0
        self._not_before = 0

    def _due_after(self, facts: BaseFacts | None) -> float:
        """How many bytes of deltas make the next base due.

        Items are read from deltas as from where a base refers to: a few more of them cost a restore little.
        So bases come more rarely as a history grows, up to a size that is read in an instant.
        """
        least = self._options.base_min_bytes
        if facts is None:
            return least
        live = sum(entries.live for entries in facts.entries) + sum(blob.live for blob in facts.blobs)
        grown = min(_LIVE_SHARE * live, _MOST_GROWTH * least)
        return max(least, grown, self._options.base_factor * facts.state.size)
