"""A storage that says of each call how long it took, how much it moved, and how it ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import TypeVar

from msgspec import Struct
from typing_extensions import override

from kernelckpt.abc import PostedMessage, StorageBackend, StorageCall, StorageWrapper

T = TypeVar("T")


class CallMeasure(Struct, frozen=True):
    """One call of a storage that has ended.

    Attributes:
        method: the name of the method of `StorageBackend`.
        seconds: how long it took.
        written: how many bytes it brought along to be kept, whether or not they were.
        read: how many bytes it was answered with; listings count nothing.
        error: the name of the error's class, `CancelledError` among them; empty when there was none.
    """

    method: str
    seconds: float
    written: int
    read: int
    error: str


class CallTotals(Struct):
    """All calls of one method so far; the units are those of `CallMeasure`."""

    calls: int = 0
    failures: int = 0
    seconds: float = 0.0
    written: int = 0
    read: int = 0

    def add(self, measure: CallMeasure) -> None:
        """Count a call."""
        self.calls += 1
        self.failures += bool(measure.error)
        self.seconds += measure.seconds
        self.written += measure.written
        self.read += measure.read


class MeteredStorage(StorageWrapper):
    """Passes calls on and measures them.

    With `prometheus_client`, for one:

        SECONDS = Histogram("storage_seconds", "Calls of the storage", ["method", "error"])

        def observe(call):
            SECONDS.labels(call.method, call.error).observe(call.seconds)

        storage = MeteredStorage(await open_storage(url), on_call=observe)

    Attributes:
        stats: the totals, by method; a method that was not called is not there.
    """

    def __init__(
        self,
        storage: StorageBackend,
        *,
        on_call: Callable[[CallMeasure], object] | None = None,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        """Stand before a storage.

        Args:
            storage: it is closed with this one.
            on_call: told of each call when it has ended, on the event loop; what it raises, the call raises.
            clock: gives the time in seconds.
        """
        super().__init__(storage)
        self.stats: dict[str, CallTotals] = {}
        self._on_call = on_call
        self._clock = clock

    @override
    async def pass_on(self, call: StorageCall[T]) -> T:
        began = self._clock()
        try:
            answer = await call.send()
        except BaseException as error:  # cancellation is an end as well
            self._note(call, began, 0, type(error).__name__)
            raise
        self._note(call, began, _size(answer), "")
        return answer

    def _note(self, call: StorageCall[T], began: float, read: int, error: str) -> None:
        measure = CallMeasure(call.method, self._clock() - began, call.size, read, error)
        self.stats.setdefault(call.method, CallTotals()).add(measure)
        if self._on_call is not None:
            self._on_call(measure)


def _size(answer: object) -> int:
    if isinstance(answer, bytes):
        return len(answer)
    if isinstance(answer, Sequence):
        return sum(len(item.data) for item in answer if isinstance(item, PostedMessage))
    return 0
