"""Keys that encrypt runs: by id, one of them active; any of them reads."""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Mapping

from typing_extensions import override

from kernelckpt.errors import UsageError

KEY_BYTES = 32
"""The length of a key, in bytes."""

KEYS_VARIABLE = "KERNELCKPT_KEYS"
"""The environment variable that names the keys of the command line."""

_ID = re.compile(r"[A-Za-z0-9._-]{1,32}")
_INSTALL = "pip install 'kernelckpt[encryption]', or '.[encryption]' in a checkout"
_FORM = "write id:key, the key as base64 of 32 random bytes; the first one is active: k2:...,k1:..."


class KeyRing:
    """Secret keys by id. What is written is encrypted with the active one; any of them decrypts.

    To rotate, `add` a key and `use` it: whatever is written from then on is encrypted with it. The old key
    stays in the ring for as long as anything needs it; `rekey` rewrites a run so that nothing does.

    A key is never shown: not in `repr`, not in an error.
    """

    def __init__(
        self, keys: Mapping[str, bytes], active: str | None = None, *, accept_plaintext: bool = False
    ) -> None:
        """A ring with these keys.

        Args:
            keys: 32 random bytes each, by an id of at most 32 letters, digits and `._-`. Ids are not secret.
            active: the id of the key to write with; by default the first.
            accept_plaintext: whether to read what is not encrypted, too: for a run that was begun without
                keys. Whoever can write to the storage can then put plaintext of their own there.

        Raises:
            UsageError: a key or an id is off, or the package `cryptography` is not installed.
        """
        _check_installed()
        self.accept_plaintext = accept_plaintext
        self._keys: dict[str, bytes] = {}
        for key_id, key in keys.items():
            self.add(key_id, key)
        if not self._keys:
            raise UsageError("a key ring without keys", hint="give it one: KeyRing.generate() makes one")
        self._active = next(iter(self._keys))
        self.use(active if active is not None else self._active)

    @staticmethod
    def generate() -> bytes:
        """A new random key."""
        return os.urandom(KEY_BYTES)

    @classmethod
    def parse(cls, text: str, *, accept_plaintext: bool = False) -> KeyRing:
        """The ring that a text names: `id:base64`, several separated by commas or white space.

        Raises:
            UsageError: it is no such text; the message does not repeat it.
        """
        keys: dict[str, bytes] = {}
        for number, part in enumerate(re.split(r"[\s,]+", text.strip()), 1):
            key_id, colon, encoded = part.partition(":")
            if not colon:
                raise UsageError(f"key {number} of the ring is not of the form id:key", hint=_FORM)
            if key_id in keys:
                raise UsageError(f"key {number} of the ring has the id of an earlier one", hint=_FORM)
            try:
                keys[key_id] = base64.b64decode(encoded.replace("-", "+").replace("_", "/"), validate=True)
            except (binascii.Error, ValueError):
                raise UsageError(f"key {number} of the ring is not base64", hint=_FORM) from None
        return cls(keys, accept_plaintext=accept_plaintext)

    def add(self, key_id: str, key: bytes) -> None:
        """Put a key into the ring; it is not used for writing before `use`.

        Raises:
            UsageError: it is no key, or another key has that id.
        """
        if not isinstance(key_id, str) or not _ID.fullmatch(key_id):
            raise _no_id(key_id)
        if not isinstance(key, bytes) or len(key) != KEY_BYTES:
            size = f"{len(key)} bytes" if isinstance(key, bytes) else type(key).__name__
            raise UsageError(
                f"key {key_id!r} is {size}", hint=f"{KEY_BYTES} random bytes: KeyRing.generate()"
            )
        if self._keys.setdefault(key_id, key) != key:
            raise _another(key_id)

    def update(self, other: KeyRing) -> None:
        """Take in the keys of another ring, as read from a changed file, and write with its active one.

        Raises:
            UsageError: two keys have one id; nothing was changed.
        """
        for key_id in other.ids:
            if self._keys.get(key_id, other._keys[key_id]) != other._keys[key_id]:
                raise _another(key_id)
        self._keys.update(other._keys)
        self._active = other.active

    def use(self, key_id: str) -> None:
        """Write with this key from now on.

        Raises:
            UsageError: it is not in the ring.
        """
        if not isinstance(key_id, str) or not _ID.fullmatch(key_id):
            raise _no_id(key_id)
        if key_id not in self._keys:
            raise UsageError(f"no key {key_id!r} in the ring", hint=f"it has {', '.join(self._keys)}")
        self._active = key_id

    @property
    def active(self) -> str:
        """The id of the key that is written with."""
        return self._active

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of all keys."""
        return tuple(self._keys)

    def get(self, key_id: str) -> bytes | None:
        """The key of that id."""
        return self._keys.get(key_id)

    @override
    def __repr__(self) -> str:
        return f"KeyRing({', '.join(self._keys)}; active {self._active})"

    @override
    def __reduce__(self) -> str:
        raise TypeError("a key ring is not pickled or copied: pass the keys by a way that keeps them secret")


def _no_id(given: object) -> UsageError:
    """Without repeating it: a key may stand where its id belongs."""
    size = f"{len(given)} characters" if isinstance(given, str) else type(given).__name__
    hint = "1 to 32 letters, digits, dots, dashes, underscores; the key comes after it"
    return UsageError(f"no id of a key ({size})", hint=hint)


def _another(key_id: str) -> UsageError:
    return UsageError(f"there is another key {key_id!r} in the ring", hint="give each key its own id")


def _check_installed() -> None:
    try:
        import cryptography  # noqa: F401, PLC0415 - an extra: only runs with keys need it
    except ImportError as error:
        raise UsageError("keys need the package cryptography", hint=_INSTALL) from error
