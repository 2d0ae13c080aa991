"""What hostile input is made from: the golden runs, read whole, and small parts of their states."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgpack
from msgspec import Struct

from kernelckpt import FileStorage, KernelSnapshot, KeyRing, load
from kernelckpt.abc import Key
from kernelckpt.codec.codec import Codec
from kernelckpt.codec.entry import decode_meta, header_of, implied_header
from kernelckpt.codec.frame import ContainerDecoder, Frame, blob_origin, entry_origin
from kernelckpt.codec.record import EVENTS, decode_record
from kernelckpt.kernel.snapshot import SnapshotRecords, snapshot_of
from kernelckpt.kernel.state import KernelState
from kernelckpt.log import read_run
from kernelckpt.model.tcb import Tcb

GOLDEN = Path(__file__).parents[1] / "golden"
READER = Codec(KeyRing.parse((GOLDEN / "v2" / "sealed" / "keys").read_text(), accept_plaintext=True))
"""Reads all of them: one is encrypted, in part."""

SOME_EVENTS = 6
"""How many events a small state keeps; different ones in each."""


class Golden(Struct, frozen=True):
    """What lies in a golden run: entries with their metadata, blobs, records, streams, the snapshot."""

    name: str
    run_id: str
    entries: list[tuple[int, int, bytes, bytes]]
    blobs: dict[str, bytes]
    records: dict[Key, bytes]
    streams: dict[Key, list[bytes]]
    snapshot: KernelSnapshot


async def read_golden() -> list[Golden]:
    """The golden runs of every version, read whole."""
    folders = sorted(path.parent for path in GOLDEN.glob("v*/*/storage"))
    return [await _read(folder) for folder in folders]


async def _read(folder: Path) -> Golden:
    run_id = folder.name
    async with FileStorage(folder / "storage") as storage:
        infos = await storage.list_entries(run_id)
        entries = [
            (info.epoch, info.sequence, info.meta, await storage.read(run_id, info.epoch, info.sequence))
            for info in infos
        ]
        names = [blob.name for blob in await storage.list_blobs(run_id)]
        blobs = {name: await storage.read_blob(run_id, name) for name in names}
        loaded = await read_run(storage, run_id, codec=READER)
        snapshot = await load(storage, run_id, keys=READER.keys)
    name = f"{folder.parent.name} {run_id}"
    return Golden(name, run_id, entries, blobs, loaded.records, loaded.streams, snapshot)


class Container(Struct, frozen=True):
    """A container of a run, with what a reader is told who expects it."""

    origin: bytes
    body: bytes
    key_id: str
    implied: bytes = b""

    def reader(self) -> ContainerDecoder:
        """A reader that expects it."""
        return ContainerDecoder(self.origin, "container", READER, key_id=self.key_id, implied=self.implied)


def containers_of(run: Golden) -> list[Container]:
    """Every container of a run, entries first."""
    found = []
    for epoch, number, meta, body in run.entries:
        known = decode_meta(meta, run.run_id, epoch, number, READER)
        implied = implied_header(header_of(known, run.run_id, epoch, number))
        found.append(Container(entry_origin(run.run_id, epoch, number), body, known.key, implied))
    for name, body in run.blobs.items():
        found.append(Container(blob_origin(run.run_id, name), body, _key_of(body)))
    return found


def frames_of(run: Golden) -> Iterator[Frame]:
    """Every frame of a run."""
    for container in containers_of(run):
        yield from container.reader().feed(container.body)


def _key_of(body: bytes) -> str:
    """The key that a blob names; "" for none, or where its version knows none."""
    unpacker = msgpack.Unpacker()
    unpacker.feed(body)
    header = unpacker.unpack()
    return header[-1] if header[1] > 1 else ""


def small_states(run: Golden) -> list[SnapshotRecords]:
    """For each task the state of it and of its relatives alone, with a few events."""
    rows = {key[1]: decode_record(key, data) for key, data in run.records.items() if key[0] == "task"}
    return [_part(run, {"", *_relatives(task, rows)}, number) for number, task in enumerate(rows)]


def _relatives(task: str, rows: dict[str, Tcb]) -> set[str]:
    found, todo = set(), [task]
    while todo:
        row = rows.get(todo.pop())
        if row is not None and row.id not in found:
            found.add(row.id)
            todo += [row.parent] if row.parent else []
            todo += row.wait.children if row.wait is not None else ()
    return found


def _part(run: Golden, tasks: set[str], number: int) -> SnapshotRecords:
    records = {key: data for key, data in run.records.items() if key[1] in tasks}
    streams = {key: tuple(items) for key, items in run.streams.items() if key[1] in tasks}
    for key, items in streams.items():
        if key[0] == EVENTS:
            begin = number * SOME_EVENTS % len(items)
            streams[key] = items[begin : begin + SOME_EVENTS]
    return SnapshotRecords(records, streams)


def snapshot_from(records: SnapshotRecords) -> KernelSnapshot:
    """The snapshot of a state of these records."""
    state = KernelState(lambda _: None)
    state.load(records)
    return snapshot_of(state)
