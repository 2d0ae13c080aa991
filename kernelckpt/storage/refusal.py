"""What every backend says when it refuses: one wording, whatever the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kernelckpt.errors import (
    DamagedRunsError,
    FencedError,
    InvalidValueError,
    KernelCkptError,
    NotFoundError,
    RunOwnedError,
    StorageUnavailableError,
)


def closed(name: str) -> StorageUnavailableError:
    """A call on a backend that was closed."""
    return StorageUnavailableError(f"{name} is closed", hint="open it again")


def no_run(name: str, run_id: str) -> NotFoundError:
    """There is no such run."""
    return NotFoundError(f"{name}: no run {run_id[:200]!r}", hint="`kernelckpt runs` lists them")


def damaged_runs(name: str, runs: Sequence[str], damaged: Mapping[str, KernelCkptError]) -> DamagedRunsError:
    """Some runs cannot be listed; `runs` are the others."""
    first = damaged[min(damaged)]
    message = f"{name}: {len(damaged)} of {len(runs) + len(damaged)} runs cannot be listed: {first.message}"
    return DamagedRunsError(
        message, hint=first.hint, lost=sorted(damaged), runs=sorted(runs), damaged=dict(damaged)
    )


def no_entry(name: str, epoch: int, sequence: int) -> NotFoundError:
    """There is no such entry, or not any more."""
    return NotFoundError(f"{name}: no entry {sequence} of epoch {epoch}", hint="list again")


def no_blob(name: str, blob: str) -> NotFoundError:
    """There is no such blob, or not any more."""
    return NotFoundError(f"{name}: no blob {blob!r}", hint="list again")


def no_parts(name: str, blob: str) -> NotFoundError:
    """A blob is to be finished of which nothing was written."""
    return NotFoundError(f"{name}: no part of blob {blob!r} was written", hint="write its parts first")


def name_taken(blob: str) -> InvalidValueError:
    """A blob of that name was finished before."""
    return InvalidValueError(f"blob name {blob!r} was used before", hint="give each blob a new name")


def owned(run_id: str, holder: str) -> RunOwnedError:
    """The run has an owner, which is alive."""
    return RunOwnedError(
        f"run {run_id[:200]!r} is owned by {holder}, which is alive",
        hint="stop it, wait for it to end, or take the run over",
        run_id=run_id,
        holder=holder,
    )


def fenced(name: str, run_id: str, epoch: int) -> FencedError:
    """The epoch is not the newest one, or was not granted to this client."""
    return FencedError(
        f"{name}: epoch {epoch} of run {run_id[:200]!r} is over, or is not held here",
        hint="acquire the run, then use the epoch that was granted",
    )


def not_next(name: str, sequence: int, head: int) -> FencedError:
    """The entry is not numbered head + 1."""
    return FencedError(
        f"{name}: entry {sequence} does not follow the head {head}",
        hint="only the owner's next entry can be added",
    )


def behind(name: str, run_id: str, epoch: int, head: int) -> InvalidValueError:
    """A copy is to be gone on with before where the run is."""
    return InvalidValueError(
        f"{name}: run {run_id[:200]!r} is at epoch {epoch}, entry {head} already",
        hint="a copy goes on where the run ends",
        path="claim",
    )
