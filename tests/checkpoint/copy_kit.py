"""Runs of every shape to be copied, what a storage holds of one, and storages that break off."""

import asyncio

from hook_kit import count, listen, make

from kernelckpt import KeyRing, Message, SendMessage, post_command
from kernelckpt.abc import Claim
from kernelckpt.codec.codec import Codec
from kernelckpt.codec.record import encode_record
from kernelckpt.errors import NotFoundError, StorageError
from kernelckpt.kernel.clock import SystemClock
from kernelckpt.log import Retention, RunLog

RUN = "run"
KEYS = {"one": bytes(range(32))}


async def everything(storage, run_id=RUN):
    """All that a storage holds of a run; None where there is no such run."""
    try:
        entries = [
            (entry.epoch, entry.sequence, entry.meta, entry.damage, await read(storage, run_id, entry))
            for entry in await storage.list_entries(run_id, limit=1_000_000)
        ]
    except NotFoundError:
        return None
    blobs = {
        blob.name: await storage.read_blob(run_id, blob.name) for blob in await storage.list_blobs(run_id)
    }
    return entries, blobs, [(message.message_id, message.data) for message in await storage.posted(run_id)]


async def read(storage, run_id, entry):
    return await storage.read(run_id, entry.epoch, entry.sequence)


async def live(storage, task, program=count, **settings):
    """One life of a kernel: an epoch."""
    kernel, hook = make(storage, {"count": count, "listen": listen}, **settings)
    async with kernel:
        await kernel.submit(program.__name__, task_id=task)
        await kernel.idle()
    return hook


async def write_base(storage, retention=None, keys=None):
    log = await RunLog.open(
        storage,
        RUN,
        holder="a test",
        clock=SystemClock(),
        encode=encode_record,
        owner_wait=0.0,
        codec=Codec(keys),
    )
    live_keys = [*log.loaded.records.items(), *((key, None) for key in log.loaded.streams)]
    await log.write_base(iter(live_keys))
    if retention is not None:
        await log.prune(retention)
    await log.aclose()


async def post(storage, text, keys=None):
    await post_command(storage, RUN, SendMessage("l", Message.user(text)), keys=keys)


async def empty(storage):
    claim = await storage.acquire(RUN, "a test")
    await storage.release(RUN, claim.epoch)


async def small(storage):
    await live(storage, "a")


async def long(storage):
    """Several epochs, bases, what a pin keeps, holes where the rest was, and commands that wait."""
    await live(storage, "a")
    await write_base(storage)
    await live(storage, "b")
    await write_base(storage)
    await live(storage, "l", listen)
    await write_base(storage, Retention(bases=1, pins=(3,)))
    await live(storage, "c")
    for number in range(3):
        await post(storage, f"message {number}")


async def sealed(storage):
    keys = KeyRing(KEYS)
    await live(storage, "a", keys=keys)
    await write_base(storage, keys=keys)
    await live(storage, "l", listen, keys=keys)
    await post(storage, "sealed", keys=keys)


SHAPES = {shape.__name__: shape for shape in (empty, small, long, sealed)}


class Wrapped:
    """Passes every call on to another storage; `before` and `after` are told of each, by its name."""

    def __init__(self, storage, before=None, after=None):
        self._storage = storage
        self._before = before
        self._after = after
        self.name = storage.name

    def __getattr__(self, name):
        call = getattr(self._storage, name)
        if not asyncio.iscoroutinefunction(call):
            return call

        async def told(*arguments, **options):
            if self._before is not None:
                await self._before(name)
            result = await call(*arguments, **options)
            if self._after is not None:
                await self._after(name)
            return result

        return told


def breaks_off(at, *, call="", after=False, error=StorageError):
    """Wraps storages of which, counted together, one call breaks off: before it is done, or after it."""
    calls = []

    async def tell(name):
        if call in {"", name}:
            calls.append(name)
        if len(calls) == at and name == calls[-1]:
            if error is asyncio.CancelledError:
                asyncio.current_task().cancel()
                await asyncio.sleep(0)
            raise error("broken off", hint="a test")

    def wrap(storage):
        return Wrapped(storage, **{"after" if after else "before": tell})

    return wrap, calls


async def write_entries(storage, number, epoch=1):
    await storage.acquire_as(RUN, "a test", Claim(epoch, 0))
    for sequence in range(1, number + 1):
        await storage.append(RUN, epoch, sequence, [b"entry %d" % sequence], b"meta %d" % sequence)
    await storage.release(RUN, epoch)
