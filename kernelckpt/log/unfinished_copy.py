"""The mark of a copy that is not finished: while it is there, nobody reads the run or goes on from it."""

from __future__ import annotations

from kernelckpt.abc import StorageBackend
from kernelckpt.errors import NotFoundError, UnfinishedCopyError

MARK = "unfinished-copy"
"""The name of a blob that a copy has until all of it is compared; it says where the run comes from."""


async def source_of_unfinished(storage: StorageBackend, run_id: str) -> str | None:
    """Where a copy that is not finished comes from; None for any other run, and where there is none."""
    try:
        return (await storage.read_blob(run_id, MARK)).decode("utf-8", "replace")
    except NotFoundError:
        return None


async def refuse_unfinished(storage: StorageBackend, run_id: str) -> None:
    """Refuse a run that somebody began to copy to here.

    Raises:
        UnfinishedCopyError: it is one.
    """
    source = await source_of_unfinished(storage, run_id)
    if source is not None:
        raise UnfinishedCopyError(
            f"run {run_id[:200]!r}: copying it from {source} to {storage.name} was not finished",
            hint="copy it again: that goes on where it ended",
        )
