"""Entries and blobs: their headers, the metadata that is listed without them, the facts of a base."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from kernelckpt.abc import META_BYTES
from kernelckpt.codec.codec import PLAIN_CODEC, Codec
from kernelckpt.codec.frame import DIGEST_BYTES, encode_plain, entry_origin
from kernelckpt.codec.version import FORMAT, FORMAT_VERSION, check_version
from kernelckpt.errors import (
    CorruptionError,
    DecodeError,
    EncryptionError,
    FormatError,
    UnknownKeyError,
    UsageError,
)

MAX_TRIGGER_BYTES = 64
"""The longest trigger label, in bytes."""

Count: TypeAlias = Annotated[int, Meta(ge=0)]
Digest16: TypeAlias = Annotated[bytes, Meta(min_length=DIGEST_BYTES, max_length=DIGEST_BYTES)]
Kind: TypeAlias = Literal["delta", "base"]


_SEAL_HEAD = b"\xc4\x10"
_SEAL_BYTES = len(_SEAL_HEAD) + DIGEST_BYTES

_REMEMBERED = 4096
"""Metadata kept decoded, some 600 bytes each: a run is listed again and again, down to its last base."""


class EntryHeader(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, kw_only=True):
    """What an entry is, under its digest. It is not written: all of it follows from the entry's metadata.

    Attributes:
        kind: "delta" holds changes; "base" holds the facts of a base and no change.
        previous_epoch, previous_sequence, previous_digest: the entry this one follows; zeros for the first.
        wall_ms: milliseconds since 1970 when it was encoded; for display.
        turn: kernel turns so far.
        changes: how many changes its frames hold.
        key: the id of the key that its payloads are encrypted and its digests keyed with; "" for none.
    """

    format: Literal["kckpt"] = FORMAT
    version: Count = FORMAT_VERSION
    kind: Kind
    run_id: str
    epoch: Count
    sequence: Count
    previous_epoch: Count
    previous_sequence: Count
    previous_digest: Digest16
    wall_ms: int
    turn: Count
    changes: Count
    key: str = ""


class BlobHeader(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, kw_only=True):
    """The first object of a blob: which one it is, after which entry its writing began, and its key."""

    format: Literal["kckpt"] = FORMAT
    version: Count = FORMAT_VERSION
    kind: Literal["blob"] = "blob"
    run_id: str
    name: str
    since: Count
    key: str = ""


class BlobPointer(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A blob as an entry names it: name, length in bytes, digest, and the `since` and `key` of its header."""

    name: str
    size: Count
    digest: Digest16
    since: Count
    key: str = ""


class LiveEntries(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Entries `first` to `last`, deleted together, of which a base refers to `live` bytes."""

    first: Count
    last: Count
    live: Count


class LiveBlob(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A blob of items of which a base refers to `live` bytes."""

    name: str
    live: Count


class BaseFacts(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What the entry of a base says of it.

    Attributes:
        state: the blob of its records and references.
        records: how many records that blob holds.
        streams: how many streams it lists.
        entries: the entries up to `state.since` that hold items it refers to.
        blobs: the blobs that hold items it refers to.
    """

    state: BlobPointer
    records: Count
    streams: Count
    entries: tuple[LiveEntries, ...]
    blobs: tuple[LiveBlob, ...]


class EntryMeta(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, kw_only=True):
    """What is listed of an entry without reading it; the names are those of `EntryHeader`.

    Attributes:
        digest: the entry's own digest, which its successor names.
        trigger: what asked for it; at most 64 bytes.
        state: for a base, the blob of its records and references.
        tag: for an encrypted entry, a keyed digest of the metadata; empty for others.
    """

    version: Count = FORMAT_VERSION
    kind: Kind
    previous_epoch: Count
    previous_sequence: Count
    previous_digest: Digest16
    digest: Digest16
    wall_ms: int
    turn: Count
    changes: Count
    trigger: str
    state: BlobPointer | None
    key: str = ""
    tag: bytes = b""


_META = msgspec.msgpack.Decoder(EntryMeta)
_RAW = msgspec.msgpack.Decoder(tuple[Any, ...])
_FACTS = msgspec.msgpack.Decoder(BaseFacts)


def encode_meta(meta: EntryMeta, run_id: str, epoch: int, sequence: int, mac: bytes = b"") -> bytes:
    """The metadata of the entry (epoch, sequence): an array, then its seal; `mac` keys the tag.

    Raises:
        UsageError: it is longer than a storage keeps.
    """
    origin = entry_origin(run_id, epoch, sequence)
    raw = encode_plain(replace(meta, tag=_tag(meta, origin, mac)) if mac else meta)
    sealed = raw + _SEAL_HEAD + _seal(raw, origin)
    if len(sealed) > META_BYTES:
        raise UsageError(f"an entry's metadata of {len(sealed)} bytes", hint="use a shorter trigger label")
    return sealed


def decode_meta(data: bytes, run_id: str, epoch: int, sequence: int, codec: Codec = PLAIN_CODEC) -> EntryMeta:
    """The metadata of the entry (epoch, sequence) of this run; its tag was checked.

    Raises:
        CorruptionError: the seal does not fit: damaged, or of another entry or run.
        UnsupportedVersionError: it was written by a newer version.
        DecodeError: it is not what it should be.
        EncryptionError: the entry is not encrypted with a key at hand, or should be.
    """
    where = f"entry {sequence}: metadata"
    origin = entry_origin(run_id, epoch, sequence)
    seal = data[-_SEAL_BYTES:]
    if len(data) > META_BYTES or seal != _SEAL_HEAD + _seal(data[:-_SEAL_BYTES], origin):
        raise CorruptionError(f"{where}: its seal does not fit its bytes")
    meta = _decoded_meta(data, where, codec)
    has_state = meta.state is not None
    if (
        meta.previous_sequence >= sequence
        or (meta.kind == "base") is not has_state
        or bool(meta.key) is not bool(meta.tag)
    ):
        raise DecodeError(f"{where}: it contradicts itself", path=where)
    if meta.key or codec.keys is not None:
        _check_tag(meta, origin, codec, f"run {run_id!r}, entry {sequence}")
    return meta


def glance_at_meta(data: bytes, codec: Codec = PLAIN_CODEC) -> EntryMeta | None:
    """The metadata of an entry whose seal and tag nobody has looked at; None if it cannot be read."""
    try:
        meta = _fields(data)
        if meta.version != FORMAT_VERSION:
            check_version(meta.version, "metadata", codec.steps)
        if meta.key or codec.keys is not None:
            codec.key(meta.key, "metadata")
    except (msgspec.MsgspecError, UnicodeDecodeError, FormatError, EncryptionError):
        return None
    return meta


@lru_cache(maxsize=_REMEMBERED)
def _fields(data: bytes) -> EntryMeta:
    return _META.decode(data[:-_SEAL_BYTES])


def _decoded_meta(data: bytes, where: str, codec: Codec) -> EntryMeta:
    """The metadata in these bytes; what was made by a newer version may have any other shape."""
    try:
        meta = _fields(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        check_version(_version_of(data[:-_SEAL_BYTES]), where, codec.steps)
        raise DecodeError(f"{where}: {error}", path=where) from error
    check_version(meta.version, where, codec.steps)
    return meta


def _check_tag(meta: EntryMeta, origin: bytes, codec: Codec, where: str) -> None:
    mac = codec.mac(meta.key, where)
    if meta.tag != (_tag(meta, origin, mac) if mac else b""):
        raise UnknownKeyError(
            f"{where}: not written with the key {meta.key!r} that is at hand", key_id=meta.key
        )


def _version_of(raw: bytes) -> Any:
    try:
        fields = _RAW.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return FORMAT_VERSION  # no array at all: the decoder's own words say more
    return fields[0] if fields else None


def check_header(fields: tuple[Any, ...], expected: EntryHeader | BlobHeader, where: str) -> None:
    """Raise `CorruptionError` unless a container's header says what it was listed as."""
    try:
        found = msgspec.convert(fields, type(expected), strict=True)
    except msgspec.ValidationError as error:
        raise DecodeError(f"{where}: header: {error}", path=where) from error
    for name in expected.__struct_fields__:
        value, listed = getattr(found, name), getattr(expected, name)
        if value != listed:
            raise CorruptionError(f"{where}: its header says {name} {value!r} instead of {listed!r}")


def check_entry_header(fields: tuple[Any, ...], meta: EntryMeta, expected: EntryHeader, where: str) -> None:
    """Raise `CorruptionError` unless what is written of an entry's header is what its metadata says."""
    if meta.version == 1:
        check_header(fields, expected, where)
    elif fields != (FORMAT, meta.version):
        raise CorruptionError(f"{where}: its header says {fields!r}, its metadata version {meta.version}")


def header_of(meta: EntryMeta, run_id: str, epoch: int, sequence: int) -> EntryHeader:
    """The header of the entry with this metadata."""
    return EntryHeader(
        version=meta.version,
        kind=meta.kind,
        run_id=run_id,
        epoch=epoch,
        sequence=sequence,
        previous_epoch=meta.previous_epoch,
        previous_sequence=meta.previous_sequence,
        previous_digest=meta.previous_digest,
        wall_ms=meta.wall_ms,
        turn=meta.turn,
        changes=meta.changes,
        key=meta.key,
    )


def implied_header(header: EntryHeader) -> bytes:
    """The bytes of an entry's header where they are not written; empty where they are, as in version 1."""
    return b"" if header.version == 1 else encode_plain(header)


def decode_facts(payload: bytes | memoryview, where: str) -> BaseFacts:
    """The facts of a base from the payload of their frame."""
    try:
        return _FACTS.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DecodeError(f"{where}: {error}", path=where) from error


def _seal(raw: bytes, origin: bytes) -> bytes:
    return hashlib.blake2b(origin + raw, digest_size=DIGEST_BYTES).digest()


def _tag(meta: EntryMeta, origin: bytes, mac: bytes) -> bytes:
    raw = encode_plain(replace(meta, tag=b""))
    return hashlib.blake2b(origin + raw, digest_size=DIGEST_BYTES, key=mac).digest()
