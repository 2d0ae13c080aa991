"""Names of objects: where a run, its log, its blobs and its inbox lie in a bucket."""

from __future__ import annotations

import re
from hashlib import blake2b

from kernelckpt.storage.text import bytes_text, text_bytes

DIGITS = 16
_LONGEST = 400
_ODD = re.compile(rb"[^A-Za-z0-9_-]")


def run_key(run_id: str) -> str:
    """The folder of a run: a piece of its id to be recognised by, and a digest that tells it from others."""
    raw = text_bytes(run_id)
    return f"{_ODD.sub(b'-', raw)[:40].decode()}-{_digest(raw)}"


def run_id_of(key: str) -> str | None:
    """The id of a run that its folder's name tells by itself; None where that holds only a part of it."""
    piece = key.rpartition("-")[0]
    return piece if run_key(piece) == key else None


def blob_key(name: str) -> str:
    """A blob's name as a part of a key: escaped, or a digest where it would be too long."""
    raw = text_bytes(name)
    escaped = _ODD.sub(lambda found: b"=%02X" % found[0][0], raw).decode()
    return escaped if len(escaped) <= _LONGEST else f"=={_digest(raw)}"


def blob_name(key: str) -> str | None:
    """The name that `blob_key` escaped; None when the key is a digest."""
    if key.startswith("=="):
        return None
    raw = re.sub(rb"=([0-9A-F]{2})", lambda found: bytes([int(found[1], 16)]), key.encode())
    return bytes_text(raw)


def numbered(folder: str, number: int) -> str:
    """The key of a number; keys sort as their numbers do."""
    return f"{folder}/{number:0{DIGITS}}"


def number_of(key: str) -> int:
    """The number of a key that `numbered` made; 0 for any other."""
    tail = key.rpartition("/")[2]
    return int(tail) if len(tail) == DIGITS and tail.isdecimal() else 0


def _digest(raw: bytes) -> str:
    return blake2b(raw, digest_size=16).hexdigest()
