"""Containers: a header, frames with a digest each, and a closing; entries and blobs are both one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Annotated, Any, TypeAlias

import msgpack  # type: ignore[import-untyped]  # it ships no annotations
from msgspec import Meta, MsgspecError, Struct
from msgspec.msgpack import Decoder, Encoder

from kernelckpt.codec.codec import PLAIN_CODEC, Codec, key_of_payload
from kernelckpt.codec.envelope import MAX_PAYLOAD_BYTES, PLAIN, SEALED, ForgedError
from kernelckpt.codec.version import FORMAT, FORMAT_VERSION, check_version
from kernelckpt.errors import CorruptionError, DecodeError, UnknownKeyError

RECORDS, ITEMS, STREAMS, BASE = 1, 2, 3, 4
"""Types of frames: records set and removed, items of one stream, references to items, facts of a base."""

_KINDS = frozenset({RECORDS, ITEMS, STREAMS, BASE})

DIGEST_BYTES = 16
FRAME_TAG_BYTES = 8
NO_DIGEST = bytes(DIGEST_BYTES)

MAX_FRAMES = 1 << 24
MAX_TEXT_BYTES = 64 * 1024
FEED_BYTES = 1024 * 1024
"""The largest piece to give to `ContainerDecoder.feed` at once."""

BARE_HEADER = (FORMAT, FORMAT_VERSION)
"""What a container begins with whose header is not written: enough for a reader of another version."""

_MAX_FRAME_BYTES = MAX_PAYLOAD_BYTES + 64
_END = "end"
_FRAME_FIELDS = 5
_HEADER_FIELDS = 64

_Count = Annotated[int, Meta(ge=0)]
_fields = Decoder(tuple[_Count, _Count, _Count, bytes, memoryview])
"""Of the one frame that some bytes are; its payload stays where it lies."""

Digest: TypeAlias = "hashlib.blake2b"
encode_plain = Encoder().encode
"""A tuple of numbers, text and bytes to plain msgpack, each in its shortest form."""

UNREADABLE = (
    ValueError,
    TypeError,
    OverflowError,
    MemoryError,
    RecursionError,
    msgpack.UnpackException,
    MsgspecError,
)
"""What msgpack and msgspec raise on bytes that are not what they should be."""


class Frame(Struct, frozen=True, gc=False):
    """One frame as read, its digest checked.

    Attributes:
        type: `RECORDS`, `ITEMS`, `STREAMS` or `BASE`.
        version: the format version its payload was written in.
        offset: where it begins in its container.
        length: its length in the container, in bytes.
        payload: the payload, decrypted and decompressed; of one that was neither, and read by itself, where
            it lies in what was read.
        tag: the beginning of its digest if it is encrypted; a reference to it holds that. Empty for others.
    """

    type: int
    version: int
    offset: int
    length: int
    payload: bytes | memoryview
    tag: bytes = b""


def entry_origin(run_id: str, epoch: int, sequence: int) -> bytes:
    """What ties the digests of an entry's frames to that entry."""
    return encode_plain((run_id, epoch, sequence))


def blob_origin(run_id: str, name: str) -> bytes:
    """What ties the digests of a blob's frames to that blob."""
    return encode_plain((run_id, name))


def bin_head(size: int) -> bytes:
    """The bytes msgpack puts before a bin of that size."""
    if size < 1 << 8:
        return b"\xc4" + size.to_bytes(1, "big")
    if size < 1 << 16:
        return b"\xc5" + size.to_bytes(2, "big")
    return b"\xc6" + size.to_bytes(4, "big")


def frame_place(origin: bytes, offset: int, kind: int, version: int = FORMAT_VERSION) -> bytes:
    """What ties the encryption of a payload to its frame."""
    return origin + encode_plain((offset, kind, version))


def frame_digest(
    origin: bytes,
    offset: int,
    kind: int,
    size: int,
    *,
    version: int = FORMAT_VERSION,
    encoding: int = PLAIN,
) -> Digest:
    """The digest of a frame, to be updated with its payload of `size` bytes, as they are in the frame."""
    head = encode_plain((offset, kind, version, encoding, size))
    return hashlib.blake2b(origin + head, digest_size=DIGEST_BYTES)


def frame_tag(digest: bytes, encoding: int) -> bytes:
    """What a reference to a frame holds of its digest: nothing if the frame is not encrypted."""
    return digest[:FRAME_TAG_BYTES] if encoding & SEALED else b""


def frame_head(
    kind: int, digest: bytes, size: int, *, version: int = FORMAT_VERSION, encoding: int = PLAIN
) -> bytes:
    """All of a frame that comes before its payload."""
    fields = encode_plain((kind, version, encoding, digest))
    return b"\x95" + fields[1:] + bin_head(size)


def container_digest(header: bytes, mac: bytes = b"") -> Digest:
    """The digest of a container, to be updated with the digest of each frame, then by `closing`.

    `mac` keys that of an encrypted one: only who has the key can make a container.
    """
    return hashlib.blake2b(header, digest_size=DIGEST_BYTES, key=mac)


def closing(digest: Digest, frames: int, *, bare: bool = False) -> tuple[bytes, bytes]:
    """The closing object of a container of so many frames, and the container's digest.

    A bare container keeps neither its header nor its digest: both are known to whoever may read it.
    """
    end = encode_plain((_END, frames))
    digest.update(end)
    value = digest.digest()
    return end if bare else encode_plain((_END, frames, value)), value


def decode_frame(
    data: bytes | memoryview,
    origin: bytes,
    offset: int,
    where: str,
    codec: Codec = PLAIN_CODEC,
    *,
    tag: bytes = b"",
) -> Frame:
    """The one frame that spans exactly these bytes, as a ranged read of a container gives them.

    Args:
        data: the bytes.
        origin: that of its container.
        offset: where it begins there.
        where: the place, for errors.
        codec: what is at hand to read it.
        tag: what the reference to it holds of its digest; empty for a frame that is not encrypted.

    Raises:
        CorruptionError: its digest does not fit, or it is not the one that is referred to.
        DecodeError: it is no frame.
        EncryptionError: it is not encrypted with a key at hand, or should be.
    """
    if len(data) > _MAX_FRAME_BYTES:
        raise DecodeError(f"{where}: a frame of {len(data)} bytes", path=where)
    try:
        kind, version, encoding, digest, payload = _fields.decode(data)
    except UNREADABLE as error:
        raise DecodeError(f"{where}: not a frame: {error}", path=where) from error
    place = _Place(origin, offset, len(data), where)
    raw = _RawFrame(place, kind, version, encoding, digest, bytes(payload) if encoding else payload)
    raw.check()
    key_id = key_of_payload(encoding, raw.payload, where)
    codec.key(key_id, where)
    if frame_tag(raw.digest, raw.encoding) != tag:
        raise CorruptionError(f"{where}: it is not the frame that is referred to")
    try:
        return raw.decode(codec, key_id)
    except ForgedError as error:  # it is the one that was written, so that the key is another
        message = f"{where}: not written with the key {key_id!r} that is at hand"
        raise UnknownKeyError(message, key_id=key_id) from error


def new_unpacker(buffer_bytes: int, *, array: int = _HEADER_FIELDS) -> msgpack.Unpacker:
    """A msgpack reader that refuses maps, ext types and anything larger than a frame may be."""
    return msgpack.Unpacker(
        use_list=False,
        max_buffer_size=max(buffer_bytes, 1),
        max_array_len=array,
        max_bin_len=MAX_PAYLOAD_BYTES,
        max_str_len=MAX_TEXT_BYTES,
        max_map_len=0,
        max_ext_len=0,
    )


class _Place(Struct, frozen=True, gc=False):
    """Where a frame was found: in the container of that origin; `where` names it in errors."""

    origin: bytes
    offset: int
    length: int
    where: str


class _RawFrame(Struct, frozen=True, gc=False):
    """The fields of a frame as they were read at a place."""

    place: _Place
    type: int
    version: int
    encoding: int
    digest: bytes
    payload: Any

    @classmethod
    def of(cls, fields: Any, place: _Place) -> _RawFrame:
        """The frame that these fields make.

        Raises:
            CorruptionError: its digest does not fit.
            DecodeError: it is no frame, or has another form.
        """
        where = place.where
        if type(fields) is not tuple or len(fields) != _FRAME_FIELDS:
            raise DecodeError(f"{where}: not a frame", path=where)
        kind, version, encoding, digest, payload = fields
        are_counts = type(kind) is type(version) is type(encoding) is int and min(fields[:3]) >= 0
        if not are_counts or type(digest) is not bytes or type(payload) is not bytes:
            raise DecodeError(f"{where}: not a frame", path=where)
        raw = cls(place, *fields)
        raw.check()
        return raw

    def decode(self, codec: Codec, key_id: str) -> Frame:
        """The frame, in a container encrypted with this key, which the codec has said it may be."""
        place, kind, payload = self.place, self.type, self.payload
        if self.encoding or key_id:
            payload = codec.unwrap(
                self.encoding,
                payload,
                key_id,
                offset=place.offset,
                place=frame_place(place.origin, place.offset, kind, self.version),
                where=place.where,
            )
        if kind not in _KINDS:
            raise DecodeError(f"{place.where}: frame type {kind} is not known", path=place.where)
        tag = frame_tag(self.digest, self.encoding)
        return Frame(kind, self.version, place.offset, place.length, payload, tag)

    def check(self) -> None:
        """Raise `CorruptionError` if its digest does not fit, `DecodeError` if it has another form."""
        place, kind, size = self.place, self.type, len(self.payload)
        version, encoding = self.version, self.encoding
        expected = frame_digest(place.origin, place.offset, kind, size, version=version, encoding=encoding)
        expected.update(self.payload)
        if expected.digest() != self.digest:
            raise CorruptionError(f"{place.where}: its digest does not fit its bytes")
        # Arrays of four and of five fields have heads of the same length.
        shortest = len(encode_plain((kind, version, encoding, self.digest))) + len(bin_head(size)) + size
        if place.length != shortest:
            raise DecodeError(f"{place.where}: not in the shortest form", path=place.where)


class ContainerDecoder:
    """Reads a container from pieces: feed them in order, take the frames, then `finish`.

    Frames are given out as they are verified; what they add up to counts only once `finish` returned, and
    that of a bare container only if it returned the digest that is known.

    Attributes:
        header: the first object; empty before it was fed.
    """

    def __init__(
        self,
        origin: bytes,
        where: str,
        codec: Codec = PLAIN_CODEC,
        *,
        key_id: str = "",
        implied: bytes = b"",
    ) -> None:
        """Expect the container that `origin` names.

        Args:
            origin: what ties its frames to it.
            where: the place, for errors.
            codec: what is at hand to read it.
            key_id: the key that it is encrypted with.
            implied: for a bare container, the header that is not written.
        """
        self.header: tuple[Any, ...] = ()
        self._implied = implied
        self._origin = origin
        self._where = where
        self._key_id = key_id
        self._codec = codec
        self._unpacker = new_unpacker(MAX_PAYLOAD_BYTES + 2 * FEED_BYTES)
        self._chain = container_digest(b"")
        self._offset = 0
        self._fed = 0
        self._frames = 0
        self._digest = b""

    def feed(self, data: bytes | memoryview) -> Iterator[Frame]:
        """The frames that these bytes complete.

        Raises:
            FormatError: the bytes are not what they should be.
            EncryptionError: they are not encrypted with a key at hand, or should be.
        """
        try:
            self._unpacker.feed(data)
            self._fed += len(data)
            for value in self._unpacker:
                frame = self._take(value)
                if frame is not None:
                    yield frame
        except UNREADABLE as error:
            where = f"{self._where}: byte {self._offset}"
            raise DecodeError(f"{where}: {type(error).__name__}: {error}", path=where) from error

    def finish(self) -> bytes:
        """Check that the container is whole and return its digest.

        Raises:
            CorruptionError: it ends early, or more follows.
        """
        if not self._digest:
            raise CorruptionError(f"{self._where}: it ends after {self._fed} bytes, before its closing")
        if self._fed != self._offset:
            raise CorruptionError(f"{self._where}: {self._fed - self._offset} bytes follow its closing")
        return self._digest

    def _take(self, value: Any) -> Frame | None:
        begin, self._offset = self._offset, self._unpacker.tell()
        if self._digest:
            raise CorruptionError(f"{self._where}: something follows its closing")
        if not self.header:
            self._take_header(value)
            return None
        if type(value) is tuple and value and value[0] == _END:
            self._take_closing(value, self._offset - begin)
            return None
        where = f"{self._where}: frame {self._frames}"
        raw = _RawFrame.of(value, _Place(self._origin, begin, self._offset - begin, where))
        frame = raw.decode(self._codec, self._key_id)
        if frame.version != self.header[1]:
            raise DecodeError(f"{where}: of another version than its header", path=where)
        self._chain.update(raw.digest)
        self._frames += 1
        if self._frames > MAX_FRAMES:
            raise DecodeError(f"{self._where}: more than {MAX_FRAMES} frames", path=self._where)
        return frame

    def _take_header(self, value: Any) -> None:
        where = f"{self._where}: header"
        if type(value) is not tuple or len(value) < 2 or value[0] != FORMAT:
            raise DecodeError(f"{where}: not of this format", path=where)
        version = check_version(value[1], where, self._codec.steps)
        raw = encode_plain(value)
        if len(raw) != self._offset:
            raise DecodeError(f"{where}: not in the shortest form", path=where)
        if self._implied:
            if len(value) != len(BARE_HEADER):
                raise DecodeError(f"{where}: more is written of it than should be", path=where)
            raw = self._implied
        elif (value[-1] if version > 1 else "") != self._key_id:
            raise CorruptionError(f"{where}: it names another key than what leads to it")
        self._chain = container_digest(raw, self._codec.mac(self._key_id, where))
        self.header = value

    def _take_closing(self, value: tuple[Any, ...], length: int) -> None:
        raw, digest = closing(self._chain, self._frames, bare=bool(self._implied))
        if encode_plain(value) != raw or len(raw) != length:
            raise CorruptionError(f"{self._where}: its closing does not fit its frames")
        self._digest = digest
