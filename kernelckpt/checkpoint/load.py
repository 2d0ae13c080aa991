"""Loading a checkpoint as data: the state it holds, without a program and without owning the run."""

from __future__ import annotations

from kernelckpt.abc import StorageBackend
from kernelckpt.codec.codec import Codec
from kernelckpt.codec.key_ring import KeyRing
from kernelckpt.errors import CorruptionError, NotFoundError, RestoreError
from kernelckpt.kernel.snapshot import snapshot_of
from kernelckpt.kernel.state import KernelState
from kernelckpt.log import LoadedRun, read_run
from kernelckpt.model.snapshot import KernelSnapshot


async def load(
    storage: StorageBackend, run_id: str, at: int | None = None, *, keys: KeyRing | None = None
) -> KernelSnapshot:
    """The state of a run as of one checkpoint. Nothing is changed, and no program is needed.

    Args:
        storage: where the run is kept.
        run_id: the run; its owner may be alive.
        at: the number of the checkpoint; the newest by default.
        keys: those it is encrypted with; with keys, what is not encrypted is refused.

    Raises:
        NotFoundError: no such run, no such checkpoint (any more), or nothing was saved yet.
        CorruptionError: acknowledged bytes are damaged or missing, or records contradict each other.
        DecodeError: a record is not what it should be; the path names it.
        UnsupportedVersionError: it was written by a newer version.
        EncryptionError: it is not encrypted with a key at hand, or should be.
        StorageError: the storage cannot be used.
    """
    return snapshot_of_run(await read_run(storage, run_id, at, codec=Codec(keys)))


def snapshot_of_run(loaded: LoadedRun) -> KernelSnapshot:
    """The state that was read from a run.

    Raises:
        NotFoundError: nothing was saved yet.
        CorruptionError: the records contradict each other.
        DecodeError: a record is not what it should be.
    """
    if not loaded.sequence:
        message = f"run {loaded.run_id!r} has no checkpoint yet"
        raise NotFoundError(message, hint="one is written when its kernel first commits")
    state = KernelState(lambda _: None)
    try:
        state.load(loaded)
    except RestoreError as error:
        message = f"checkpoint {loaded.sequence} of run {loaded.run_id!r}: {error.message}"
        hint = "`kernelckpt verify` lists all that is wrong; an earlier checkpoint may be whole"
        raise CorruptionError(message, hint=hint, lost=error.missing) from error
    return snapshot_of(state)
