"""What the tests of hostile input share: a small run on disk, its states, and what a reader makes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from msgspec import Struct

from kernelckpt import CheckpointInfo, FileStorage, Message, SchedulerBudget, Tcb
from kernelckpt.abc import Append, Change, Put
from kernelckpt.checkpoint.load import snapshot_of_run
from kernelckpt.codec.record import encode_record
from kernelckpt.errors import KernelCkptError, NotFoundError
from kernelckpt.log import LoadedRun, LogOptions, RunLog, read_run
from kernelckpt.model.inbox import InboxEntry
from kernelckpt.model.kernel import KernelTotals, Value
from kernelckpt.storage.file.error import storage_error
from kernelckpt.storage.file.name import run_folder_name
from kernelckpt.testing import ManualClock

RUN = "run"
EMPTY = "no checkpoint"
"""Stands for the state of a run in which nothing was saved."""


@dataclass
class SmallRun:
    """A run in a folder, with the state of each of its checkpoints as JSON.

    Attributes:
        root: the storage's folder.
        good: the state as of each checkpoint, by its number; 0 for none.
        ends: how long the segment was when each of them was in it.
    """

    root: Path
    run_id: str = RUN
    good: dict[int, str] = field(default_factory=dict)
    ends: dict[int, int] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """The folder of the run."""
        return self.root / run_folder_name(self.run_id)

    @property
    def segment(self) -> Path:
        """The file that holds all entries."""
        return self.folder / "seg.1.1"

    @property
    def newest(self) -> int:
        """The number of the newest checkpoint."""
        return max(self.good)

    def files(self) -> list[Path]:
        """Every file of the storage."""
        return sorted(path for path in self.root.rglob("*") if path.is_file())


class DirectStorage(FileStorage):
    """A storage whose calls are done at once: a hop to its thread and back costs as much as a small run."""

    async def _in_thread(self, function, *arguments):
        try:
            return function(*arguments)
        except OSError as error:
            raise storage_error(error, self.path) from error


class Outcome(Struct, frozen=True):
    """What a reader was given: a state with its notes, or a typed error."""

    state: str = ""
    notes: tuple[str, ...] = ()
    error: KernelCkptError | None = None


def commits(word: str = "one") -> list[list[Change]]:
    """A few small commits of an agent; `word` makes those of two runs differ."""
    row = Tcb.root("agent", SchedulerBudget(max_turns=9))
    texts = [encode_record(Message.assistant(f"{word} {number}")) for number in range(4)]
    history = ("history", "agent", 0)
    return [
        [Put(("kernel", "", 0), KernelTotals(turn=4)), Put(("task", "agent", 0), row)],
        [Append(history, 0, (texts[0],)), Put(("state", "agent", 0), Value(b"\xa1" + word[:1].encode()))],
        [Append(history, 1, (texts[1],)), Put(("inbox", "agent", 1), InboxEntry(note=word))],
        [Append(history, 2, (texts[2], texts[3]))],
    ]


async def write_small_run(
    root: Path, *, word: str = "one", run_id: str = RUN, base_after: int = 2
) -> SmallRun:
    """Write a run of five checkpoints, the base among them, whose owner then left; and note each state."""
    run = SmallRun(root, run_id, {0: EMPTY}, {0: 0})
    async with FileStorage(root) as storage:
        log = await open_log(storage, run_id)
        for number, changes in enumerate(commits(word), 1):
            log.stage(changes, number, number)
            info = await log.flush("turn")
            run.ends[info.sequence] = run.segment.stat().st_size
            if number == base_after:
                info = await write_base(storage, log)
                run.ends[info.sequence] = run.segment.stat().st_size
        newest = log.newest.sequence
        await log.aclose()
        for number in range(1, newest + 1):
            loaded = await read_run(storage, run_id, number)
            run.good[number] = snapshot_of_run(loaded).to_json()
    return run


async def open_log(storage, run_id: str = RUN, **settings) -> RunLog:
    """The log of a run, as an owner has it who waits for nobody."""
    options = LogOptions(max_consecutive_failures=1)
    clock = ManualClock()
    return await RunLog.open(
        storage,
        run_id,
        holder="a test",
        clock=clock,
        encode=encode_record,
        owner_wait=0.0,
        options=options,
        **settings,
    )


async def write_base(storage, log: RunLog) -> CheckpointInfo:
    """A base of all that the run holds."""
    live = await read_run(storage, log.run_id)
    return await log.write_base(iter([*live.records.items(), *((key, None) for key in live.streams)]))


async def outcome(run: SmallRun, on_corruption: str = "refuse") -> Outcome:
    """What a reader that knows nothing yet makes of the run; an untyped error passes through."""
    async with FileStorage(run.root) as storage:
        return await outcome_of(storage, run.run_id, on_corruption)


async def outcome_of(storage, run_id: str, on_corruption: str) -> Outcome:
    """What a reader makes of a run in this storage."""
    try:
        loaded = await read_run(storage, run_id, on_corruption=on_corruption)
        return Outcome(_json_of(loaded), loaded.notes)
    except NotFoundError as error:
        empty = "no checkpoint yet" in error.message
        return Outcome(EMPTY) if empty else Outcome(error=error)
    except KernelCkptError as error:
        return Outcome(error=error)


_texts: dict[tuple[object, ...], str] = {}


def _json_of(loaded: LoadedRun) -> str:
    """The state as JSON, made once for what is the same to the byte."""
    streams = tuple((key, tuple(items)) for key, items in loaded.streams.items())
    whole = (loaded.turn, tuple(loaded.records.items()), streams)
    if whole not in _texts:
        _texts[whole] = snapshot_of_run(loaded).to_json()
    return _texts[whole]
