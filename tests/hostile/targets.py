"""Every decoder of the package, with valid input to begin with: the golden runs' own bytes."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import msgpack
from msgspec import Struct
from mutation import ODD, ODDER, json_text, mutated, mutated_bytes, mutated_msgpack

from kernelckpt import KernelSnapshot
from kernelckpt.abc import Key
from kernelckpt.codec import change, entry
from kernelckpt.codec.frame import (
    BASE,
    DIGEST_BYTES,
    ITEMS,
    RECORDS,
    STREAMS,
    ContainerDecoder,
    Frame,
    blob_origin,
    decode_frame,
    entry_origin,
    frame_digest,
    frame_head,
)
from kernelckpt.codec.record import RECORD_TYPES, STREAM_ITEMS, decode_item, decode_message, decode_record
from kernelckpt.codec.value import ValueCodec
from kernelckpt.kernel.events.session_log import read_events, write_events
from kernelckpt.kernel.snapshot import SnapshotRecords, records_of, snapshot_of
from kernelckpt.kernel.state import KernelState
from kernelckpt.model.event import SessionEvent
from kernelckpt.storage.file_record import decode_record as decode_file_record
from kernelckpt.storage.file_record import encode_record as encode_file_record

RUN, EPOCH, SEQUENCE = "run", 2, 7
GOLDEN = Path(__file__).parents[1] / "golden" / "v1"


class Target(Struct, frozen=True):
    """A decoder under test.

    Attributes:
        name: what is shown of it.
        seeds: valid inputs.
        mutate: makes another input of a seed.
        decode: gives it to the decoder, and looks at what comes out.
    """

    name: str
    seeds: list[Any]
    mutate: Callable[[Random, Any], Any]
    decode: Callable[[Any], Any]


class Golden(Struct, frozen=True):
    """What lies in a golden run: entries with their metadata, blobs, records, streams, the snapshot."""

    run_id: str
    entries: list[tuple[int, int, bytes, bytes]]
    blobs: dict[str, bytes]
    records: dict[Key, bytes]
    streams: dict[Key, list[bytes]]
    snapshot: KernelSnapshot


def binary(seeds: list[bytes]) -> Callable[[Random, bytes], bytes]:
    """Mutates bytes as bytes, or as the msgpack value that they are."""

    def mutate(random: Random, data: bytes) -> bytes:
        whole = mutated_msgpack(random, data) if random.random() < 0.6 else None
        return mutated_bytes(random, data, seeds) if whole is None else whole

    return mutate


def targets(golden: list[Golden]) -> list[Target]:
    """All decoders, each with its seeds."""
    found = [*_containers(golden), *_payloads(golden), *_metadata(golden), *_records(golden)]
    return [*found, *_values(), *_file_records(), *_states(golden), *_forms(golden)]


def _target(name: str, seeds: list[bytes], decode: Callable[[bytes], Any]) -> Target:
    return Target(name, seeds, binary(seeds), decode)


# Containers and frames.


def _containers(golden: list[Golden]) -> Iterator[Target]:
    for run in golden:
        entries = {entry_origin(run.run_id, epoch, number): body for epoch, number, _, body in run.entries}
        blobs = {blob_origin(run.run_id, name): body for name, body in run.blobs.items()}
        for origin, body in [*list(entries.items())[-3:], *list(blobs.items())[-2:]]:
            if len(body) < 6000:
                yield _target("container", [body], lambda data, origin=origin: _walk(data, origin))
    heads = [
        resealed_frame(b"\x94\xa3row\xa1a\x00\xc4\x01x", kind) for kind in (RECORDS, ITEMS, STREAMS, BASE)
    ]
    yield _target("frame", heads, lambda data: decode_frame(data, b"", 0, "frame"))


def _walk(data: bytes, origin: bytes) -> None:
    decoder = ContainerDecoder(origin, "container")
    for begin in range(0, len(data), 97):
        for frame in decoder.feed(data[begin : begin + 97]):
            _changes(frame)
    decoder.finish()


def _changes(frame: Frame) -> None:
    if frame.type in (RECORDS, ITEMS):
        change.decode_changes(frame, "frame")
    elif frame.type == STREAMS:
        for index in change.decode_index(frame, "frame"):
            list(change.each_reference(index.references, "frame"))
    else:
        entry.decode_facts(frame.payload, "frame")


def resealed_frame(payload: bytes, kind: int) -> bytes:
    """A frame around this payload whose digest fits."""
    digest = frame_digest(b"", 0, kind, len(payload))
    digest.update(payload)
    return frame_head(kind, digest.digest(), len(payload)) + payload


def frames_of(run: Golden) -> Iterator[Frame]:
    """Every frame of a run."""
    bodies = [(entry_origin(run.run_id, epoch, number), body) for epoch, number, _, body in run.entries]
    bodies += [(blob_origin(run.run_id, name), body) for name, body in run.blobs.items()]
    for origin, body in bodies:
        yield from ContainerDecoder(origin, "container").feed(body)


def _payloads(golden: list[Golden]) -> Iterator[Target]:
    seeds: dict[int, list[bytes]] = {}
    for run in golden:
        for frame in frames_of(run):
            if len(frame.payload) < 4000 or frame.type not in seeds:
                seeds.setdefault(frame.type, []).append(frame.payload)
    for kind, name in (
        (RECORDS, "records"),
        (ITEMS, "items"),
        (STREAMS, "streams"),
        (BASE, "facts of a base"),
    ):
        yield _target(name, seeds[kind], lambda data, kind=kind: _changes(Frame(kind, 1, 0, 0, data)))
    packed = [b"\x95\x01\x02\x03\x04\x05", b"\x94\xa6base-1\x00\x07\x00" * 3]
    yield _target("references", packed, lambda data: list(change.each_reference(data, "references")))


def _metadata(golden: list[Golden]) -> Iterator[Target]:
    metas = [meta[:-18] for run in golden for _, _, meta, _ in run.entries]
    yield _target("metadata", metas, _sealed_meta)
    yield _target("header", [_header_of(body) for run in golden for *_, body in run.entries], _header)


def _sealed_meta(raw: bytes) -> None:
    origin = entry_origin(RUN, EPOCH, 1 << 40)
    seal = hashlib.blake2b(origin + raw, digest_size=DIGEST_BYTES).digest()
    entry.decode_meta(raw + b"\xc4\x10" + seal, RUN, EPOCH, 1 << 40)


def _header_of(body: bytes) -> bytes:
    unpacker = msgpack.Unpacker()
    unpacker.feed(body)
    unpacker.skip()
    return body[: unpacker.tell()]


def _header(data: bytes) -> None:
    decoder = ContainerDecoder(b"", "container")
    list(decoder.feed(data))
    if decoder.header:
        expected = entry.EntryHeader(
            kind="delta",
            run_id=RUN,
            epoch=EPOCH,
            sequence=SEQUENCE,
            previous_epoch=1,
            previous_sequence=6,
            previous_digest=bytes(16),
            wall_ms=0,
            turn=0,
            changes=0,
        )
        entry.check_header(decoder.header, expected, "container")


# Records, items, values.


def _records(golden: list[Golden]) -> Iterator[Target]:
    for kind in RECORD_TYPES:
        seeds = [data for run in golden for key, data in run.records.items() if key[0] == kind]
        yield _target(f"record {kind}", seeds, lambda data, kind=kind: decode_record((kind, "a", 1), data))
    for kind in STREAM_ITEMS:
        seeds = [
            data for run in golden for key, items in run.streams.items() if key[0] == kind for data in items
        ]
        yield _target(f"item {kind}", seeds, lambda data, kind=kind: decode_item(kind, data, kind))
        if kind == "history":
            yield _target("message", seeds, decode_message)


class _Typed(Struct):
    name: str
    counts: dict[str, int] = {}
    children: list[_Typed] = []


def _values() -> Iterator[Target]:
    plain, typed = ValueCodec(), ValueCodec(_Typed)
    seeds = [plain.encode(value, "value") for value in ({"a": [1, 2.5, "x", b"y", None]}, [[{}]] * 3)]
    yield _target("plain value", seeds, lambda data: plain.decode(data, "value"))
    child = _Typed("b", {"x": 2**40})
    seeds = [typed.encode(_Typed("a", {"x": 1}, [child, child]), "value")]
    yield _target("typed value", seeds, lambda data: typed.decode(data, "value"))


def _file_records() -> Iterator[Target]:
    shapes: tuple[tuple[tuple[Any, ...], tuple[type, ...]], ...] = (
        ((1, "holder"), (int, str)),
        ((3, [1, 2]), (int, list)),
        ((b"x", 1, b"y"), (bytes, int, bytes)),
    )
    for fields, types in shapes:
        seed = encode_file_record("kind", *fields)
        yield _target("file record", [seed], lambda data, types=types: _file_record(data, types))
        unsealed = seed[:-5]
        yield _target(
            "file record with its crc",
            [unsealed],
            lambda data, types=types: _file_record(with_crc(data), types),
        )


def _file_record(data: bytes, types: tuple[type, ...]) -> None:
    decode_file_record(data, "kind", types, "file")


def with_crc(data: bytes) -> bytes:
    """These bytes and the crc that a record of the file storage would have."""
    return data + b"\xce" + zlib.crc32(data).to_bytes(4, "big")


# Whole states, and JSON.


def _states(golden: list[Golden]) -> Iterator[Target]:
    small = min(golden, key=lambda run: len(run.records))
    cells = [*small.records.items(), *((key, tuple(items)) for key, items in small.streams.items())]

    def mutate(random: Random, seed: tuple[Key, Any]) -> tuple[Key, Key, Any]:
        key, data = seed
        if isinstance(data, tuple):
            items = [binary([data[0]])(random, item) if random.random() < 0.3 else item for item in data]
            return key, key, tuple(items)
        named = random.choice((key, key, key, mutated_key(random, key)))
        return key, named, binary([data])(random, data)

    def load(found: tuple[Key, Key, Any]) -> None:
        key, named, data = found
        records = {place: kept for place, kept in small.records.items() if place != key}
        streams = {place: tuple(kept) for place, kept in small.streams.items() if place != key}
        (streams if isinstance(data, tuple) else records)[named] = data
        state = KernelState(lambda _: None)
        state.load(SnapshotRecords(records, streams))
        _use(snapshot_of(state))

    yield Target("state", cells, mutate, load)


def mutated_key(random: Random, key: Key) -> Key:
    """Another key, as a hostile writer may choose it."""
    kind = random.choice((key[0], *RECORD_TYPES, *STREAM_ITEMS, "unknown"))
    return (kind, random.choice((key[1], "", "lead", "nobody")), random.choice((key[2], 0, 1, -1, 2**63)))


def _use(snapshot: KernelSnapshot) -> None:
    snapshot.to_json()
    records_of(snapshot)


def _forms(golden: list[Golden]) -> Iterator[Target]:
    odd = (*ODD, *ODDER)
    forms = [run.snapshot.to_dict() for run in golden]
    yield Target(
        "snapshot from_dict",
        forms,
        lambda random, form: mutated(random, form, odd),
        lambda form: _use(KernelSnapshot.from_dict(form)),
    )
    small = [json.loads(json.dumps(form)) for form in forms if len(json.dumps(form)) < 20_000]
    in_json = tuple(value for value in ODD if not isinstance(value, bytes))
    yield Target(
        "snapshot from_json",
        small,
        lambda random, form: json_text(random, mutated(random, form, in_json)),
        lambda text: _use(KernelSnapshot.from_json(text)),
    )
    events = [event for run in golden for event in run.snapshot.events if isinstance(event, SessionEvent)]
    logs = [[form] for form in write_events(events)]
    yield Target(
        "session events",
        logs,
        lambda random, log: mutated(random, log, odd),
        lambda log: write_events(read_events(log, unknown="skip").events),
    )
