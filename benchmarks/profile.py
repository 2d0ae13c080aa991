"""Where work, bytes and time go: instructions by function, bytes by part of an entry, slices of a checkpoint.

python -m benchmarks.profile turn      instructions of a turn without a hook, and what a hook adds
python -m benchmarks.profile bytes     bytes of a turn of the conversation, by what they are
python -m benchmarks.profile hold      slices of checkpoints of 100 changed rows: their work, their waits

Instructions and bytes are counted, not timed: the counts are the same on every machine, however busy it is.
Slices are timed, also by the processor, which a busy machine does not add to; that needs Linux.
"""

from __future__ import annotations

import asyncio
import resource
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager
from operator import sub
from pathlib import Path
from time import perf_counter, thread_time
from types import FrameType
from typing import Any
from unittest.mock import patch

from typing_extensions import override

from benchmarks.kit.process import folder_bytes
from benchmarks.kit.result import quantile
from benchmarks.kit.text import TEXT_BYTES
from benchmarks.sides.agents import Course, MeasuredHook, kernel_of, populate, resume
from kernelckpt import CheckpointHook, FileStorage
from kernelckpt.abc import Append, EntryInfo
from kernelckpt.codec.change import decode_changes
from kernelckpt.codec.entry import decode_meta, header_of, implied_header
from kernelckpt.codec.frame import ContainerDecoder, Frame, entry_origin
from kernelckpt.log.time_slice import TimeSlice

AGENTS, TURNS, SHOWN = 100, 60, 30
ROWS, CHANGED, CHECKPOINTS = 5000, 100, 200


async def _instructions(hook: CheckpointHook | None) -> Counter[str]:
    """Bytecode instructions per turn of agents that say 1 KiB, by function."""
    found: Counter[str] = Counter()

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode":
            code = frame.f_code
            found["/".join(Path(code.co_filename).parts[-2:]) + " " + code.co_qualname] += 1
        return trace

    course = Course(TURNS)
    async with kernel_of(hook, course) as kernel:
        tasks = [f"runner-{number}" for number in range(AGENTS)]
        await asyncio.gather(*(kernel.submit("run_on", task_id=task) for task in tasks))
        course.start.set()
        sys.settrace(trace)
        await kernel.join()
        sys.settrace(None)
    return found


async def turn() -> None:
    """Print what a turn costs, and where."""
    without = await _instructions(None)
    with_hook = await _instructions(CheckpointHook("memory:", every=None))
    turns = AGENTS * TURNS
    print(f"{without.total() / turns:,.0f} instructions a turn without a hook")
    print(f"{with_hook.total() / turns:,.0f} with one that writes into memory; of them:")
    for name, count in with_hook.most_common(SHOWN):
        print(f"{count / turns:8.1f}  {name}")


async def parts() -> None:
    """Print what the bytes of a turn are."""
    turns = 500
    with tempfile.TemporaryDirectory() as folder:
        course = Course(turns)
        async with kernel_of(CheckpointHook(f"file:{folder}", every=None, max_ahead=0), course) as kernel:
            await kernel.submit("converse", task_id="one")
            await kernel.join()
        found: Counter[str] = Counter()
        async with FileStorage(folder) as storage:
            for entry in await storage.list_entries("bench", limit=1000):
                found.update(await _parts_of(storage, entry))
        whole = folder_bytes(Path(folder))
    found["segments and marks of the storage"] = whole - found.total()
    for name, size in found.most_common():
        print(f"{size / turns:8.1f}  {name}")
    print(f"{whole / turns:8.1f}  in all; without bases")


async def _parts_of(storage: FileStorage, entry: EntryInfo) -> Counter[str]:
    data = await storage.read("bench", entry.epoch, entry.sequence)
    meta = decode_meta(entry.meta, "bench", entry.epoch, entry.sequence)
    implied = implied_header(header_of(meta, "bench", entry.epoch, entry.sequence))
    decoder = ContainerDecoder(entry_origin("bench", entry.epoch, entry.sequence), "entry", implied=implied)
    found = Counter({"metadata": len(entry.meta), "beginning and closing": len(data)})
    for frame in decoder.feed(data):
        found["beginning and closing"] -= frame.length
        found.update(_parts_of_frame(frame))
    return found


def _parts_of_frame(frame: Frame) -> Counter[str]:
    found = Counter({"heads of frames": frame.length - len(frame.payload)})
    for change in decode_changes(frame, "entry"):
        if isinstance(change, Append) and change.key[0] == "history":
            texts = TEXT_BYTES * len(change.items)
            found["texts"] += texts
            found["messages around their texts"] += sum(map(len, change.items)) - texts
            found["keys and lengths of items"] += len(frame.payload) - sum(map(len, change.items))
        elif frame.type == 1:
            record = getattr(change, "record", b"")
            found[f"records: {change.key[0]}"] += len(record)
            found["keys and lengths of records"] -= len(record)
    if frame.type == 1:
        found["keys and lengths of records"] += len(frame.payload)
    return found


class _Watch:
    """Measures each stretch between two awaits: its time, the processor's, and how often it waited."""

    def __init__(self) -> None:
        self.stretches: list[tuple[float, float, float]] = []
        self._began = self._mark()

    def planted(self) -> AbstractContextManager[object]:
        """Have every slice measured meanwhile."""
        make, begin, note = TimeSlice.__init__, TimeSlice.begin, TimeSlice.note

        def made(time_slice: TimeSlice, *arguments: Any, **settings: Any) -> None:
            make(time_slice, *arguments, **settings)
            self._began = self._mark()

        def begun(time_slice: TimeSlice) -> None:
            begin(time_slice)
            self._began = self._mark()

        def noted(time_slice: TimeSlice) -> None:
            wall, worked, waited = map(sub, self._mark(), self._began)
            self.stretches.append((wall, worked, waited))
            note(time_slice)

        return patch.multiple(TimeSlice, __init__=made, begin=begun, note=noted)

    def _mark(self) -> tuple[float, float, int]:
        return perf_counter(), thread_time(), resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw


class _CountingStorage(FileStorage):
    """Local files that count entries and their pieces."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.counts: Counter[str] = Counter()

    @override
    async def append(
        self, run_id: str, epoch: int, sequence: int, entry: Sequence[bytes], meta: bytes
    ) -> None:
        self.counts.update(entries=1, pieces=len(entry), bytes=sum(map(len, entry)))
        await super().append(run_id, epoch, sequence, entry, meta)


async def hold() -> None:
    """Print what the slices of checkpoints are made of."""
    watch = _Watch()
    with tempfile.TemporaryDirectory() as folder:
        async with _CountingStorage(folder) as storage:
            hook = MeasuredHook(storage, every=None, durable=False)
            async with kernel_of(hook) as kernel:
                await populate(kernel, ROWS)
                await hook.checkpoint()
                storage.counts.clear()
                with watch.planted():
                    for number in range(CHECKPOINTS):
                        await resume(kernel, [(number * CHANGED + index) % ROWS for index in range(CHANGED)])
                        await hook.checkpoint()
    walls, works, waits = zip(*watch.stretches, strict=True)
    entries, pieces, size = (storage.counts[name] for name in ("entries", "pieces", "bytes"))
    print(f"{len(walls) / CHECKPOINTS:.1f} slices a checkpoint, those of bases beside it included")
    print(f"{sum(waits) / CHECKPOINTS:.2f} times a checkpoint a slice waited for another thread")
    print(f"{pieces / entries:.1f} pieces an entry of {size / entries:,.0f} bytes")
    for name, found in (("processor's time", works), ("time", walls)):
        p99, longest = quantile(found, 0.99) * 1e3, max(found) * 1e3
        print(f"{p99:.3f} ms p99 of slices, {longest:.3f} ms the longest, by {name}")


if __name__ == "__main__":
    asyncio.run({"turn": turn, "bytes": parts, "hold": hold}[sys.argv[1]]())
