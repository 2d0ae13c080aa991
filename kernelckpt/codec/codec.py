"""How the containers of runs are written, and what is at hand to read them."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field

from kernelckpt.codec.envelope import (
    COMPRESSED,
    PLAIN,
    SEALED,
    SealedPayload,
    Wrapper,
    check_compression,
    decompress,
    digest_key,
)
from kernelckpt.codec.key_ring import KeyRing
from kernelckpt.codec.version import UPGRADES, UpgradeStep
from kernelckpt.errors import CorruptionError, PlaintextError, UnknownKeyError, UnsupportedVersionError


class Codec(Struct, frozen=True):
    """Everything that decides how bytes are written and whether they can be read.

    Attributes:
        keys: encrypts what is written with the active key; what is read must be encrypted with one of them.
        compression: the zstandard level of what is written; None to leave it as it is. Reading needs none.
        steps: upgrade steps for older formats.
    """

    keys: KeyRing | None = None
    compression: int | None = None
    steps: Mapping[int, UpgradeStep] = field(default_factory=lambda: UPGRADES)

    def __post_init__(self) -> None:
        """Raise `UsageError` for a level that cannot be used."""
        check_compression(self.compression)

    def wrapper(self) -> Wrapper:
        """For a new container: encrypts with the key that is active now."""
        if self.keys is None:
            return Wrapper(level=self.compression)
        key_id = self.keys.active
        return Wrapper(key_id, self.key(key_id, ""), self.compression)

    def key(self, key_id: str, where: str) -> bytes:
        """The key that something was encrypted with; "" names none, and gives none.

        Raises:
            UnknownKeyError: it is not at hand.
            PlaintextError: it was not encrypted, and there are keys.
        """
        if not key_id:
            if self.keys is not None and not self.keys.accept_plaintext:
                raise PlaintextError(f"{where}: it is not encrypted, and the key ring demands that")
            return b""
        key = self.keys.get(key_id) if self.keys is not None else None
        if key is None:
            at_hand = "there is no key ring" if self.keys is None else f"the ring has {list(self.keys.ids)}"
            raise UnknownKeyError(
                f"{where}: it is encrypted with key {key_id!r}, and {at_hand}", key_id=key_id
            )
        return key

    def mac(self, key_id: str, where: str) -> bytes:
        """What the digests of a container are keyed with; the errors are those of `key`."""
        key = self.key(key_id, where)
        return digest_key(key) if key else b""

    def unwrap(
        self, encoding: int, payload: bytes, key_id: str, *, offset: int, place: bytes, where: str
    ) -> bytes:
        """A payload as it was before it was wrapped.

        Args:
            encoding: what was done to it.
            payload: its bytes in the frame.
            key_id: the key of its container; "" for none.
            offset: where its frame begins in the container.
            place: what the encryption is tied to.
            where: the place, for errors.

        Raises:
            UnsupportedVersionError: the encoding is not known.
            FormatError: it cannot be unwrapped.
            EncryptionError: the key is not at hand, or there is none although there are keys.
        """
        if encoding & ~(COMPRESSED | SEALED):
            raise UnsupportedVersionError(
                f"{where}: payload encoding {encoding} is not known",
                hint="upgrade kernelckpt",
                found=encoding,
                supported=COMPRESSED | SEALED,
            )
        key = self.key(key_id, where)
        if bool(encoding & SEALED) is not bool(key_id):
            said = "plain" if key_id else "encrypted"
            raise CorruptionError(f"{where}: a payload that is {said} in a container that is not")
        if encoding & SEALED:
            sealed = SealedPayload.parse(payload, where)
            if sealed.key_id != key_id:
                raise CorruptionError(f"{where}: encrypted with another key than its container")
            payload = sealed.open(key, offset, place, encoding, where)
        return payload if encoding & ~SEALED == PLAIN else decompress(payload, where)


PLAIN_CODEC = Codec()
"""Writes without encryption and compression, and reads what is not encrypted."""


def key_of_payload(encoding: int, payload: bytes, where: str) -> str:
    """The id of the key that a payload says it is encrypted with; "" for none."""
    return SealedPayload.parse(payload, where).key_id if encoding & SEALED else ""
