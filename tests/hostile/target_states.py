"""Whole states and what is said in JSON or on a command line, as targets for hostile input."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from msgspec import Struct
from mutation import ODD, ODDER, PIECES, Pick, binary, json_text, mutated, mutated_text, one_of
from seeds import Golden, small_states, snapshot_from
from targets import Target

from kernelckpt import KernelSnapshot
from kernelckpt.abc import Key
from kernelckpt.cli.display import shown, shown_lines
from kernelckpt.cli.run_reference import RunReference
from kernelckpt.codec.record import RECORD_TYPES, STREAM_ITEMS
from kernelckpt.kernel.events.session_log import read_events, write_events
from kernelckpt.kernel.snapshot import SnapshotRecords, records_of
from kernelckpt.model.event import SessionEvent
from kernelckpt.storage.file.name import (
    blob_file_name,
    inbox_name,
    is_run_folder,
    run_folder_name,
    sort_names,
)
from kernelckpt.storage.url import file_path

SMALL_RECORDS = 20


class Cell(Struct, frozen=True):
    """One record or stream of a state, and how it is mutated."""

    state: SnapshotRecords
    key: Key
    mutate: Callable[[Pick, bytes], bytes]


def whole_states(golden: list[Golden]) -> Iterator[Target]:
    """States as a storage, JSON or an event log gives them."""
    parts = [part for run in golden for part in small_states(run)]
    small = [part for part in parts if len(part.records) < SMALL_RECORDS]
    yield Target("state", [cell for part in small for cell in cells_of(part)], one_changed, _load, 0.5)
    related = [cell for part in parts for cell in cells_of(part)]
    yield Target("state of relatives", related, one_changed, _load, 0.02)
    yield from _forms("snapshot", [snapshot_from(part).to_dict() for part in small], 0.15)
    yield from _forms("whole snapshot", [run.snapshot.to_dict() for run in golden], 0.003)
    yield from _event_logs(golden)


def cells_of(state: SnapshotRecords) -> Iterator[Cell]:
    """Each record and stream of a state."""
    for key, data in state.records.items():
        yield Cell(state, key, binary([data]))
    for key, items in state.streams.items():
        yield Cell(state, key, binary(items))


def one_changed(pick: Pick, cell: Cell) -> SnapshotRecords:
    """The state with this record mutated, or kept under another key; or with some of these items mutated."""
    records, streams = dict(cell.state.records), dict(cell.state.streams)
    if cell.key in streams:
        items = streams[cell.key]
        streams[cell.key] = tuple(cell.mutate(pick, item) if pick() < 0.3 else item for item in items)
    else:
        data = records.pop(cell.key)
        named = cell.key if pick() < 0.75 else _mutated_key(pick, cell.key)
        records[named] = cell.mutate(pick, data)
    return SnapshotRecords(records, streams)


def _mutated_key(pick: Pick, key: Key) -> Key:
    """Another key, as a hostile writer may choose it."""
    kind = one_of(pick, (key[0], *RECORD_TYPES, *STREAM_ITEMS, "unknown"))
    task = one_of(pick, (key[1], "", "lead", "nobody"))
    return kind, task, one_of(pick, (key[2], 0, 1, -1, 2**63))


def _load(state: SnapshotRecords) -> None:
    _use(snapshot_from(state))


def _use(snapshot: KernelSnapshot) -> None:
    snapshot.to_json()
    records_of(snapshot)


def _forms(name: str, forms: list[dict[str, Any]], share: float) -> Iterator[Target]:
    odd = (*ODD, *ODDER)
    yield Target(
        f"{name} from_dict",
        forms,
        lambda pick, form: mutated(pick, form, odd),
        lambda form: _use(KernelSnapshot.from_dict(form)),
        share,
    )
    in_json = tuple(value for value in ODD if not isinstance(value, bytes))
    yield Target(
        f"{name} from_json",
        [json.loads(json.dumps(form)) for form in forms],
        lambda pick, form: json_text(pick, mutated(pick, form, in_json)),
        lambda text: _use(KernelSnapshot.from_json(text)),
        share,
    )


def _event_logs(golden: list[Golden]) -> Iterator[Target]:
    events = [event for run in golden for event in run.snapshot.events if isinstance(event, SessionEvent)]
    yield Target(
        "session events",
        [[form] for form in write_events(events)],
        lambda pick, log: mutated(pick, log, (*ODD, *ODDER)),
        lambda log: write_events(read_events(log, unknown="skip").events),
        0.3,
    )


# What is said on a command line.


def names_and_urls() -> Iterator[Target]:
    """Names of runs, messages and blobs, references to checkpoints, URLs, and names found in a folder."""
    yield Target("run reference", ["demo", "demo@7", "a@b@12", "run@"], mutated_text, _reference)
    yield Target("names", ["demo", "lead/helper-1", "items-1-2", *PIECES], mutated_text, _names, 0.2)
    yield Target("names in a folder", FOUND, mutated_text, lambda name: sort_names([name, "head"]))
    urls = ["file:./state", "file:/a/b%20c", "file://localhost/a", "file:", *PIECES]
    yield Target("file URL", urls, mutated_text, _url)


FOUND = ["owner.1", "seg.12.3", "blob.base-1-1", "blob.%C3%A4", "inbox." + "a" * 26, "tmp." + "0" * 32]


def _reference(text: str) -> None:
    found = RunReference.parse(text)
    if found.at is None:
        assert found.run_id in {text, text[:-1]}
    else:
        assert text.startswith(f"{found.run_id}@")
        assert int(text[len(found.run_id) + 1 :]) == found.at >= 0
    _printed(text)


def _names(text: str) -> None:
    """Whatever the name, its file's name is one plain component."""
    assert is_run_folder(run_folder_name(text))
    for name in (run_folder_name(text), inbox_name(text), _blob(text)):
        assert name.isascii()
        assert name.isprintable()
        assert not {"/", "\\", "\0", ":"} & set(name)
        assert len(name) < 256
    _printed(text)


def _blob(text: str) -> str:
    name = blob_file_name(text)
    assert sort_names([name]).blobs == {text: name}
    return name


def _url(url: str) -> None:
    path = file_path(url)
    assert path
    assert "\0" not in path


def _printed(text: str) -> None:
    assert shown(text).isprintable()
    assert all(line.isprintable() for line in shown_lines(text).split("\n"))
