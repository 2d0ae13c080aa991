"""A storage that can only be read, whoever asks: to look into one that others work with."""

from __future__ import annotations

from typing import TypeVar

from typing_extensions import override

from kernelckpt.abc import StorageCall, StorageWrapper
from kernelckpt.errors import ReadOnlyError

T = TypeVar("T")

_READING = frozenset(
    {
        "aclose",
        "list_blobs",
        "list_entries",
        "list_newest",
        "list_runs",
        "overview",
        "posted",
        "read",
        "read_blob",
    }
)
"""What may pass; whatever is not named here is refused."""


class ReadOnlyStorage(StorageWrapper):
    """Passes on what reads, and refuses with `ReadOnlyError` whatever would change something."""

    @override
    async def pass_on(self, call: StorageCall[T]) -> T:
        if call.method not in _READING:
            raise ReadOnlyError(
                f"{self.name} is only to be read here: {call.method} is refused",
                hint="open it without ReadOnlyStorage to change what it holds",
            )
        return await call.send()
