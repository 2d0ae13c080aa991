"""How payloads lie in frames: compressed, encrypted, both or neither; and keyed digests."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from kernelckpt.errors import CorruptionError, DecodeError, UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

PLAIN: Final = 0
COMPRESSED: Final = 1
SEALED: Final = 2
"""Encodings of a payload; compressed and sealed may go together, and sealing comes last."""

MAX_PAYLOAD_BYTES = 64 * 1024 * 1024
"""The largest payload, in bytes, before compression and after it."""

TAG_BYTES = 16
SALT_BYTES = 16
_NONCE_BYTES = 12
_MIN_COMPRESS_BYTES = 128
MAX_RATIO = 256
"""How many times as large as its compressed form a payload may be: what expands further is a bomb."""
_DIGEST_KEY = b"kernelckpt digests"
_FRAME_KEY = b"kernelckpt frames "


class Wrapper:
    """Wraps the payloads of one container.

    A container is encrypted with a key of its own, made from the ring's key and a random salt, so that no key
    and nonce ever meet twice: not when a container is written again after a failure, nor after a fork.

    Attributes:
        key_id: the key it is encrypted with; "" for none.
        mac: what its digests are keyed with; empty for none.
    """

    def __init__(self, key_id: str = "", key: bytes = b"", level: int | None = None) -> None:
        """Encrypt with this key unless it is empty; compress at this level unless it is None."""
        self.key_id = key_id
        self.mac = digest_key(key) if key_id else b""
        self._compressor = _zstandard().ZstdCompressor(level=level) if level is not None else None
        self._salt = os.urandom(SALT_BYTES) if key_id else b""
        self._cipher = _cipher(key, self._salt) if key_id else None

    @property
    def compresses(self) -> bool:
        """Whether it tries to make payloads smaller."""
        return self._compressor is not None

    @property
    def changes_payloads(self) -> bool:
        """Whether payloads are not written as they are."""
        return self._cipher is not None or self._compressor is not None

    def wrap(self, payload: bytes, offset: int, place: bytes) -> tuple[int, bytes]:
        """The encoding and the bytes of a payload.

        Args:
            payload: the payload.
            offset: where its frame begins in the container.
            place: what the encryption is tied to.
        """
        encoding = PLAIN
        if self._compressor is not None and len(payload) >= _MIN_COMPRESS_BYTES:
            packed = self._compressor.compress(payload)
            if len(packed) < len(payload) <= MAX_RATIO * len(packed):
                payload, encoding = packed, COMPRESSED
        if self._cipher is not None:
            encoding |= SEALED
            box = self._cipher.encrypt(_nonce(offset), payload, _aad(place, encoding))
            name = self.key_id.encode()
            payload = b"".join((bytes((len(name),)), name, self._salt, box))
        return encoding, payload


class ForgedError(CorruptionError):
    """What was encrypted cannot have been encrypted with this key for this place."""


class SealedPayload(Struct, frozen=True):
    """An encrypted payload as it lies in its frame: the key's id, the container's salt, the ciphertext."""

    key_id: str
    salt: bytes
    box: bytes

    @classmethod
    def parse(cls, payload: bytes, where: str) -> SealedPayload:
        """Take it apart.

        Raises:
            DecodeError: it is too short, or its key id is no text.
        """
        size = payload[0] if payload else 0
        salt, box = 1 + size, 1 + size + SALT_BYTES
        if not size or len(payload) < box + TAG_BYTES or not payload[1:salt].isascii():
            raise DecodeError(f"{where}: not an encrypted payload", path=where)
        return cls(payload[1:salt].decode(), payload[salt:box], payload[box:])

    def open(self, key: bytes, offset: int, place: bytes, encoding: int, where: str) -> bytes:
        """What was encrypted.

        Raises:
            ForgedError: it was not encrypted with this key for this place.
        """
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - an extra

        try:
            return _cipher(key, self.salt).decrypt(_nonce(offset), self.box, _aad(place, encoding))
        except InvalidTag as error:
            raise ForgedError(f"{where}: it was not encrypted for this place") from error


@lru_cache(maxsize=64)
def digest_key(key: bytes) -> bytes:
    """What digests are keyed with under a key of the ring."""
    return _derived(key, _DIGEST_KEY)


def decompress(payload: bytes, where: str) -> bytes:
    """What was compressed; its size is read before memory is taken for it.

    Raises:
        DecodeError: it is not compressed by zstandard, does not say its size, or is larger than a payload.
        UsageError: the package `zstandard` is not installed.
    """
    zstandard = _zstandard()
    try:
        size = zstandard.frame_content_size(payload)
        if not 0 <= size <= min(MAX_PAYLOAD_BYTES, MAX_RATIO * len(payload)):
            said = "no size" if size < 0 else f"{size} bytes"
            raise DecodeError(f"{where}: it says {said} of what was compressed", path=where)
        reader = zstandard.ZstdDecompressor(max_window_size=MAX_PAYLOAD_BYTES)
        found: bytes = reader.decompress(payload, max_output_size=size, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise DecodeError(f"{where}: {error}", path=where) from error
    if len(found) != size:
        raise DecodeError(f"{where}: {len(found)} bytes instead of the {size} it says", path=where)
    return found


def check_compression(level: int | None) -> None:
    """Raise `UsageError` unless payloads can be compressed at this level; None stands for not at all."""
    if level is None:
        return
    highest = _zstandard().MAX_COMPRESSION_LEVEL
    if type(level) is not int or not 1 <= level <= highest:
        raise UsageError(f"compression is {level!r}", hint=f"a level from 1 to {highest}, or None")


def _zstandard() -> Any:
    try:
        import zstandard  # noqa: PLC0415 - an extra: only compressed runs need it
    except ImportError as error:
        hint = "pip install 'kernelckpt[compression]', or '.[compression]' in a checkout"
        raise UsageError("compression needs the package zstandard", hint=hint) from error
    return zstandard


@lru_cache(maxsize=64)
def _cipher(key: bytes, salt: bytes) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - an extra

    return AESGCM(_derived(key, _FRAME_KEY + salt))


def _derived(key: bytes, purpose: bytes) -> bytes:
    """A key for one purpose (HKDF-Expand of RFC 5869: the ring's keys are uniformly random)."""
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415 - an extra
    from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand  # noqa: PLC0415

    return HKDFExpand(SHA256(), 32, purpose).derive(key)


def _nonce(offset: int) -> bytes:
    """Frames of a container do not overlap, so that no offset comes twice."""
    return offset.to_bytes(_NONCE_BYTES, "big")


def _aad(place: bytes, encoding: int) -> bytes:
    return place + bytes((encoding,))
