"""Faults for storages of files: a wrapper over their system calls that fails those it is told to."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any

from msgspec import Struct


class _Fault(Struct):
    """What happens to some later calls: an error, a short write, or something done just before."""

    call: str
    path: str
    skip: int
    times: int
    error: int = 0
    taken: int = -1
    action: Callable[[], None] | None = None


class FaultyFileOps:
    """Wraps an object such as `FileStorage` takes as `ops`; passes every call on unless told otherwise.

    On a simulated file system, a sync that fails loses what it was for, as it does on Linux.

    A fault meets the `nth` call of a name from now on, and `times` - 1 ones after it; `path` narrows that to
    calls on paths (or on files opened by paths) that contain it, and an empty name meets every call.

    Attributes:
        log: every call made so far, as (name, path).
    """

    def __init__(self, ops: Any) -> None:
        """Pass every call on."""
        self.log: list[tuple[str, str]] = []
        self._ops = ops
        self._faults: list[_Fault] = []
        self._paths: dict[int, str] = {}

    def fail(
        self, call: str, error: int = errno.EIO, *, nth: int = 1, times: int = 1, path: str = ""
    ) -> None:
        """Let a call raise `OSError` of this number instead of being made."""
        self._faults.append(_Fault(call, path, nth - 1, times, error=error))

    def shorten(self, taken: int, *, nth: int = 1, times: int = 1, path: str = "") -> None:
        """Let a write take only so many bytes."""
        self._faults.append(_Fault("pwritev", path, nth - 1, times, taken=taken))

    def before(self, call: str, action: Callable[[], None], *, nth: int = 1, path: str = "") -> None:
        """Do something in the storage's thread just before a call."""
        self._faults.append(_Fault(call, path, nth - 1, 1, action=action))

    def heal(self) -> None:
        """Pass every call on again."""
        self._faults.clear()

    @property
    def open_paths(self) -> list[str]:
        """The files that were opened and not closed."""
        return sorted(self._paths.values())

    def __getattr__(self, call: str) -> Callable[..., Any]:
        target = getattr(self._ops, call)

        def run(*arguments: Any, **options: Any) -> Any:
            where = self._where(arguments)
            self.log.append((call, where))
            if call == "close":
                self._paths.pop(arguments[0], None)
            fault = self._fault(call, where)
            if fault is not None and fault.action is not None:
                fault.action()
            if fault is not None and fault.error:
                if call == "close":  # a descriptor is gone even when closing it fails
                    target(*arguments)
                if call in ("fsync", "fdatasync") and (fail_sync := getattr(self._ops, "fail_sync", None)):
                    fail_sync(*arguments)
                raise OSError(fault.error, os.strerror(fault.error), where or None)
            if fault is not None and fault.taken >= 0:
                fd, pieces, offset = arguments
                arguments = (fd, [b"".join(pieces)[: fault.taken]], offset)
            result = target(*arguments, **options)
            if call in ("create", "open"):
                self._paths[result] = where
            return result

        return run

    def _where(self, arguments: tuple[Any, ...]) -> str:
        if not arguments:
            return ""
        first = arguments[0]
        return self._paths.get(first, "") if isinstance(first, int) else str(first)

    def _fault(self, call: str, where: str) -> _Fault | None:
        for fault in self._faults:
            if fault.call not in ("", call) or fault.path not in where or not fault.times:
                continue
            if fault.skip:
                fault.skip -= 1
                continue
            fault.times -= 1
            return fault
        return None
