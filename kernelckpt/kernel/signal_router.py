"""The signal router: forget what was seen already, ask the attention policy, queue what can wait."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable
from typing import Protocol, Self

from kernelckpt.errors import InvalidValueError
from kernelckpt.model.signal import Disposition, RunPriority, RuntimeSignal, Urgency

DEFAULT_CAPACITY = 64
"""How many signals a router queues."""

Queued = tuple[int, RuntimeSignal]
"""A queued signal with its number."""

_REFUSED = frozenset({Disposition.IGNORE, Disposition.DROPPED})


class AttentionPolicy(Protocol):
    """Decides what a signal is worth."""

    def decide(self, signal: RuntimeSignal, *, is_running: bool) -> Disposition:
        """What to do with the signal; `is_running` is false for an idle kernel. Must not wait or raise."""


class UrgencyPolicy:
    """The default policy: by urgency alone."""

    def decide(self, signal: RuntimeSignal, *, is_running: bool) -> Disposition:  # noqa: D102
        if signal.urgency is Urgency.CRITICAL:
            return Disposition.INTERRUPT_NOW if is_running else Disposition.RUN
        if signal.urgency is Urgency.HIGH:
            return Disposition.INTERRUPT if is_running else Disposition.RUN
        return Disposition.QUEUE if signal.urgency is Urgency.NORMAL else Disposition.OBSERVE


def run_priority(urgency: Urgency) -> RunPriority | None:
    """The priority with which a signal starts an idle kernel; None when it does not start it."""
    return {Urgency.CRITICAL: RunPriority.CRITICAL, Urgency.HIGH: RunPriority.HIGH}.get(urgency)


class SignalRouter:
    """Routes signals, and holds those that can wait.

    The queue gives the most urgent signal first, then the oldest, then the one with the greater id. When
    it is full the newcomer is dropped. Keys of signals that were ignored or dropped are not remembered, so
    that sending them again is an honest new try.
    """

    def __init__(self, max_queue: int = DEFAULT_CAPACITY, policy: AttentionPolicy | None = None) -> None:
        """A router with an empty queue that has seen nothing."""
        self._max_queue = max_queue
        self._policy = policy or UrgencyPolicy()
        self._seen: set[str] = set()
        self._queue: list[Queued] = []
        self._next_number = 1

    @classmethod
    def restore(
        cls,
        queued: Iterable[Queued],
        max_queue: int = DEFAULT_CAPACITY,
        policy: AttentionPolicy | None = None,
    ) -> Self:
        """A router with this queue, all of it even if it is over the capacity; it has seen nothing.

        Raises:
            InvalidValueError: a number occurs twice.
        """
        router = cls(max_queue, policy)
        for number, signal in queued:
            router._insert(number, signal)
        return router

    @property
    def max_queue(self) -> int:
        """How many signals can be queued."""
        return self._max_queue

    @property
    def depth(self) -> int:
        """How many signals are queued."""
        return len(self._queue)

    @property
    def queued(self) -> tuple[Queued, ...]:
        """What is queued, the next one first."""
        return tuple(reversed(self._queue))

    @property
    def seen(self) -> frozenset[str]:
        """The keys of the signals accepted so far."""
        return frozenset(self._seen)

    def ingest(
        self, signal: RuntimeSignal, is_running: bool, number: int | None = None, *, keep: bool = True
    ) -> Disposition:
        """Decide about a signal, and queue it if that is the decision and it is to be kept here.

        Args:
            signal: what happened.
            is_running: whether the kernel is busy.
            number: what the signal is queued under; None takes the next one.
            keep: False when the caller delivers at once what would be queued.

        Raises:
            InvalidValueError: the number is taken.
            ValueError: the policy's answer is no disposition; nothing was changed.
        """
        key = signal.dedupe_key
        if key is not None and key in self._seen:
            return Disposition.IGNORE
        disposition = Disposition(self._policy.decide(signal, is_running=is_running))
        if disposition is Disposition.QUEUE and keep:
            number = self._next_number if number is None else number
            disposition = Disposition.QUEUE if self.push(number, signal) else Disposition.DROPPED
        if key is not None and disposition not in _REFUSED:
            self._seen.add(key)
        return disposition

    def push(self, number: int, signal: RuntimeSignal) -> bool:
        """Queue a signal under a number; False when the queue is full.

        Raises:
            InvalidValueError: the number is taken.
        """
        if len(self._queue) >= self._max_queue:
            return False
        self._insert(number, signal)
        return True

    def next(self) -> Queued | None:
        """Take the next signal out of the queue."""
        return self._queue.pop() if self._queue else None

    def drain(self) -> list[Queued]:
        """Take all signals out of the queue, the next one first."""
        drained = list(self.queued)
        self._queue.clear()
        return drained

    def discard(self, number: int) -> None:
        """Drop the queued signal of this number, if there is one."""
        self._queue = [queued for queued in self._queue if queued[0] != number]

    def clear_dedup(self) -> None:
        """Forget the keys seen; the queue stays."""
        self._seen.clear()

    def _insert(self, number: int, signal: RuntimeSignal) -> None:
        if any(number == taken for taken, _ in self._queue):
            hint = "number queued signals with a counter that never goes back"
            raise InvalidValueError(f"number {number} is queued already", path="number", hint=hint)
        insort(self._queue, (number, signal), key=_last_is_next)
        self._next_number = max(self._next_number, number + 1)


def _last_is_next(queued: Queued) -> tuple[int, int, str, int]:
    number, signal = queued
    return signal.urgency.rank, -signal.timestamp_ms, signal.id, -number
