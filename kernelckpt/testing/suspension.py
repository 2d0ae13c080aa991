"""Stops a call at one of its suspensions: to cancel it there, or to let something else happen first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import suppress
from itertools import count
from typing import Any, Generic, TypeVar

from msgspec import Struct

from kernelckpt.errors import KernelCkptError

T = TypeVar("T")
_MOST = 10_000
"""A call that suspends so often does not end."""


class Suspension(Generic[T]):
    """Awaits a call, and does something when it is suspended for the n-th time, before it waits there.

    Attributes:
        reached: whether the call was suspended so often.
    """

    def __init__(
        self, call: Awaitable[T], number: int, act: Callable[[Any], Generator[Any, None, None]]
    ) -> None:
        """Begin nothing; `act` is given what the call waits for: a future, or None for a turn of the loop."""
        self.reached = False
        self._call = call
        self._number = number
        self._act = act

    def __await__(self) -> Generator[Any, None, T]:
        """Pass on what the call waits for, and what is thrown at it."""
        steps = self._call.__await__()
        thrown: BaseException | None = None
        for number in range(1, _MOST):
            try:
                waits = next(steps) if thrown is None else steps.throw(thrown)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            thrown = None
            if number == self._number:
                self.reached = True
                yield from self._act(waits)
            try:
                yield waits
            except BaseException as error:  # noqa: BLE001 - it goes to where the call waits
                thrown = error
        raise AssertionError(f"the call was suspended {_MOST} times and has not ended")


async def cancellations(call: Callable[[], Awaitable[object]]) -> AsyncIterator[bool]:
    """Make a call again and again, cancelled at each of its suspensions: at once, and as the answer comes.

    Yields:
        Whether the call was acknowledged all the same. The last one was not cancelled.
    """
    for number in count(1):
        for act in (_cancel_at_once, _cancel_with_the_answer):
            suspension = Suspension(call(), number, act)
            acknowledged = False
            with suppress(asyncio.CancelledError, KernelCkptError):
                await asyncio.create_task(_result(suspension))
                acknowledged = True
            yield acknowledged
            if not suspension.reached:
                assert acknowledged, "a call that was not cancelled failed"
                return


class Overtaken(Struct, frozen=True):
    """What became of a call during which something else happened.

    Attributes:
        error: what the call raised; None when it was acknowledged.
        result: what the other one returned.
    """

    error: KernelCkptError | None
    result: Any


async def overtakings(
    call: Callable[[], Awaitable[object]], other: Callable[[], Awaitable[object]], pause: float
) -> AsyncIterator[Overtaken]:
    """Make a call again and again, held at each of its suspensions until another one is done.

    Where the other one has to wait for the call itself, as for a lock of the server, it gets `pause`
    seconds; then both go on.

    Yields:
        What became of both, once for each suspension.
    """
    for number in count(1):
        others: list[asyncio.Task[object]] = []

        def act(_: object, others: list[asyncio.Task[object]] = others) -> Generator[Any, None, None]:
            others.append(asyncio.create_task(_result(other())))
            yield from asyncio.create_task(_wait(others[0], pause)).__await__()

        error = None
        try:
            await asyncio.create_task(_result(Suspension(call(), number, act)))
        except KernelCkptError as caught:
            error = caught
        if not others:
            assert error is None, f"nothing happened during the call, and it failed: {error}"
            return
        yield Overtaken(error, await others[0])


async def _result(awaitable: Awaitable[T]) -> T:
    return await awaitable


async def _wait(task: asyncio.Task[object], seconds: float) -> None:
    await asyncio.wait({task}, timeout=seconds)


def _cancel_at_once(_: object) -> Generator[Any, None, None]:
    _cancel()
    yield from ()


def _cancel_with_the_answer(waits: asyncio.Future[object] | None) -> Generator[Any, None, None]:
    if waits is None:
        _cancel()
    else:
        task = asyncio.current_task()
        assert task is not None
        waits.add_done_callback(lambda _: task.cancel())
    yield from ()


def _cancel() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
