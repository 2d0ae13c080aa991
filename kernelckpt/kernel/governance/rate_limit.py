"""Rate windows: how often something was done of late, one durable slot for each time."""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Callable, Mapping
from heapq import heappop, heappush

from msgspec import Struct

from kernelckpt.model.governance import RateSlot


class Window(Struct, frozen=True):
    """How often something may be done within a sliding window.

    Attributes:
        max_calls: how often.
        length_ms: within how many milliseconds.
        is_inclusive: whether what is exactly as old as the window still counts.
    """

    max_calls: int
    length_ms: int
    is_inclusive: bool = True


class RateOutcome(Struct, frozen=True):
    """What came of asking for a slot.

    Attributes:
        retry_after_ms: after how many milliseconds to ask again; None if nothing limits the call.
        taken: the slot taken, with its number, to be kept; None if limited, or if there is no limit.
        evicted: numbers of slots that count no more, of whatever name, to be removed.
    """

    retry_after_ms: int | None = None
    taken: tuple[int, RateSlot] | None = None
    evicted: tuple[int, ...] = ()


class RateWindows:
    """Slots by name and age, in memory; the kernel keeps each one as a record of its own.

    A call costs the same however many slots a window holds. Slots of all names are given back as they run
    out, so those of names that are never heard again do not stay behind. A number is never used twice. Slots
    from the future, when the clock was set back, count until they have run out: limits fail closed.
    """

    def __init__(self, window_of: Callable[[str], Window | None]) -> None:
        """Windows without slots.

        Args:
            window_of: gives the limit of a name, None for none; always the same one.
        """
        self._window_of = window_of
        self._by_name: dict[str, deque[tuple[int, int]]] = {}
        self._expiring: list[tuple[int, int, int, str]] = []
        self._next_number = 1

    def load(self, slots: Mapping[int, RateSlot]) -> None:
        """Count these slots, and none else; numbers go on after the greatest one ever seen here."""
        self._by_name, self._expiring = {}, []
        for number, slot in sorted(slots.items()):
            self._count(number, slot)
        self._next_number = max(self._next_number, max(slots, default=0) + 1)

    def check_and_take(self, name: str, now_ms: int) -> RateOutcome:
        """Take a slot of a name, unless its limit is reached or it has none.

        What is exactly as old as an inclusive window still counts: then `retry_after_ms` is 0.
        """
        evicted = self._evict(now_ms)
        window = self._window_of(name)
        if window is None:
            return RateOutcome(evicted=evicted)
        counted = self._by_name.get(name, ())
        if len(counted) >= window.max_calls:
            # the slot whose end makes room; a limit of 0 never has any
            since = counted[len(counted) - window.max_calls][0] if window.max_calls else now_ms
            return RateOutcome(max(0, since + window.length_ms - now_ms), None, evicted)
        number, slot = self._next_number, RateSlot(name, now_ms)
        self._next_number += 1
        self._count(number, slot)
        return RateOutcome(None, (number, slot), evicted)

    def _count(self, number: int, slot: RateSlot) -> None:
        entry = (slot.at_ms, number)
        counted = self._by_name.setdefault(slot.name, deque())
        if counted and counted[-1] > entry:
            insort(counted, entry)
        else:
            counted.append(entry)
        heappush(self._expiring, (self._end_ms(slot), *entry, slot.name))

    def _evict(self, now_ms: int) -> tuple[int, ...]:
        evicted = []
        while self._expiring and self._expiring[0][0] <= now_ms:
            _, _, number, name = heappop(self._expiring)
            counted = self._by_name[name]
            counted.popleft()  # slots of one name run out in the order in which they are counted
            if not counted:
                del self._by_name[name]
            evicted.append(number)
        return tuple(evicted)

    def _end_ms(self, slot: RateSlot) -> int:
        """From when on a slot does not count; at once when nothing limits its name any more."""
        window = self._window_of(slot.name)
        return 0 if window is None else slot.at_ms + window.length_ms + window.is_inclusive
