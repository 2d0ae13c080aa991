"""Posting a command to a run from outside its kernel, and waiting for what comes of it."""

from __future__ import annotations

from uuid import uuid4

from kernelckpt.abc import Clock, StorageBackend
from kernelckpt.codec.codec import Codec
from kernelckpt.codec.key_ring import KeyRing
from kernelckpt.codec.posted import command_name, decode_reply, encode_posted, reply_name
from kernelckpt.kernel.argument import kept
from kernelckpt.kernel.clock import SystemClock
from kernelckpt.log import list_checkpoints
from kernelckpt.log.unfinished_copy import refuse_unfinished
from kernelckpt.model.command import Command, CommandOutcome, PostedCommand

_PAUSE = 0.1


async def post_command(
    storage: StorageBackend,
    run_id: str,
    command: Command,
    *,
    wait: float = 0.0,
    keys: KeyRing | None = None,
    clock: Clock | None = None,
) -> CommandOutcome | None:
    """Post a command to a run, durably; its kernel does it once, now or when it is started next.

    After an error it may or may not have been posted. Posting again is safe for answers and cancellations,
    for messages with a `key`, and for signals with a `dedupe_key`.

    Args:
        storage: where the run is kept.
        run_id: the run; its owner may be this process or another one, or not be there.
        command: what is asked.
        wait: for how many seconds to wait for what comes of it.
        keys: those that the run is encrypted with.
        clock: the source of time.

    Returns:
        What came of it; None if nobody has told in that time: it lies in the inbox, and is still done.

    Raises:
        NotFoundError: no such run.
        InvalidValueError: it cannot be kept exactly, or is larger than 8 MiB.
        EncryptionError: the run is not encrypted with a key at hand, or should be.
        UnfinishedCopyError: copying the run to here was not finished.
        StorageError: the storage cannot be used.
    """
    codec, clock = Codec(keys), clock or SystemClock()
    await refuse_unfinished(storage, run_id)  # what only the copy had would be removed when copying goes on
    await _check_keys(storage, run_id, codec)
    posted = PostedCommand(str(uuid4()), command, clock.wall_ms(), wants_reply=wait > 0)
    posted = kept(posted, PostedCommand, "command")
    await storage.post(run_id, command_name(posted.id), encode_posted(posted, codec, run_id))
    give_up = clock.monotonic() + wait
    while wait > 0:
        outcome = await _fetch_reply(storage, run_id, posted.id, codec)
        left = give_up - clock.monotonic()
        if outcome is not None or left <= 0:
            return outcome
        await clock.sleep(min(_PAUSE, left))
    return None


async def _check_keys(storage: StorageBackend, run_id: str, codec: Codec) -> None:
    """Raise if the kernel of the run could not take what is encrypted so, or is not."""
    for newest in await list_checkpoints(storage, run_id, newest=1, codec=codec):
        codec.key(newest.key, f"run {run_id!r}")


async def _fetch_reply(
    storage: StorageBackend, run_id: str, command_id: str, codec: Codec
) -> CommandOutcome | None:
    name = reply_name(command_id)
    for message in await storage.posted(run_id):
        if message.message_id == name:
            outcome = decode_reply(message.data, codec, run_id, command_id)
            await storage.delete_posted(run_id, [name])
            return outcome
    return None
