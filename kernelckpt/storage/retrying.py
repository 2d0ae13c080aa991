"""A storage whose calls are tried again when they fail for a moment, as those of servers do."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
from typing_extensions import override

from kernelckpt.abc import StorageBackend, StorageCall, StorageWrapper
from kernelckpt.errors import NotFoundError, StorageUnavailableError, UnknownOutcomeError

T = TypeVar("T")

_REPEATABLE = frozenset(
    {
        "acquire",
        "acquire_as",
        "delete",
        "delete_posted",
        "delete_run",
        "list_blobs",
        "list_entries",
        "list_newest",
        "list_runs",
        "overview",
        "post",
        "posted",
        "read",
        "read_blob",
        "release",
    }
)
"""Calls that do the same when they are made twice; whatever is not named here is made once."""


class RetryingStorage(StorageWrapper):
    """Tries calls again that ended in `StorageUnavailableError`, `UnknownOutcomeError` or a time-out.

    It waits a random time before each further try, up to a limit that doubles from `first` to `longest`
    seconds. What the last try raises is raised.

    - `append`, `write_part`, `finish_blob` and `aclose` are made once: a second `append` whose first one had
      arrived would be refused, as if somebody else owned the run. The log reads such a number back.
    - `acquire` may use up epochs: a grant whose answer was lost is superseded by the next try.
    - `post` returns False when an earlier try had arrived: a message of this id is there, maybe this one.
    - `delete_run` counts a run that is gone after a failed try as deleted.
    """

    def __init__(
        self,
        storage: StorageBackend,
        *,
        tries: int = 5,
        first: float = 0.1,
        longest: float = 5.0,
        chance: Callable[[], float] = random.random,
        sleep: Callable[[float], Awaitable[object]] = anyio.sleep,
    ) -> None:
        """Stand before a storage.

        Args:
            storage: it is closed with this one.
            tries: how often a call is made at most.
            first: the longest wait before the second try, in seconds.
            longest: the longest wait before any, in seconds.
            chance: gives the share of each wait, 0 to 1.
            sleep: waits for so many seconds.
        """
        super().__init__(storage)
        self._waits = [min(longest, first * 2**failed) for failed in range(tries - 1)]
        self._chance = chance
        self._sleep = sleep
        self._closed = False

    @override
    async def pass_on(self, call: StorageCall[T]) -> T:
        if call.method == "aclose":
            self._closed = True
        waits = list(self._waits) if call.method in _REPEATABLE else []
        failed: Exception | None = None
        while True:
            try:
                return await call.send()
            except NotFoundError:
                if call.method == "delete_run" and failed is not None:
                    return None  # type: ignore[return-value]  # as `delete_run` does
                raise
            except (StorageUnavailableError, UnknownOutcomeError, TimeoutError) as error:
                failed = error
                if self._closed or not waits:
                    raise
            await self._sleep(self._chance() * waits.pop(0))
