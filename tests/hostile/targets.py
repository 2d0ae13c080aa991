"""Every decoder of bytes in the package, with valid input to begin with: the golden runs' own bytes."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgpack
from msgspec import Struct
from mutation import Pick, binary
from seeds import READER, Container, Golden, containers_of, frames_of
from target_posted import posted

from kernelckpt.codec import change, entry
from kernelckpt.codec.codec import Codec
from kernelckpt.codec.envelope import COMPRESSED, PLAIN
from kernelckpt.codec.frame import (
    BASE,
    DIGEST_BYTES,
    ITEMS,
    RECORDS,
    STREAMS,
    ContainerDecoder,
    Frame,
    decode_frame,
    entry_origin,
    frame_digest,
    frame_head,
    frame_place,
    frame_tag,
)
from kernelckpt.codec.record import RECORD_TYPES, STREAM_ITEMS, decode_item, decode_message, decode_record
from kernelckpt.codec.value import ValueCodec
from kernelckpt.storage.file.record import decode_record as decode_file_record
from kernelckpt.storage.file.record import encode_record as encode_file_record

RUN, EPOCH, SEQUENCE = "run", 2, 7
PLACE = frame_place(b"", 0, RECORDS)


class Target(Struct, frozen=True):
    """A decoder under test.

    Attributes:
        name: what is shown of it; no other has it.
        seeds: valid inputs.
        mutate: makes another input of a seed.
        decode: gives it to the decoder, and looks at what comes out.
        share: how often it gets an input, compared with others; less for one that takes its time.
    """

    name: str
    seeds: Sequence[Any]
    mutate: Callable[[Pick, Any], Any]
    decode: Callable[[Any], Any]
    share: float = 1.0


def decoders(golden: list[Golden]) -> Iterator[Target]:
    """All decoders of bytes, each with its seeds."""
    yield from _containers(golden)
    yield from _payloads(golden)
    yield from _metadata(golden)
    yield from _records(golden)
    yield from _values()
    yield from _file_records()
    yield from (_target(*made) for made in posted())


def _target(name: str, seeds: list[bytes], decode: Callable[[bytes], Any], share: float = 1.0) -> Target:
    return Target(name, seeds, binary(seeds), decode, share)


# Containers and frames.


def _containers(golden: list[Golden]) -> Iterator[Target]:
    for run in golden:
        for number, container in enumerate(containers_of(run)[-5:]):
            if len(container.body) < 6000:
                yield _target(
                    f"container {number} of {run.name}",
                    [container.body],
                    lambda data, container=container: _walk(data, container),
                    0.15,
                )
    heads = [
        resealed_frame(b"\x94\xa3row\xa1a\x00\xc4\x01x", kind) for kind in (RECORDS, ITEMS, STREAMS, BASE)
    ]
    yield _target("frame", heads, lambda data: decode_frame(data, b"", 0, "frame", READER))
    wrapped = [Codec(READER.keys, level).wrapper().wrap(b"payload" * 40, 0, PLACE) for level in (None, 3)]
    for (encoding, payload), name in zip(wrapped, ("sealed", "compressed and sealed"), strict=True):
        yield _target(f"frame, {name}", [payload], lambda data, encoding=encoding: _wrapped(data, encoding))
    _, packed = Codec(compression=3).wrapper().wrap(b"payload" * 40, 0, PLACE)
    yield _target("frame, compressed", [packed], lambda data: _wrapped(data, COMPRESSED))


def _wrapped(payload: bytes, encoding: int) -> None:
    made = resealed_frame(payload, RECORDS, encoding)
    digest: bytes = msgpack.unpackb(made)[3]
    decode_frame(made, b"", 0, "frame", READER, tag=frame_tag(digest, encoding))


def _walk(data: bytes, container: Container) -> None:
    decoder = container.reader()
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


def resealed_frame(payload: bytes, kind: int, encoding: int = PLAIN) -> bytes:
    """A frame around this payload whose digest fits."""
    digest = frame_digest(b"", 0, kind, len(payload), encoding=encoding)
    digest.update(payload)
    return frame_head(kind, digest.digest(), len(payload), encoding=encoding) + payload


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
    metas = [
        (container.key_id, meta[:-18], container.implied or _header_of(container.body))
        for run in golden
        for (*_, meta, _), container in zip(run.entries, containers_of(run), strict=False)
    ]
    yield _target("metadata", [meta for key, meta, _ in metas if not key], _sealed_meta)
    yield _target("encrypted metadata", [meta for key, meta, _ in metas if key], _sealed_meta)
    yield _target("header", [header for *_, header in metas], _header)


def _sealed_meta(raw: bytes) -> None:
    origin = entry_origin(RUN, EPOCH, 1 << 40)
    seal = hashlib.blake2b(origin + raw, digest_size=DIGEST_BYTES).digest()
    entry.decode_meta(raw + b"\xc4\x10" + seal, RUN, EPOCH, 1 << 40, READER)


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
    for number, (fields, types) in enumerate(shapes):
        seed = encode_file_record("kind", *fields)
        yield _target(f"file record {number}", [seed], lambda data, types=types: _file_record(data, types))
        name = f"file record {number} with its crc"
        yield _target(name, [seed[:-5]], lambda data, types=types: _file_record(with_crc(data), types))


def _file_record(data: bytes, types: tuple[type, ...]) -> None:
    decode_file_record(data, "kind", types, "file")


def with_crc(data: bytes) -> bytes:
    """These bytes and the crc that a record of the file storage would have."""
    return data + b"\xce" + zlib.crc32(data).to_bytes(4, "big")
