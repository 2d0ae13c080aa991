"""The keys that a command reads encrypted runs with."""

from __future__ import annotations

import os
from pathlib import Path

from kernelckpt.codec.key_ring import KEYS_VARIABLE, KeyRing
from kernelckpt.errors import UsageError


def keys_at_hand(file: Path | None, *, accept_plaintext: bool = False) -> KeyRing | None:
    """The ring in a file, or in the environment variable KERNELCKPT_KEYS; None where there is neither.

    Raises:
        UsageError: the file cannot be read, or what is there is no ring.
    """
    if file is not None:
        try:
            text = file.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            hint = "a file of lines id:base64, the active key first"
            raise UsageError(f"key file {str(file)!r}: {reason}", hint=hint) from error
        return KeyRing.parse(text, accept_plaintext=accept_plaintext)
    text = os.environ.get(KEYS_VARIABLE, "")
    return KeyRing.parse(text, accept_plaintext=accept_plaintext) if text else None
