"""Which rows may run: those that are ready, and those whose deferral has passed."""

from __future__ import annotations

from collections.abc import Callable

from kernelckpt.kernel.lazy_heap import LazyHeap, Slot
from kernelckpt.model.task_state import StateKind
from kernelckpt.model.tcb import Tcb


class ReadyRows:
    """The runnable rows that a condition picks, first inserted first.

    Rows that were deferred wait in `sleeping`, by the time that wakes them; when a clock value reaches it
    they move to `awake`, and back when a later question comes with an earlier time or with none.
    """

    def __init__(self, condition: Callable[[Tcb], bool] = lambda _: True) -> None:
        """`condition` is asked about rows that are ready."""
        self._condition = condition
        self._ready = LazyHeap(self._ready_key)
        self._awake = LazyHeap(self._awake_key)
        self._sleeping = LazyHeap(self._wake_time)

    def add(self, slot: Slot, old: Tcb | None) -> None:
        """Take note of a slot whose row has just replaced `old`."""
        self._ready.add(slot, old)
        self._sleeping.add(slot, old)

    def first(self, now_ms: int | None) -> Slot | None:
        """The first runnable slot at this time; without a clock no deferred row runs."""
        found = [slot for slot in (self._ready.first(), self._first_awake(now_ms)) if slot is not None]
        return min(found, key=lambda slot: slot.number, default=None)

    def all(self, now_ms: int | None) -> list[Slot]:
        """Every runnable slot, first inserted first."""
        found = list(self._ready.up_to(0))
        if now_ms is not None:
            self._wake(now_ms)
            found += (slot for slot in self._awake.up_to(0) if self._runs_at(slot, now_ms))
        return sorted(found, key=lambda slot: slot.number)

    def _first_awake(self, now_ms: int | None) -> Slot | None:
        if now_ms is None:
            return None
        self._wake(now_ms)
        while (slot := self._awake.first()) is not None and not self._runs_at(slot, now_ms):
            self._awake.pop()
            self._sleeping.push(_deferral(slot), slot)
        return slot

    def _wake(self, now_ms: int) -> None:
        while (key := self._sleeping.first_key()) is not None and key <= now_ms:
            slot = self._sleeping.first()
            assert slot is not None
            self._sleeping.pop()
            self._awake.push(0, slot)

    @staticmethod
    def _runs_at(slot: Slot, now_ms: int) -> bool:
        return _deferral(slot) <= now_ms

    def _is_ready(self, row: Tcb) -> bool:
        return row.state.kind is StateKind.READY and self._condition(row)

    def _ready_key(self, row: Tcb) -> int | None:
        return 0 if row.deferred_until is None and self._is_ready(row) else None

    def _awake_key(self, row: Tcb) -> int | None:
        return 0 if row.deferred_until is not None and self._is_ready(row) else None

    def _wake_time(self, row: Tcb) -> int | None:
        return row.deferred_until if self._is_ready(row) else None


def _deferral(slot: Slot) -> int:
    assert slot.row is not None
    assert slot.row.deferred_until is not None
    return slot.row.deferred_until
