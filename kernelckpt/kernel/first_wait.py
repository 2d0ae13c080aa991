"""Awaiting something, and being told when it first waits: until then nobody else has run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator
from types import CoroutineType, coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def tell_first_wait(awaitable: Awaitable[T], on_wait: Callable[[], None]) -> Awaitable[T]:
    """Await it; `on_wait` is called once, just before it gives the event loop away for the first time.

    It is not called at all when the awaitable comes to its end without.
    """
    return _drive(awaitable if isinstance(awaitable, CoroutineType) else _whole(awaitable), on_wait)


async def _whole(awaitable: Awaitable[T]) -> T:
    """As a coroutine, which can be driven step by step whatever the awaitable is."""
    return await awaitable


@coroutine
def let_others_run() -> Generator[None, None, None]:
    """What `asyncio.sleep(0)` does, for a loop that does it each turn."""
    yield


@coroutine
def _drive(steps: Coroutine[Any, Any, T], on_wait: Callable[[], None]) -> Generator[Any, Any, T]:
    """What `await` does, and the call."""
    step: Callable[[Any], Any] = steps.send
    value: Any = None
    told = False
    while True:
        try:
            waits_for = step(value)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]
        if not told:
            told = True
            on_wait()
        try:
            step, value = steps.send, (yield waits_for)
        except BaseException as error:  # noqa: BLE001 - it is the awaitable's
            step, value = steps.throw, error
