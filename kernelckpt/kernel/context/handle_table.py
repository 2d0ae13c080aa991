"""The handle table: whether a tool result lies in the history whole, as a preview, or elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Self

from msgspec.structs import replace

from kernelckpt.kernel.context.tally import ToolResultSeen
from kernelckpt.model.handle import Collapsed, Handle, HandleKind, Residency, Resident, SpooledOut

COLLAPSE_PRESSURE = 0.90
"""The pressure from which on older tool results are shown as previews."""

NEWEST_RESIDENT = 4
"""How many of the newest tool results are shown whole all the same."""

_RESIDENT = Resident()
_COLLAPSED = Collapsed()


class HandleTable:
    """Handles in a fixed order, by id; never changed once made, each operation gives a new table."""

    __slots__ = ("_handles",)

    def __init__(self, handles: Iterable[Handle] = ()) -> None:
        """A table of these handles; of two with the same id the later one takes the place of the first."""
        self._handles = {handle.id: handle for handle in handles}

    @classmethod
    def rebuild(
        cls, results: Iterable[ToolResultSeen], spooled_ids: Collection[str], pressure: float
    ) -> Self:
        """The table of a history.

        Args:
            results: its tool results in order; they are numbered from 0.
            spooled_ids: call ids of the results that are kept whole elsewhere.
            pressure: the raw pressure of the context.
        """
        handles = (
            Handle(
                number, HandleKind.TOOL_RESULT, _first_residency(seen, spooled_ids), seen.tokens, seen.call_id
            )
            for number, seen in enumerate(results)
        )
        return cls(handles).recompute(pressure)

    def __len__(self) -> int:
        return len(self._handles)

    def __iter__(self) -> Iterator[Handle]:
        return iter(self._handles.values())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HandleTable) and self.all() == other.all()

    def __hash__(self) -> int:
        return hash(self.all())

    def all(self) -> tuple[Handle, ...]:
        """All handles, in order."""
        return tuple(self._handles.values())

    @property
    def next_id(self) -> int:
        """An id that no handle of the table has."""
        return max(self._handles, default=-1) + 1

    @property
    def resident_tokens(self) -> int:
        """The tokens of what lies in the context whole."""
        return sum(handle.tokens for handle in self if handle.occupies_context)

    @property
    def non_resident_tokens(self) -> int:
        """The tokens of what does not."""
        return sum(handle.tokens for handle in self if not handle.occupies_context)

    def insert(self, handle: Handle) -> Self:
        """The table with a handle in the place of the one of the same id, or at the end."""
        return type(self)((*self, handle))

    def find_by_source(self, source: str) -> Handle | None:
        """The first handle that came from there, or None."""
        return next((handle for handle in self if handle.source == source), None)

    def recompute(self, pressure: float) -> Self:
        """The table under another pressure.

        From `COLLAPSE_PRESSURE` on all but the newest tool results collapse; below it all are resident. What
        is spooled or paged out stays so, and is one of the newest all the same.
        """
        of_tools = [handle for handle in self if handle.kind is HandleKind.TOOL_RESULT]
        older = len(of_tools) - NEWEST_RESIDENT if pressure >= COLLAPSE_PRESSURE else 0
        collapsing = {handle.id for handle in of_tools[: max(older, 0)]}
        return self._mapped(lambda handle: _under_pressure(handle, handle.id in collapsing))

    def prune(self, sources: Collection[str]) -> Self:
        """The table without the handles whose source is gone; those without a source stay."""
        return type(self)(handle for handle in self if handle.source is None or handle.source in sources)

    def _mapped(self, change: Callable[[Handle], Handle]) -> Self:
        return type(self)(map(change, self))


def _first_residency(seen: ToolResultSeen, spooled_ids: Collection[str]) -> Residency:
    return SpooledOut(seen.call_id) if seen.call_id in spooled_ids else _RESIDENT


def _under_pressure(handle: Handle, collapses: bool) -> Handle:
    if handle.kind is not HandleKind.TOOL_RESULT or not isinstance(handle.residency, Resident | Collapsed):
        return handle
    residency = _COLLAPSED if collapses else _RESIDENT
    return handle if handle.residency == residency else replace(handle, residency=residency)
