"""Runs made by hand: records as they are wanted, sound or not, and bytes that rot."""

from collections.abc import Sequence

from msgspec import Struct

from kernelckpt.abc import Append, Change, Key, Put
from kernelckpt.codec.record import encode_record
from kernelckpt.kernel.clock import SystemClock
from kernelckpt.kernel.events.event_stream import FOLD
from kernelckpt.log import RunLog
from kernelckpt.model.kernel import KernelTotals
from kernelckpt.model.message import Message
from kernelckpt.model.os_snapshot import EventFold
from kernelckpt.storage import MemoryState, MemoryStorage

RUN = "run"
TOTALS: Key = ("kernel", "", 0)


async def open_log(storage, **options):
    return await RunLog.open(
        storage, RUN, holder="a test", clock=SystemClock(), encode=encode_record, owner_wait=0.0, **options
    )


async def write_run(storage, *commits: Sequence[Change], turn: int = 0) -> None:
    """One checkpoint for each of these commits."""
    log = await open_log(storage)
    for number, changes in enumerate(commits, 1):
        log.stage(changes, number, turn)
        await log.flush("test")
    await log.aclose()


async def write_records(
    storage, *records: tuple[Key, object], events: Sequence[Struct] = (), streams: Sequence[tuple] = ()
) -> None:
    """A run of one checkpoint that holds these records, and totals unless they are among them.

    The events lie in the stream of the fold's generation. Streams are those of task "a": kind, items.
    """
    puts = [Put(key, record) for key, record in records]
    if all(key != TOTALS for key, _ in records):
        puts.insert(0, Put(TOTALS, KernelTotals(turn=100, total_tokens=10_000)))
    totals = next(put.record for put in puts if put.key == TOTALS)
    fold = next((record for key, record in records if key == FOLD), EventFold())
    log = [Append(("event", "", fold.generation), 0, tuple(map(encode_record, events)))] if events else []
    log += [Append((kind, "a", 0), 0, tuple(map(encode_record, items))) for kind, *items in streams]
    await write_run(storage, [*puts, *log], turn=totals.turn if isinstance(totals, KernelTotals) else 0)


def said(text: str, at: int, task: str = "a", generation: int = 0) -> Append:
    return Append(("history", task, generation), at, (encode_record(Message.assistant(text)),))


async def write_base(storage, *, scan=None, then: Sequence[Change] = ()) -> None:
    """A base of the run as it is (or of what `scan` gives), and one more checkpoint if there are changes."""
    log = await open_log(storage)
    if scan is None:
        scan = [*log.loaded.records.items(), *((key, None) for key in log.loaded.streams)]
    await log.write_base(iter(scan))
    if then:
        log.stage(then, 1, log.loaded.turn)
        await log.flush("test")
    await log.aclose()


def rot(state: MemoryState, sequence: int, place: int = -1) -> None:
    """Flip one bit of an entry."""
    entries = state.runs[RUN].entries
    info, body = entries[sequence]
    entries[sequence] = (info, flipped(body, place))


def flipped(data: bytes, place: int = -1) -> bytes:
    place %= len(data)
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def contents(state: MemoryState):
    """All that a verification must leave alone."""
    run = state.runs[RUN]
    return run.epoch, run.head, dict(run.entries), dict(run.blobs)


def new_storage() -> tuple[MemoryState, MemoryStorage]:
    state = MemoryState()
    return state, MemoryStorage(state)
