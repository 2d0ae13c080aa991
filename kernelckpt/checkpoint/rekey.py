"""Writing a run anew under the active key, so that it needs no other one."""

from __future__ import annotations

from msgspec import Struct

from kernelckpt.abc import StorageBackend
from kernelckpt.checkpoint.holder import holder
from kernelckpt.codec.codec import Codec
from kernelckpt.codec.key_ring import KeyRing
from kernelckpt.kernel.clock import SystemClock
from kernelckpt.log import CheckpointInfo, Retention, RunLog, list_checkpoints


class RekeyReport(Struct, frozen=True):
    """What was written anew.

    Attributes:
        checkpoint: the base that holds the whole state under the active key.
        removed_bytes: the bytes of what it replaces.
        key_ids: keys that what is left of the run is encrypted with, "" where it is not: more than the active
            one only where a fall-back set something aside.
    """

    checkpoint: CheckpointInfo
    removed_bytes: int
    key_ids: tuple[str, ...]


async def rekey(
    storage: StorageBackend,
    run_id: str,
    keys: KeyRing,
    *,
    compression: int | None = None,
    owner_wait: float = 0.0,
    remove_set_aside: bool = False,
) -> RekeyReport:
    """Write the newest state of a run as a base under the active key, items and all, and remove the rest.

    Earlier checkpoints cannot be restored any more. The run must not have a living owner; a kernel that owns
    it through this very storage object is fenced. For one that was begun without keys, give a ring that
    accepts plaintext.

    Args:
        storage: where the run is kept.
        run_id: the run.
        keys: the active key, and those that the run is encrypted with so far.
        compression: the zstandard level to compress with; None not to compress.
        owner_wait: for how many seconds to ask again while its owner is alive.
        remove_set_aside: remove also what a fall-back has set aside, and what is damaged: nobody can encrypt
            that anew.

    Raises:
        NotFoundError: no such run.
        RunOwnedError: its owner is alive.
        CorruptionError: it is damaged; nothing was changed.
        EncryptionError: it is not encrypted with a key of the ring, or should be; nothing was changed.
        StorageError: the storage cannot be used.
    """
    await storage.list_entries(run_id, limit=1)  # owning a run that does not exist would create it
    codec = Codec(keys, compression)
    log = await RunLog.open(
        storage, run_id, holder=holder("a rekeying"), clock=SystemClock(), owner_wait=owner_wait, codec=codec
    )
    try:
        loaded = log.loaded
        live = [*loaded.records.items(), *((key, None) for key in loaded.streams)]
        checkpoint = await log.write_base(iter(live), "rekey", copy_items=True)
        removed = await log.prune(Retention(bases=1, set_aside=not remove_set_aside))
    finally:
        await log.aclose()
    left = await list_checkpoints(storage, run_id, codec=codec)
    return RekeyReport(checkpoint, removed.size, tuple(sorted({info.key for info in left})))
